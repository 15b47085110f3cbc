// Vectors: each as a strip of colours, with a window of its numbers.

import { signScale } from "./color.js";
import { aligned, el, magnification, nameWidth, number, textWidth } from "./dom.js";
import { heat } from "./heat.js";
import { choose, state } from "./state.js";
import { phrase } from "./words.js";

const WRITTEN = 8; // numbers of a vector at once; fewer where there is less room

function statisticNames() {
  return [phrase("vector.norm"), phrase("vector.mean"), phrase("vector.std")];
}

// rows: [{name, values, statistics?: [norm, mean, std], strong?}], all of one length.
export function vectorTable(key, rows, { label, total, width }) {
  const length = rows[0].values.length;
  const scale = signScale(...rows.filter((row) => !row.apart).map((row) => row.values));
  const apart = rows.find((row) => row.apart),
    apartScale = apart && signScale(apart.values);
  const room = (width + nameWidth(rows.map((row) => row.name))) / magnification();
  const narrow = room < 560,
    besides = narrow || !rows.some((row) => row.statistics) ? 150 : 332;
  const written = Math.max(2, Math.min(WRITTEN, Math.floor((room - besides) / 66)));
  const first = Math.floor(Math.min(state.first, length - 1) / written) * written;
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
      unit: apart && phrase("vector.own_scale", { name: apart.name, high: number(apartScale.high) }),
      rowScale: (row) => (rows[row].apart ? apartScale : scale),
      smallest: 0.4,
      tallest: 14,
      cellHeight: 26,
      value: (row, column) => rows[row].values[column],
      rowName: (row) => rows[row].name,
      describe: (row, column, value) => phrase("vector.number", { name: rows[row].name, column, value: number(value) }),
      pick: (_row, column) => choose({ first: column }),
      marked: {},
    }),
    numbersTable(rows, first, length, total ?? length, written, narrow),
    narrow && statisticsTable(rows),
  );
}

// Below the numbers if there is no room beside them.
function statisticsTable(rows) {
  const known = rows.filter((row) => row.statistics);
  if (!known.length) return null;
  return el(
    "table",
    { class: "numbers" },
    el(
      "thead",
      {},
      el("tr", {}, el("td", {}), statisticNames().map((name) => el("th", { scope: "col" }, name))),
    ),
    el(
      "tbody",
      {},
      known.map((row) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, row.name),
          Array.from(row.statistics, (value) => el("td", {}, number(value))),
        ),
      ),
    ),
  );
}

function numbersTable(rows, first, length, total, written, narrow) {
  const columns = Array.from({ length: Math.min(written, length - first) }, (_, i) => first + i);
  const turn = (by) => choose({ first: Math.max(0, Math.min(first + by, length - 1)) });
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
  const withStatistics = !narrow && rows.some((row) => row.statistics);
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
              button("‹", -written, phrase("vector.earlier"), first === 0),
              phrase("vector.range", { first, last: first + columns.length - 1, total }),
              button("›", written, phrase("vector.later"), first + written >= length),
            ),
          ),
          columns.map((column) => el("th", { scope: "col" }, column)),
          withStatistics && statisticNames().map((name) => el("th", { scope: "col", class: "statistic" }, name)),
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
            withStatistics &&
              row.statistics &&
              Array.from(row.statistics, (value) => el("td", { class: "statistic" }, number(value))),
          ),
        ),
      ),
    ),
  );
}

// One number in each row, as a bar from zero to `most`; for scores and probabilities.  `signed`: 0 is in the middle.
// `names`: the items of all adjacent lists, so that their bars have the same length.
export function bars(items, { scale, pick, label, most, signed, names = items }) {
  const both = signed ?? items.some((item) => item.value < 0);
  const name = Math.max(...names.map((item) => textWidth(item.label, 1.05)));
  return el(
    "ol",
    {
      css: { "--name": `${Math.ceil(name) + 4}px` },
      class: both ? "bars both" : most === 1 ? "bars whole" : "bars",
      "aria-label": label,
    },
    items.map((item, index) => {
      const share = Math.min(1, Math.abs(item.value) / most) * (both ? 50 : 100);
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
          },
          el("span", { class: "bar-name" }, item.name),
          el("span", { class: "bar-track" }, bar),
          " ",
          el("span", { class: "bar-number" }, number(item.value)),
          " ",
          item.more && el("span", { class: "bar-more" }, item.more),
        ),
      );
    }),
  );
}
