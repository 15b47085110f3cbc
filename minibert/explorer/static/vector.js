// Vectors: each as a strip of colours, and a window of its numbers written out.

import { signScale } from "./color.js";
import { aligned, el, number } from "./dom.js";
import { heat } from "./heat.js";
import { choose, state } from "./state.js";

const WRITTEN = 8;

// rows: [{name, values, statistics?: [norm, mean, spread], strong?}], all of one length.
export function vectorTable(key, rows, { label, total, width }) {
  const length = rows[0].values.length;
  const scale = signScale(rows.filter((row) => !row.apart).flatMap((row) => Array.from(row.values)));
  const apart = rows.find((row) => row.apart),
    apartScale = apart && signScale(apart.values);
  const first = Math.min(state.first, Math.max(0, Math.ceil(length / WRITTEN) - 1) * WRITTEN);
  return el(
    "div",
    { class: "vectors" },
    heat({
      key,
      label,
      rows: rows.length,
      columns: length,
      scale,
      width,
      unit: apart && `${apart.name}: a scale of its own, ±${number(apartScale.high)}`,
      rowScale: (row) => (rows[row].apart ? apartScale : scale),
      smallest: 1,
      tallest: 14,
      cellHeight: 26,
      value: (row, column) => rows[row].values[column],
      rowName: (row) => rows[row].name,
      columnName: () => "",
      describe: (row, column, value) => `${rows[row].name}, number ${column}: ${number(value)}`,
      pick: (_row, column) => choose({ first: Math.floor(column / WRITTEN) * WRITTEN }),
      marked: {},
    }),
    numbersTable(rows, first, length, total ?? length),
  );
}

function numbersTable(rows, first, length, total) {
  const columns = Array.from({ length: Math.min(WRITTEN, length - first) }, (_, i) => first + i);
  const turn = (by) =>
    choose({ first: Math.max(0, Math.min(first + by, Math.floor((length - 1) / WRITTEN) * WRITTEN)) });
  const button = (text, by, name, dead) =>
    el(
      "button",
      {
        class: "small",
        onclick: () => turn(by),
        disabled: dead,
        "aria-label": name,
        data: { key: `turn${by}` },
      },
      text,
    );
  const withStatistics = rows.some((row) => row.statistics);
  return el(
    "div",
    { class: "scroller" },
    el(
      "table",
      { class: "numbers" },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el(
            "th",
            { scope: "col" },
            el(
              "span",
              { class: "turn" },
              button("‹", -WRITTEN, "earlier numbers", first === 0),
              `${first}–${first + columns.length - 1} of ${total}`,
              button("›", WRITTEN, "later numbers", first + WRITTEN >= length),
            ),
          ),
          columns.map((column) => el("th", { scope: "col" }, column)),
          withStatistics &&
            ["norm", "mean", "spread"].map((name) => el("th", { scope: "col", class: "statistic" }, name)),
        ),
      ),
      el(
        "tbody",
        {},
        rows.map((row) =>
          el(
            "tr",
            { class: row.strong ? "strong" : undefined },
            el("th", { scope: "row" }, row.name),
            columns.map((column) => el("td", {}, aligned(row.values[column]))),
            row.statistics && Array.from(row.statistics, (value) => el("td", { class: "statistic" }, number(value))),
          ),
        ),
      ),
    ),
  );
}

// One number a row as a bar from zero; for scores and probabilities.
export function bars(items, { scale, pick, label }) {
  const most = Math.max(...items.map((item) => Math.abs(item.value)), 1e-12);
  const both = items.some((item) => item.value < 0);
  return el(
    "ol",
    { class: both ? "bars both" : "bars", "aria-label": label },
    items.map((item, index) => {
      const share = (Math.abs(item.value) / most) * (both ? 50 : 100);
      const bar = el("span", {
        class: "bar",
        css: {
          width: `${share}%`,
          "margin-left": both ? `${item.value < 0 ? 50 - share : 50}%` : "0",
          background: scale.css(item.value),
        },
      });
      return el(
        "li",
        {},
        el(
          "button",
          {
            class: item.chosen ? "bar-row chosen" : "bar-row",
            onclick: () => pick?.(index),
            data: { key: `bar${index}` },
            "aria-label": `${item.label}: ${number(item.value)}`,
          },
          el("span", { class: "bar-name" }, item.name),
          el("span", { class: "bar-track" }, bar),
          el("span", { class: "bar-number" }, number(item.value)),
          item.more && el("span", { class: "bar-more" }, item.more),
        ),
      );
    }),
  );
}
