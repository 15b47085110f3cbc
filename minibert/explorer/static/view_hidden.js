// View 4: the hidden states across layers: how long, how alike, where they go.

import { largest, scaleOf, signScale } from "./color.js";
import { slice, tensor, unpack } from "./data.js";
import { card, el, magnification, nameWidth, note, number, piece } from "./dom.js";
import { heat } from "./heat.js";
import { lineChart, pathChart } from "./plot.js";
import { choose, chooseToken, currentWalk, depthName, page, state } from "./state.js";

// 0 to L, as a chart's axis of hidden states has them.
export function stateNames() {
  return Array.from({ length: page().model.layers + 1 }, (_, depth) => String(depth));
}

export function hiddenView(width) {
  const walk = currentWalk(),
    half = width > 1000 ? (width - 80) / 2 : width;
  return [
    el(
      "div",
      { class: "pair" },
      card(`Cosine of every two tokens, ${depthName(state.depth)}`, cosineMap(walk, half)),
      card("Paths in the plane", pathsOf(walk, half)),
    ),
    card("Norm of every token's vector", norms(walk, width), normMap(walk, width)),
  ];
}

function cosineMap(walk, width) {
  const found = slice(tensor(walk, "cosines", state.show), state.depth),
    T = walk.shown;
  return [
    note("1: the two vectors point the same way; 0: they have nothing in common."),
    heat({
      key: "cosines",
      label: `Cosines ${depthName(state.depth)}`,
      rows: T,
      columns: T,
      value: (row, column) => found[row * T + column],
      scale: state.show === "change" ? signScale(found) : scaleOf("sign", 0, 1),
      width: Math.max(180, width - nameWidth(walk.tokens)),
      tallest: 44 * magnification(),
      rowName: (row) => piece(walk.tokens[row], walk),
      columnName: (column) => piece(walk.tokens[column], walk),
      unit: "cosine",
      describe: (row, column, value) => `${walk.tokens[row]} and ${walk.tokens[column]}: ${number(value)}`,
      marked: { row: state.token },
      pick: chooseToken,
    }),
  ];
}

function pathsOf(walk, width) {
  const show = state.show === "change" ? "edited" : state.show;
  const found = tensor(walk, "path", show),
    share = walk.share;
  const paths = Array.from({ length: walk.shown }, (_, token) => ({
    name: walk.tokens[token],
    strong: token === state.token,
    pick: () => chooseToken(token),
    places: Array.from({ length: page().model.layers + 1 }, (_, depth) => Array.from(slice(found, depth, token))),
  }));
  return [
    note(
      `Each token from hidden state 0 to the last, in the plane in which they differ most (principal components: ${Math.round(share[0] * 100)}% and ${Math.round(share[1] * 100)}% of the variance). Large dots: ${depthName(state.depth)}.`,
    ),
    pathChart(paths, { label: "Paths of the tokens through the hidden states", depth: state.depth, depthName, width }),
  ];
}

function norms(walk, width) {
  const found = tensor(walk, "norms", state.show);
  const lines = Array.from({ length: walk.shown }, (_, token) => ({
    name: walk.tokens[token],
    strong: token === state.token,
    color: token === state.token ? "var(--accent)" : "var(--ink-4)",
    pick: () => chooseToken(token),
    values: Array.from({ length: found.shape[0] }, (_, depth) => slice(found, depth)[token]),
  }));
  return lineChart(lines, {
    label: "Norms across hidden states",
    axis: "hidden state",
    names: stateNames(),
    marked: state.depth,
    width,
    ...(state.show === "change" ? {} : { low: 0, high: largestNorm() }),
  });
}

// Of all texts of the page, and of the run with and without edits: their charts share one axis.
function largestNorm() {
  const walks = page().walks.flatMap((walk) => (walk.edited ? [walk, walk.edited] : [walk]));
  return Math.max(...walks.map((walk) => largest(unpack(walk.tensors.norms).values)));
}

function normMap(walk, width) {
  const found = tensor(walk, "norms", state.show),
    values = found.values;
  const scale = state.show === "change" ? signScale(values) : scaleOf("amount", 0, largestNorm());
  return el(
    "details",
    {},
    el("summary", { data: { key: "norm-table" } }, "As a map"),
    heat({
      key: "norms",
      label: "Norms",
      rows: found.shape[0],
      columns: walk.shown,
      value: (row, column) => values[row * walk.shown + column],
      scale,
      width: width - nameWidth(["hidden state"]),
      tallest: 34,
      rowTitle: "hidden state",
      rowName: (row) => stateNames()[row],
      columnName: (column) => piece(walk.tokens[column], walk),
      unit: "norm",
      describe: (row, column, value) => `${walk.tokens[column]}, ${depthName(row)}: ${number(value)}`,
      marked: { row: state.depth, column: state.token },
      pick: (row, column) => {
        choose({ depth: row });
        chooseToken(column);
      },
    }),
  );
}
