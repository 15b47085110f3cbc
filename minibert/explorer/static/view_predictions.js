// View 5: the logit lens: the masked-language-modelling head applied to every hidden state.

import { inkOn, scaleOf } from "./color.js";
import { slice, unpack } from "./data.js";
import { card, el, magnification, note, number, piece, tablesOf, textWidth } from "./dom.js";
import { legend } from "./legend.js";
import { maskControl } from "./live.js";
import { choose, chooseToken, currentRun, depthName, page, state } from "./state.js";
import { bars } from "./vector.js";
import { phrase, phraseParts, sentence } from "./words.js";

export function predictionsView(width) {
  const run = currentRun();
  const predicted = state.show !== "original" && run.edited ? run.edited.predictions : run.predictions;
  const pair = nextSentenceCard(state.show !== "original" && run.edited ? run.edited : run);
  if (predicted.reason)
    return [...pair, card(phrase("predictions.title"), el("p", { class: "reason" }, sentence(predicted.reason)))];
  const probabilities = unpack(predicted.tensors.probabilities);
  const scale = scaleOf("amount", 0, 1),
    barScale = scaleOf("amount", -0.35, 1); // their length says the value; the faintest can be seen, too
  const masked = isMasked(run) ? run.predictions_when_masked : null;
  const shown = masked ? { predicted: masked, probabilities: unpack(masked.tensors.probabilities) } : { predicted, probabilities };
  return [
    ...pair,
    card(
      phraseParts("predictions.title_at", { token: piece(masked ? "[MASK]" : run.tokens[state.token], run) }),
      el("div", { class: "visibility" }, visibility(run), maskButton(run)),
      note(phrase("predictions.note")),
      el("div", { class: "guess-columns" }, statesOf(shown.predicted, shown.probabilities, run, barScale)),
    ),
    card(
      phrase("predictions.grid"),
      grids(predicted, probabilities, run, scale, width),
      note(
        phrase("predictions.grid_note", {
          visible: phrase("predictions.visible"),
          masked: phrase("predictions.masked"),
        }),
      ),
      legend(scale, phrase("unit.probability")),
    ),
  ];
}

// Of a pair, in a model with the head for it: whether the second text follows the first.
function nextSentenceCard({ next_sentence: follows }) {
  if (typeof follows !== "number") return [];
  return [card(phrase("follows.title"), note(phrase("follows.note")), el("p", { class: "follows" }, phraseParts("follows.value", { value: el("b", {}, number(follows)) })))];
}

// Whether the page shows the predictions with the chosen token masked, which were computed with the page.
function isMasked(run) {
  return Boolean(state.masked && canMask(run));
}

function canMask(run) {
  const token = state.token;
  return !page().live && run.predictions_when_masked && !run.special[token] && !run.mask_positions.includes(token);
}

function visibility(run) {
  const token = state.token,
    name = piece(run.original_tokens[token], run),
    hiddenHere = el("b", {}, phrase("mask.masked"), " ");
  if (run.masked.includes(token))
    return el("p", {}, hiddenHere, phraseParts("mask.replaced", { token: name }));
  if (run.mask_positions.includes(token)) return el("p", {}, hiddenHere, phrase("mask.typed"));
  if (isMasked(run)) return el("p", {}, hiddenHere, phraseParts("mask.static", { token: name }));
  return el("p", {}, el("b", {}, phrase("mask.visible"), " "), phraseParts("mask.copied", { token: name }));
}

function maskButton(run) {
  const token = state.token;
  if (page().live) return maskControl(token);
  if (!canMask(run))
    return run.special[token] || run.mask_positions.includes(token)
      ? null
      : el("p", {}, phrase("mask.needs_live"));
  return el(
    "button",
    { data: { key: "mask" }, onclick: () => choose({ masked: !state.masked }) },
    phraseParts(state.masked ? "mask.show" : "mask.mask", { token: piece(run.original_tokens[token], run) }),
  );
}

function statesOf(predicted, probabilities, run, scale) {
  const names = predicted.pieces.flatMap((tokens) => tokens[state.token].map((token) => ({ label: token })));
  return predicted.pieces.map((tokens, depth) =>
    el(
      "div",
      { class: depth === state.depth ? "guesses chosen" : "guesses" },
      el("h3", {}, depthName(depth)),
      bars(
        tokens[state.token].map((token, rank) => ({
          name: piece(token, run),
          label: token,
          value: slice(probabilities, depth, state.token)[rank],
          chosen: token === run.original_tokens[state.token],
        })),
        { scale, most: 1, names, label: phrase("predictions.label", { state: depthName(depth) }), pick: () => choose({ depth }) },
      ),
    ),
  );
}

// Visible or masked; on the live page a button that toggles them.
function seenCell(run, index) {
  if (page().live && !run.special[index]) return maskControl(index, true);
  return run.mask_positions.includes(index) ? el("b", {}, phrase("predictions.masked")) : phrase("predictions.visible");
}

// As many tables, one below the other, as fit the text into this width.
function grids(predicted, probabilities, run, scale, width) {
  const large = magnification();
  const seen = Math.max(...["visible", "masked"].map((name) => textWidth(phrase(`predictions.${name}`), 0.82))) + 21 * large;
  const widths = Array.from({ length: run.shown }, (_, index) => {
    const guessed = predicted.pieces.map((tokens) => textWidth(tokens[index][0], 0.9) + 20 * large);
    return Math.max(seen, textWidth(run.tokens[index], 0.98) + 14 * large, ...guessed);
  });
  return el(
    "div",
    { class: "scroller" },
    tablesOf(widths, width - 16 * large - textWidth(phrase("depth.axis"), 0.9)).map((range) =>
      grid(predicted, probabilities, run, scale, ...range),
    ),
  );
}

function grid(predicted, probabilities, run, scale, from, to) {
  return el(
    "table",
    { class: "guess-table" },
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        el("th", { scope: "col" }, phrase("depth.axis")),
        run.tokens
          .slice(from, to)
          .map((token, index) =>
            el("th", { scope: "col", class: from + index === state.token ? "chosen" : undefined }, piece(token, run)),
          ),
      ),
      el(
        "tr",
        { class: "seen" },
        el("th", { scope: "row" }, phrase("predictions.input")),
        run.tokens.slice(from, to).map((_, index) => el("td", {}, seenCell(run, from + index))),
      ),
    ),
    el(
      "tbody",
      {},
      predicted.pieces.map((tokens, depth) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, depth),
          tokens.slice(from, to).map((row, offset) => {
            const index = from + offset;
            const chance = slice(probabilities, depth, index)[0],
              color = scale.rgb(chance);
            return el(
              "td",
              {},
              el(
                "button",
                {
                  class: "guess-cell",
                  css: { background: `rgb(${color.join(" ")})`, color: inkOn(color) },
                  onclick: () => {
                    choose({ depth });
                    chooseToken(index);
                  },
                  data: { key: `guess${depth}-${index}` },
                  title: row.map((token, rank) => `${token} ${number(slice(probabilities, depth, index)[rank])}`).join("\n"),
                },
                piece(row[0], run),
              ),
            );
          }),
        ),
      ),
    ),
  );
}
