// View 6: sensitivity: noise at one token, and how much every other token changes.

import { scaleOf } from "./color.js";
import { segmented } from "./controls.js";
import { unpack } from "./data.js";
import { card, el, isWide, magnification, nameWidth, note, number, piece } from "./dom.js";
import { heat } from "./heat.js";
import { mapsToCome } from "./measuring.js";
import { lineChart } from "./plot.js";
import { choose, chooseToken, currentRun, page, state } from "./state.js";
import { phrase, phraseParts, sentence } from "./words.js";

function modeChoice() {
  const holder = el("div", { class: "choices gap", role: "group", "aria-label": phrase("sensitivity.where") });
  segmented(
    holder,
    [
      ["single", phrase("sensitivity.single")],
      ["per_layer", phrase("sensitivity.per_layer")],
    ],
    state.mode,
    (mode) => choose({ mode }),
    "mode",
  );
  return holder;
}

// The largest value in the maps of one mode, over all layers and texts; without the diagonals if they are hidden.
function largestChange(mode, diagonal) {
  let most = 0;
  for (const { sensitivity } of page().runs) {
    if (!sensitivity?.tensors) continue;
    const { shape, values } = unpack(sensitivity.tensors[mode]);
    const T = shape[1];
    for (let i = 0; i < values.length; i++)
      if ((diagonal || Math.floor((i % (T * T)) / T) !== i % T) && values[i] > most) most = values[i];
  }
  return most || 1;
}

export function sensitivityView(width) {
  const run = currentRun(),
    sensitivity = run.sensitivity;
  if (!sensitivity || sensitivity.stopped) return [card(phrase("sensitivity.title"), ...mapsToCome(run))];
  if (sensitivity.reason) return [card(phrase("sensitivity.title"), el("p", { class: "reason" }, sentence(sensitivity.reason)))];
  const maps = unpack(sensitivity.tensors[state.mode]),
    [layers, T] = maps.shape;
  const layer = Math.min(state.layer, layers - 1);
  const at = (row, column, which = layer) =>
    row === column && !state.diagonal ? 0 : maps.values[(which * T + row) * T + column];
  const most = largestChange(state.mode, state.diagonal); // one scale for all layers and texts
  const [half, beside] = isWide(width) ? [(width - 80) * 0.6, (width - 80) * 0.4] : [width, width];
  return [
    el(
      "div",
      { class: "pair wide-first" },
      card(
        phrase("sensitivity.map", { layer }),
        modeChoice(),
        note(
          phrase(state.mode === "single" ? "sensitivity.single_note" : "sensitivity.per_layer_note"),
          " ",
          phrase("sensitivity.reading"),
          " ",
          phrase("sensitivity.noise", {
            std: number(sensitivity.std),
            samples: sensitivity.samples,
            seed: sensitivity.seed,
          }),
          " ",
          sensitivity.heads?.length
            ? phrase("sensitivity.ablated", { heads: sensitivity.heads.map((pair) => pair.join(".")).join(", ") })
            : "",
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
          " ",
          phrase("sensitivity.diagonal"),
        ),
        heat({
          key: "sensitivity",
          label: phrase("sensitivity.label", { layer }),
          rows: T,
          columns: T,
          value: (row, column) => at(row, column),
          scale: scaleOf("amount", 0, most),
          width: Math.max(180, half - nameWidth(run.tokens)),
          tallest: 44 * magnification(),
          rowName: (row) => piece(run.tokens[row], run),
          columnName: (column) => piece(run.tokens[column], run),
          rowTitle: phrase("sensitivity.row"),
          columnTitle: phrase("sensitivity.column"),
          unit: phrase("unit.noise"),
          describe: (row, column, value) =>
            phrase("sensitivity.cell", { from: run.tokens[row], to: run.tokens[column], value: number(value) }),
          marked: { row: state.token },
          pick: chooseToken,
        }),
      ),
      card(
        phraseParts("sensitivity.chart", { token: piece(run.tokens[state.token], run) }),
        note(phrase("sensitivity.chart_note")),
        lineChart(
          Array.from({ length: T }, (_, column) => ({
            name: run.tokens[column],
            strong: column === state.token,
            color: column === state.token ? "var(--accent)" : "var(--ink-4)",
            pick: () => chooseToken(column),
            values: Array.from({ length: layers }, (_, which) => maps.values[(which * T + state.token) * T + column]),
          })),
          {
            label: phrase("sensitivity.chart_label"),
            names: Array.from({ length: layers }, (_, which) => String(which)),
            axis: phrase("layer.axis"),
            low: 0,
            high: largestChange(state.mode, true),
            marked: layer,
            height: Math.max(340, Math.min(480, 0.9 * beside)),
            width: beside,
          },
        ),
      ),
    ),
  ];
}
