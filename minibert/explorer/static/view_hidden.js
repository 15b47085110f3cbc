// View 4: the hidden states across layers: norms, cosines, and their projection on a plane.

import { largest, scaleOf, signScale } from "./color.js";
import { slice, tensor, unpack } from "./data.js";
import { card, el, isWide, magnification, nameWidth, note, number, piece } from "./dom.js";
import { heat } from "./heat.js";
import { lineChart, pathChart } from "./plot.js";
import { choose, chooseToken, currentRun, depthName, page, state } from "./state.js";
import { phrase, sentence } from "./words.js";

// 0 to L, the ticks of an axis of hidden states.
export function stateNames() {
  return Array.from({ length: page().model.layers + 1 }, (_, depth) => String(depth));
}

export function hiddenView(width) {
  const run = currentRun(),
    half = isWide(width) ? (width - 80) / 2 : width;
  return [
    el(
      "div",
      { class: "pair" },
      card(phrase("hidden.cosines", { state: depthName(state.depth) }), cosineMap(run, half)),
      card(phrase("hidden.components"), pathsOf(run, half)),
    ),
    card(phrase("hidden.norms"), norms(run, width), normMap(run, width)),
  ];
}

function cosineMap(run, width) {
  const cosines = slice(tensor(run, "cosines", state.show), state.depth),
    T = run.shown;
  return [
    note(phrase("hidden.cosines_note")),
    heat({
      key: "cosines",
      label: phrase("hidden.cosines_label", { state: depthName(state.depth) }),
      rows: T,
      columns: T,
      value: (row, column) => cosines[row * T + column],
      scale: state.show === "change" ? signScale(cosines) : scaleOf("sign", 0, 1),
      width: Math.max(180, width - nameWidth(run.tokens)),
      tallest: 44 * magnification(),
      rowName: (row) => piece(run.tokens[row], run),
      columnName: (column) => piece(run.tokens[column], run),
      unit: phrase("unit.cosine"),
      describe: (row, column, value) => phrase("pair.value", { first: run.tokens[row], second: run.tokens[column], value: number(value) }),
      marked: { row: state.token },
      pick: chooseToken,
    }),
  ];
}

function pathsOf(run, width) {
  const show = state.show === "change" ? "edited" : state.show;
  const projection = tensor(run, "projection", show),
    share = run.explained_variance;
  // Components and predictions follow an answer, and the answer to an edit may come before those of its text.
  if (!projection || !share) return el("p", { class: "reason" }, sentence(run.predictions.reason));
  const paths = Array.from({ length: run.shown }, (_, token) => ({
    name: run.tokens[token],
    strong: token === state.token,
    pick: () => chooseToken(token),
    places: Array.from({ length: page().model.layers + 1 }, (_, depth) => Array.from(slice(projection, depth, token))),
  }));
  return [
    note(
      phrase("hidden.components_note", {
        first: Math.round(share[0] * 100),
        second: Math.round(share[1] * 100),
        state: depthName(state.depth),
      }),
    ),
    pathChart(paths, { label: phrase("hidden.components_label"), depth: state.depth, depthName, width }),
  ];
}

function norms(run, width) {
  const lengths = tensor(run, "norms", state.show);
  const lines = Array.from({ length: run.shown }, (_, token) => ({
    name: run.tokens[token],
    strong: token === state.token,
    color: token === state.token ? "var(--accent)" : "var(--ink-4)",
    pick: () => chooseToken(token),
    values: Array.from({ length: lengths.shape[0] }, (_, depth) => slice(lengths, depth)[token]),
  }));
  return lineChart(lines, {
    label: phrase("hidden.norms_label"),
    axis: phrase("depth.axis"),
    names: stateNames(),
    marked: state.depth,
    width,
    ...(state.show === "change" ? {} : { low: 0, high: largestNorm() }),
  });
}

// Over all texts, with and without edits: their charts share one axis.
function largestNorm() {
  const runs = page().runs.flatMap((run) => (run.edited ? [run, run.edited] : [run]));
  return Math.max(...runs.map((run) => largest(unpack(run.tensors.norms).values)));
}

function normMap(run, width) {
  const lengths = tensor(run, "norms", state.show),
    values = lengths.values;
  const scale = state.show === "change" ? signScale(values) : scaleOf("amount", 0, largestNorm());
  return el(
    "details",
    {},
    el("summary", { data: { key: "norm-table" } }, phrase("hidden.as_map")),
    heat({
      key: "norms",
      label: phrase("hidden.norms_map"),
      rows: lengths.shape[0],
      columns: run.shown,
      value: (row, column) => values[row * run.shown + column],
      scale,
      width: width - nameWidth([phrase("depth.axis")]),
      tallest: 34,
      rowTitle: phrase("depth.axis"),
      rowName: (row) => stateNames()[row],
      columnName: (column) => piece(run.tokens[column], run),
      unit: phrase("unit.norm"),
      describe: (row, column, value) => phrase("hidden.at", { name: run.tokens[column], state: depthName(row), value: number(value) }),
      marked: { row: state.depth, column: state.token },
      pick: (row, column) => {
        choose({ depth: row });
        chooseToken(column);
      },
    }),
  );
}
