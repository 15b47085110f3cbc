// View 3: attention: all heads as small maps, and one head as lines and as a matrix.

import { attentionRowCard } from "./attention_row.js";
import { scaleOf, signScale } from "./color.js";
import { slice, tensor } from "./data.js";
import { card, el, fitting, magnification, nameWidth, note, number, piece, setStyle, svg, textWidth } from "./dom.js";
import { heat, paint } from "./heat.js";
import { withHint } from "./hint.js";
import { legend } from "./legend.js";
import { choose, chooseToken, currentRun, page, state } from "./state.js";
import { phrase } from "./words.js";

const FAINTEST = 0.02; // lines thinner than this would not be seen

// The grid of all heads beside the chosen head as lines and as a matrix; all in one window if they fit.
export function attentionView(width) {
  const run = currentRun(),
    attention = tensor(run, "probabilities", state.show),
    { layers, heads } = page().model;
  const large = magnification(),
    beside = width > 920 * large;
  const tallest = window.innerHeight - document.getElementById("view").offsetTop;
  const inside = Math.max(300 * large, tallest - 120 * large); // of a card, without its heading and legend
  const across = ((beside ? 0.35 * width : width) - 34 * large) / heads;
  const size = Math.max(14, Math.min(104, Math.floor(Math.min(across, inside / layers)) - 4));
  const grid = heads * (size + 3) + 34 * large;
  const one = beside ? (width - grid - 126 * large) / 2 : width > 640 * large ? (width - 60 * large) / 2 : width;
  const which = { layer: state.layer, head: state.head };
  return [
    el(
      "div",
      { class: "trio" },
      card(
        phrase("attention.all"),
        glance(run, attention, size),
        note(phrase("attention.all_note")),
      ),
      el(
        "div",
        { class: "duo" },
        card(phrase("attention.lines", which), lines(run, attention, one, inside)),
        card(phrase("attention.matrix", which), matrix(run, attention, one, inside)),
        page().live && attentionRowCard(),
      ),
    ),
  ];
}

function mapScale(values) {
  return state.show === "change" ? signScale(values) : scaleOf("amount", 0, 1);
}

function glance(run, attention, size) {
  const { layers, heads } = page().model;
  const scale = state.show === "change" ? signScale(attention.values) : scaleOf("amount", 0, 0.6);
  const grid = el("div", { class: "glance", role: "grid", "aria-label": phrase("attention.all_label") });
  for (let layer = 0; layer < layers; layer++) {
    const row = el(
      "div",
      { class: "glance-row", role: "row" },
      el("span", { class: "glance-name", role: "rowheader" }, layer),
    );
    for (let head = 0; head < heads; head++) row.append(glanceCell(run, attention, scale, size, layer, head));
    grid.append(row);
  }
  const names = el(
    "div",
    { class: "glance-row", "aria-hidden": "true" },
    el("span", { class: "glance-name" }),
    Array.from({ length: heads }, (_, head) => el("span", { class: "glance-head", css: { width: `${size}px` } }, head)),
  );
  return [
    el("div", { class: "scroller" }, names, grid),
    legend(scale, phrase(state.show === "change" ? "unit.probability_change" : "attention.capped")),
  ];
}

function glanceCell(run, attention, scale, size, layer, head) {
  const { layers, heads } = page().model;
  const values = slice(attention, layer, head),
    T = run.shown;
  const canvas = el("canvas", { width: T, height: T, "aria-hidden": "true" });
  setStyle(canvas, { width: `${size}px`, height: `${size}px` });
  paint(canvas, T, T, (row, column) => values[row * T + column], scale);
  const chosen = layer === state.layer && head === state.head;
  const button = el(
    "button",
    {
      class: chosen ? "glance-cell chosen" : "glance-cell",
      role: "gridcell",
      tabindex: chosen ? 0 : -1,
      "aria-label": phrase("layer.and_head", { layer, head }),
      "aria-selected": chosen,
      data: { key: `glance${layer}-${head}` },
      onclick: () => choose({ layer, head }),
      onkeydown: (event) => {
        const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
        if (!move) return;
        event.preventDefault();
        event.stopPropagation();
        choose({
          layer: Math.max(0, Math.min(layers - 1, layer + move[0])),
          head: Math.max(0, Math.min(heads - 1, head + move[1])),
        });
        document.querySelector(`[data-key="glance${state.layer}-${state.head}"]`)?.focus();
      },
    },
    canvas,
  );
  return withHint(button, () => phrase("attention.most", { layer, head, ...strongest(run, values) }));
}

function strongest(run, values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (Math.abs(values[i]) > Math.abs(values[best])) best = i;
  const row = Math.floor(best / run.shown),
    column = best % run.shown;
  return { from: run.tokens[row], to: run.tokens[column], value: number(values[best]) };
}

function lines(run, attention, width, tallest) {
  const T = run.shown,
    values = slice(attention, state.layer, state.head);
  const large = magnification(),
    top = 26 * large;
  const row = Math.max(15 * large, Math.min(24 * large, (tallest - top) / T));
  const longest = Math.max(...run.tokens.slice(0, T).map((token) => textWidth(token, 0.95)));
  const wide = Math.min(560 * large, width),
    titles = [phrase("attention.attends"), phrase("attention.attended")],
    side = Math.min(Math.max(...titles.map((title) => textWidth(title, 0.78)), longest) + 10, wide * 0.36);
  const scale = mapScale(values),
    most = state.show === "change" ? scale.high : 1;
  const y = (index) => top + row * (index + 0.5);
  const chart = svg("svg", {
    class: "attention-lines",
    viewBox: `0 0 ${wide} ${top + row * T + 8}`,
    width: wide,
    role: "img",
    "aria-label": phrase("attention.lines_label", { layer: state.layer, head: state.head }),
  });
  chart.append(
    svg("text", { class: "tick", x: side, y: top / 2, "text-anchor": "end" }, titles[0]),
    svg("text", { class: "tick", x: wide - side, y: top / 2 }, titles[1]),
  );
  for (const chosen of [false, true]) {
    for (let from = 0; from < T; from++) {
      if ((from === state.token) !== chosen) continue;
      for (let to = 0; to < T; to++) {
        const value = values[from * T + to],
          share = Math.abs(value) / most;
        if (share < FAINTEST) continue;
        chart.append(
          withHint(
            svg("path", {
              class: "attention-line",
              d: `M ${side + 6} ${y(from)} C ${wide / 2} ${y(from)}, ${wide / 2} ${y(to)}, ${wide - side - 6} ${y(to)}`,
              fill: "none",
              stroke: chosen ? (value < 0 ? "var(--below)" : "var(--accent)") : "var(--ink-3)",
              "stroke-width": (chosen ? 1 : 0.6) + 5 * share * (chosen ? 1 : 0.5),
              opacity: chosen ? 0.25 + 0.75 * share : 0.08 + 0.3 * share,
            }),
            () => `${run.tokens[from]} → ${run.tokens[to]}: ${number(value)}`,
          ),
        );
      }
    }
  }
  for (let index = 0; index < T; index++) {
    for (const [x, anchor] of [
      [side, "end"],
      [wide - side, "start"],
    ]) {
      chart.append(
        svg(
          "text",
          {
            class: index === state.token ? "line-token chosen" : "line-token",
            x,
            y: y(index) + 5,
            "text-anchor": anchor,
            lang: run.language || undefined,
            onclick: () => chooseToken(index),
          },
          fitting(run.tokens[index], side - 4, 0.95),
          svg("title", {}, run.tokens[index]),
        ),
      );
    }
  }
  return [
    el("div", { class: "scroller tall" }, chart),
    note(phrase("attention.lines_note", { faintest: FAINTEST })),
  ];
}

function matrix(run, attention, width, tallest) {
  const T = run.shown,
    values = slice(attention, state.layer, state.head);
  const wide = width - nameWidth(run.tokens),
    room = Math.max(Math.min(wide, tallest - 90 * magnification()), Math.min(wide, 12 * T)); // 90: the names above
  return [
    heat({
      key: "matrix",
      label: phrase("attention.matrix_label", { layer: state.layer, head: state.head }),
      rows: T,
      columns: T,
      value: (row, column) => values[row * T + column],
      scale: mapScale(values),
      width: Math.max(150, room),
      smallest: 1,
      tallest: 44 * magnification(),
      rowName: (row) => piece(run.tokens[row], run),
      columnName: (column) => piece(run.tokens[column], run),
      rowTitle: phrase("attention.attends"),
      columnTitle: phrase("attention.attended"),
      unit: phrase(state.show === "change" ? "unit.probability_change" : "unit.probability"),
      describe: (row, column, value) => `${run.tokens[row]} → ${run.tokens[column]}: ${number(value)}`,
      marked: { row: state.token },
      pick: chooseToken,
    }),
    note(phrase(state.show === "change" ? "attention.sum_change" : T < run.tokens.length ? "attention.sum_cut" : "attention.sum")),
  ];
}
