// View 1: what the model is given, and the three embeddings that add up to the first hidden state.

import { slice, tensor } from "./data.js";
import { card, el, formulaLine, magnification, nameWidth, note, piece, tablesOf, textWidth } from "./dom.js";
import { chooseToken, currentWalk, page, state } from "./state.js";
import { vectorTable } from "./vector.js";

export function tokensView(width) {
  const walk = currentWalk();
  return [
    card(
      "The text, in pieces",
      note(
        "Every piece has a number in the vocabulary (id), a segment (0 for the first text, 1 for a second) and a position. The model sees these numbers and nothing else.",
      ),
      tokenTables(walk, width),
    ),
    embeddingsCard(walk, width),
  ];
}

// As many tables, one below the other, as the text needs at this width.
function tokenTables(walk, width) {
  const widest = (index) => Math.max(textWidth(walk.tokens[index], 1), textWidth(walk.ids[index], 0.9));
  const widths = walk.tokens.map((_, index) => widest(index) + 34 * magnification());
  return el(
    "div",
    { class: "scroller" },
    tablesOf(widths, width - 110 * magnification()).map(([from, to]) => tokenTable(walk, from, to)),
  );
}

function tokenTable(walk, from, to) {
  const rows = [
    ["id", walk.ids],
    ["segment", walk.segments],
    ["position", walk.positions],
  ];
  const chosen = (index) => (index === state.token ? "chosen" : undefined);
  const cell = (token, index) =>
    el(
      "th",
      { scope: "col", class: chosen(index) },
      index < walk.shown
        ? el(
            "button",
            { class: "cell-button", onclick: () => chooseToken(index), data: { key: `cell${index}` } },
            piece(token, walk),
          )
        : piece(token, walk),
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
        el("th", { scope: "row" }, "token"),
        walk.tokens.slice(from, to).map((token, index) => cell(token, from + index)),
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

function embeddingsCard(walk, width) {
  const { model } = page();
  const token = state.token;
  const row = (title, name, strong) => ({
    name: title,
    strong,
    values: slice(tensor(walk, name, state.show), token),
    statistics: slice(tensor(walk, `${name}_statistics`, state.show), token),
  });
  const hidden = tensor(walk, "hidden", state.show),
    statistics = tensor(walk, "hidden_statistics", state.show);
  const rows = [
    row(`word ${walk.ids[token]}`, "word"),
    row(`+ segment ${walk.segments[token]}`, "segment"),
    row(`+ position ${walk.positions[token]}`, "position"),
    row("= sum", "sum", true),
    {
      name: "LayerNorm",
      strong: true,
      apart: true,
      values: slice(hidden, 0, token),
      statistics: slice(statistics, 0, token),
    },
  ];
  return card(
    ["Three embeddings add up: ", piece(walk.tokens[token], walk)],
    formulaLine(model.embeddings, model, walk.tokens.length),
    vectorTable("embeddings", rows, {
      label: "Embeddings of the chosen token",
      total: model.hidden,
      width: width - nameWidth(rows.map((entry) => entry.name)),
    }),
  );
}
