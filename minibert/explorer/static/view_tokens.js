// View 1: the inputs of the model, and the three embeddings whose sum gives the first hidden state.

import { slice, tensor } from "./data.js";
import { card, el, formulaLine, magnification, nameWidth, note, piece, tablesOf, textWidth } from "./dom.js";
import { chooseToken, currentRun, page, state } from "./state.js";
import { vectorTable } from "./vector.js";
import { phrase, phraseParts } from "./words.js";

export function tokensView(width) {
  const run = currentRun();
  return [
    card(
      phrase("tokens.title"),
      note(phrase("tokens.note")),
      tokenTables(run, width),
    ),
    embeddingsCard(run, width),
  ];
}

// As many tables, one below the other, as fit the text into this width.
function tokenTables(run, width) {
  const large = magnification();
  const names = ["tokens.token", "tokens.id", "tokens.segment", "tokens.position"].map((key) => textWidth(phrase(key), 0.9));
  const widths = run.tokens.map((token, index) =>
    Math.max(textWidth(token, 0.98) + 28 * large, textWidth(run.ids[index], 0.9) + 20 * large),
  );
  return el(
    "div",
    { class: "scroller" },
    tablesOf(widths, width - Math.max(...names) - 20 * large).map(([from, to]) => tokenTable(run, from, to)),
  );
}

function tokenTable(run, from, to) {
  const rows = [
    [phrase("tokens.id"), run.ids],
    [phrase("tokens.segment"), run.segments],
    [phrase("tokens.position"), run.positions],
  ];
  const chosen = (index) => (index === state.token ? "chosen" : undefined);
  const cell = (token, index) =>
    el(
      "th",
      { scope: "col", class: chosen(index) },
      index < run.shown
        ? el(
            "button",
            { class: "cell-button", onclick: () => chooseToken(index), data: { key: `cell${index}` } },
            piece(token, run),
          )
        : piece(token, run),
    );
  return el(
    "table",
    { class: "token-table", tabindex: -1 },
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        el("th", { scope: "row" }, phrase("tokens.token")),
        run.tokens.slice(from, to).map((token, index) => cell(token, from + index)),
      ),
    ),
    el(
      "tbody",
      {},
      rows.map(([name, values]) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, name),
          values.slice(from, to).map((value, index) => el("td", { class: chosen(from + index) }, value)),
        ),
      ),
    ),
  );
}

function embeddingsCard(run, width) {
  const { model } = page();
  const token = state.token;
  const row = (title, name, strong) => ({
    name: title,
    strong,
    values: slice(tensor(run, name, state.show), token),
    statistics: slice(tensor(run, `${name}_statistics`, state.show), token),
  });
  const hidden = tensor(run, "hidden", state.show),
    statistics = tensor(run, "hidden_statistics", state.show);
  const rows = [
    row(phrase("tokens.word_row", { n: String(run.ids[token]) }), "word"),
    row(phrase("tokens.segment_row", { n: run.segments[token] }), "segment"),
    row(phrase("tokens.position_row", { n: run.positions[token] }), "position"),
    row(phrase("tokens.sum_row"), "sum", true),
    {
      name: "LayerNorm",
      strong: true,
      apart: true,
      values: slice(hidden, 0, token),
      statistics: slice(statistics, 0, token),
    },
  ];
  return card(
    phraseParts("tokens.sum_title", { token: piece(run.tokens[token], run) }),
    formulaLine(model.embeddings, model, run.tokens.length),
    vectorTable("embeddings", rows, {
      label: phrase("tokens.sum_label"),
      total: model.hidden,
      width: width - nameWidth(rows.map((entry) => entry.name)),
    }),
  );
}
