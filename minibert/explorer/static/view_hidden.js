// View 4: the hidden states across layers: how long, how alike, where they go.

import { scaleOf, signScale } from "./color.js";
import { slice, tensor } from "./data.js";
import { card, el, magnification, nameWidth, note, number, piece } from "./dom.js";
import { heat } from "./heat.js";
import { lineChart, pathChart } from "./plot.js";
import { choose, currentWalk, depthName, page, state } from "./state.js";

export function layerNames() {
  return ["emb", ...Array.from({ length: page().model.layers }, (_, layer) => String(layer))];
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
      pick: (row) => choose({ token: row }),
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
    pick: () => choose({ token }),
    places: Array.from({ length: page().model.layers + 1 }, (_, depth) => Array.from(slice(found, depth, token))),
  }));
  return [
    note(
      `Each token from the embeddings to the last layer, seen from the side where they differ most (principal components: ${Math.round(share[0] * 100)}% and ${Math.round(share[1] * 100)}% of the variance). Large dots: ${depthName(state.depth)}.`,
    ),
    pathChart(paths, { label: "Paths of the tokens through the layers", depth: state.depth, depthName, width }),
  ];
}

function norms(walk, width) {
  const found = tensor(walk, "norms", state.show);
  const lines = Array.from({ length: walk.shown }, (_, token) => ({
    name: walk.tokens[token],
    strong: token === state.token,
    color: token === state.token ? "var(--accent)" : "var(--ink-4)",
    pick: () => choose({ token }),
    values: Array.from({ length: found.shape[0] }, (_, depth) => slice(found, depth)[token]),
  }));
  return lineChart(lines, { label: "Norms across layers", names: layerNames(), marked: state.depth, width });
}

function normMap(walk, width) {
  const found = tensor(walk, "norms", state.show),
    values = found.values;
  const scale =
    state.show === "change"
      ? signScale(values)
      : scaleOf(
          "amount",
          0,
          values.reduce((a, b) => Math.max(a, b), 0),
        );
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
      width: width - 150,
      tallest: 34,
      rowName: (row) => layerNames()[row],
      columnName: (column) => piece(walk.tokens[column], walk),
      unit: "norm",
      describe: (row, column, value) => `${walk.tokens[column]}, ${depthName(row)}: ${number(value)}`,
      marked: { row: state.depth, column: state.token },
      pick: (row, column) => choose({ depth: row, token: column }),
    }),
  );
}
