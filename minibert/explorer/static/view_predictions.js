// View 5: what each hidden state would predict, if the model's own masked-language-modelling head read it.

import { inkOn, scaleOf } from "./color.js";
import { slice, unpack } from "./data.js";
import { card, el, magnification, note, number, piece, tablesOf, textWidth } from "./dom.js";
import { legend } from "./legend.js";
import { maskControl } from "./live.js";
import { choose, chooseToken, currentWalk, depthName, page, state } from "./state.js";
import { bars } from "./vector.js";

export function predictionsView(width) {
  const walk = currentWalk();
  const found = state.show !== "whole" && walk.edited ? walk.edited.predictions : walk.predictions;
  if (found.reason) return [card("What each hidden state would predict", el("p", { class: "reason" }, found.reason))];
  const guesses = unpack(found.tensors.guesses);
  const scale = scaleOf("amount", 0, 1),
    barScale = scaleOf("amount", -0.35, 1); // their length says the value; the faintest can be seen, too
  const covered = isCovered(walk) ? walk.predictions_when_masked : null;
  const shown = covered ? { found: covered, guesses: unpack(covered.tensors.guesses) } : { found, guesses };
  return [
    card(
      ["What each hidden state would predict at ", piece(covered ? "[MASK]" : walk.tokens[state.token], walk)],
      el("div", { class: "visibility" }, visibility(walk), maskButton(walk)),
      note(
        "The masked-language-modelling head was trained on the last hidden state; what it reads in those before shows what is there already. All bars are on one scale, from 0 to 1.",
      ),
      el("div", { class: "guess-columns" }, statesOf(shown.found, shown.guesses, walk, barScale)),
    ),
    card(
      "The likeliest piece at every token",
      grids(found, guesses, walk, scale, width),
      note(
        "A token under “visible” is part of the input, so the model can copy it; “masked” is what it has to predict from the others.",
      ),
      legend(scale, "probability"),
    ),
  ];
}

// Whether the page shows what would be predicted with the chosen token masked, which it has from when it was made.
function isCovered(walk) {
  return Boolean(state.masked && canCover(walk));
}

function canCover(walk) {
  const token = state.token;
  return !page().live && walk.predictions_when_masked && !walk.special[token] && !walk.hidden.includes(token);
}

function visibility(walk) {
  const token = state.token,
    name = piece(walk.written[token], walk);
  if (walk.masked.includes(token))
    return el("p", {}, el("b", {}, "Masked: "), "the model sees [MASK] here in place of ", name, ".");
  if (walk.hidden.includes(token)) return el("p", {}, el("b", {}, "Masked: "), "the text has [MASK] here.");
  if (isCovered(walk))
    return el(
      "p",
      {},
      el("b", {}, "Masked: "),
      "this view shows the run with [MASK] in place of ",
      name,
      ". The other views show the text as it is; minibert explore --serve masks it everywhere.",
    );
  return el("p", {}, el("b", {}, "Visible to the model: "), name, " is part of the input, so the model can copy it.");
}

function maskButton(walk) {
  const token = state.token;
  if (page().live) return maskControl(token);
  if (!canCover(walk))
    return walk.special[token] || walk.hidden.includes(token)
      ? null
      : el("p", {}, "To mask it: minibert explore --serve.");
  return el(
    "button",
    { data: { key: "mask" }, onclick: () => choose({ masked: !state.masked }) },
    state.masked ? ["Show ", piece(walk.written[token], walk)] : ["Mask ", piece(walk.written[token], walk)],
  );
}

function statesOf(found, guesses, walk, scale) {
  const names = found.pieces.flatMap((tokens) => tokens[state.token].map((token) => ({ label: token })));
  return found.pieces.map((tokens, depth) =>
    el(
      "div",
      { class: depth === state.depth ? "guesses chosen" : "guesses" },
      el("h3", {}, depthName(depth)),
      bars(
        tokens[state.token].map((token, rank) => ({
          name: piece(token, walk),
          label: token,
          value: slice(guesses, depth, state.token)[rank],
          chosen: token === walk.written[state.token],
        })),
        { scale, most: 1, names, label: `Predictions of ${depthName(depth)}`, pick: () => choose({ depth }) },
      ),
    ),
  );
}

// "visible" or "masked"; live, a button that turns one into the other.
function seenCell(walk, index) {
  if (page().live && !walk.special[index]) return maskControl(index, true);
  return walk.hidden.includes(index) ? el("b", {}, "masked") : "visible";
}

// As many tables, one below the other, as the text needs at this width.
function grids(found, guesses, walk, scale, width) {
  const widths = Array.from({ length: walk.shown }, (_, index) => {
    const shown = [walk.tokens[index], ...found.pieces.map((tokens) => tokens[index][0])];
    return 22 * magnification() + Math.max(textWidth("visible", 1), ...shown.map((text) => textWidth(text, 0.9)));
  });
  return el(
    "div",
    { class: "scroller" },
    tablesOf(widths, width - 30 * magnification() - textWidth("hidden state", 0.9)).map((range) =>
      grid(found, guesses, walk, scale, ...range),
    ),
  );
}

function grid(found, guesses, walk, scale, from, to) {
  return el(
    "table",
    { class: "guess-table" },
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        el("th", { scope: "col" }, "hidden state"),
        walk.tokens
          .slice(from, to)
          .map((token, index) =>
            el("th", { scope: "col", class: from + index === state.token ? "chosen" : undefined }, piece(token, walk)),
          ),
      ),
      el(
        "tr",
        { class: "seen" },
        el("th", { scope: "row" }, "input"),
        walk.tokens.slice(from, to).map((_, index) => el("td", {}, seenCell(walk, from + index))),
      ),
    ),
    el(
      "tbody",
      {},
      found.pieces.map((tokens, depth) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, depth),
          tokens.slice(from, to).map((row, offset) => {
            const index = from + offset;
            const chance = slice(guesses, depth, index)[0],
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
                  title: row.map((token, rank) => `${token} ${number(slice(guesses, depth, index)[rank])}`).join("\n"),
                },
                piece(row[0], walk),
              ),
            );
          }),
        ),
      ),
    ),
  );
}
