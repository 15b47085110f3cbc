// View 5: what each layer would predict, if the model's own head read its hidden states.

import { inkOn, scaleOf } from "./color.js";
import { slice, unpack } from "./data.js";
import { card, el, note, number, piece } from "./dom.js";
import { legend } from "./legend.js";
import { choose, currentWalk, depthName, state } from "./state.js";
import { bars } from "./vector.js";

export function predictionsView() {
  const walk = currentWalk();
  const found = state.show !== "whole" && walk.edited ? walk.edited.predictions : walk.predictions;
  if (found.reason) return [card("What each layer would predict", el("p", { class: "reason" }, found.reason))];
  const guesses = unpack(found.tensors.guesses);
  const scale = scaleOf("amount", 0, 1);
  return [
    card(
      ["What each layer would predict at ", piece(walk.tokens[state.token], walk)],
      note(
        "The head that predicts masked words was trained on the last layer only; what it reads in the layers before shows what is there already.",
      ),
      el("div", { class: "guess-columns" }, layersOf(found, guesses, walk, scale)),
    ),
    card("The likeliest piece at every token", grid(found, guesses, walk, scale), legend(scale, "probability")),
  ];
}

function layersOf(found, guesses, walk, scale) {
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
        })),
        { scale, label: `Predictions ${depthName(depth)}`, pick: () => choose({ depth }) },
      ),
    ),
  );
}

function grid(found, guesses, walk, scale) {
  return el(
    "div",
    { class: "scroller" },
    el(
      "table",
      { class: "guess-table" },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("th", { scope: "col" }, "layer"),
          walk.tokens
            .slice(0, walk.shown)
            .map((token, index) =>
              el("th", { scope: "col", class: index === state.token ? "chosen" : undefined }, piece(token, walk)),
            ),
        ),
      ),
      el(
        "tbody",
        {},
        found.pieces.map((tokens, depth) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, depth ? depth - 1 : "emb"),
            tokens.map((row, index) => {
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
                    onclick: () => choose({ token: index, depth }),
                    data: { key: `guess${depth}-${index}` },
                    title: row
                      .map((token, rank) => `${token} ${number(slice(guesses, depth, index)[rank])}`)
                      .join("\n"),
                  },
                  piece(row[0], walk),
                ),
              );
            }),
          ),
        ),
      ),
    ),
  );
}
