// View 6: who is moved by whom: noise at one token, and how far every other token moves.

import { scaleOf } from "./color.js";
import { segmented } from "./controls.js";
import { unpack } from "./data.js";
import { card, el, magnification, nameWidth, note, number, piece } from "./dom.js";
import { heat } from "./heat.js";
import { lineChart } from "./plot.js";
import { choose, chooseToken, currentWalk, page, state } from "./state.js";

function modeChoice() {
  const holder = el("div", { class: "choices gap", role: "group", "aria-label": "Where the noise goes in" });
  segmented(
    holder,
    [
      ["single", "Noise once"],
      ["per_layer", "Afresh at each layer"],
    ],
    state.mode,
    (mode) => choose({ mode }),
    "mode",
  );
  return holder;
}

// The largest movement in the maps of one kind, of all layers and texts; without the diagonals, where they are not shown.
function largestMovement(mode, diagonal) {
  let most = 0;
  for (const { sensitivity } of page().walks) {
    if (!sensitivity?.tensors) continue;
    const { shape, values } = unpack(sensitivity.tensors[mode]);
    const T = shape[1];
    for (let i = 0; i < values.length; i++)
      if ((diagonal || Math.floor((i % (T * T)) / T) !== i % T) && values[i] > most) most = values[i];
  }
  return most || 1;
}

export function sensitivityView(width) {
  const walk = currentWalk(),
    found = walk.sensitivity;
  if (!found) return [card("Sensitivity", note("Being computed …"))];
  if (found.reason) return [card("Sensitivity", el("p", { class: "reason" }, found.reason))];
  const maps = unpack(found.tensors[state.mode]),
    [layers, T] = maps.shape;
  const layer = Math.min(state.layer, layers - 1);
  const at = (row, column, which = layer) =>
    row === column && !state.diagonal ? 0 : maps.values[(which * T + row) * T + column];
  const most = largestMovement(state.mode, state.diagonal); // one scale for all layers and texts
  const half = width > 1000 ? (width - 80) * 0.6 : width;
  return [
    el(
      "div",
      { class: "pair wide-first" },
      card(
        `Moved by noise, output of layer ${layer}`,
        modeChoice(),
        note(
          state.mode === "single"
            ? "Noise goes into the embeddings once, and every later layer is watched. "
            : "Noise goes into the input of this layer, and what it does within the layer is watched. ",
          "Row: the token that is disturbed. Column: the token that moves. The number: how far it moves, in sizes of the disturbance. ",
          `Gaussian noise of standard deviation ${number(found.std)}, ${found.samples} draws, seed ${found.seed}.`,
          found.heads?.length ? ` Without the heads ${found.heads.map((pair) => pair.join(".")).join(", ")}.` : "",
        ),
        el(
          "label",
          { class: "check" },
          el("input", {
            type: "checkbox",
            checked: state.diagonal,
            onchange: (event) => choose({ diagonal: event.target.checked }),
            data: { key: "diagonal" },
          }),
          " show each token's own movement (the diagonal)",
        ),
        heat({
          key: "sensitivity",
          label: `Sensitivity, output of layer ${layer}`,
          rows: T,
          columns: T,
          value: (row, column) => at(row, column),
          scale: scaleOf("amount", 0, most),
          width: Math.max(180, half - nameWidth(walk.tokens)),
          tallest: 44 * magnification(),
          rowName: (row) => piece(walk.tokens[row], walk),
          columnName: (column) => piece(walk.tokens[column], walk),
          rowTitle: "disturbed",
          columnTitle: "moves",
          unit: "movement / disturbance",
          describe: (row, column, value) =>
            `noise at ${walk.tokens[row]} moves ${walk.tokens[column]}: ${number(value)}`,
          marked: { row: state.token },
          pick: chooseToken,
        }),
      ),
      card(
        ["How noise at ", piece(walk.tokens[state.token], walk), " spreads"],
        note("One line for each token that moves; the disturbed token itself in colour."),
        lineChart(
          Array.from({ length: T }, (_, column) => ({
            name: walk.tokens[column],
            strong: column === state.token,
            color: column === state.token ? "var(--accent)" : "var(--ink-4)",
            pick: () => chooseToken(column),
            values: Array.from({ length: layers }, (_, which) => maps.values[(which * T + state.token) * T + column]),
          })),
          {
            label: "Movement of every token across layers",
            names: Array.from({ length: layers }, (_, which) => String(which)),
            axis: "layer",
            low: 0,
            high: largestMovement(state.mode, true),
            marked: layer,
            height: 340,
            width: width > 1000 ? (width - 80) * 0.4 : width,
          },
        ),
      ),
    ),
  ];
}
