// View 7, for two texts: the same word in both, layer by layer, and every token against every token.

import { lineColor, scaleOf } from "./color.js";
import { slice, unpack } from "./data.js";
import { card, el, magnification, nameWidth, note, number, piece, svg } from "./dom.js";
import { heat } from "./heat.js";
import { lineChart } from "./plot.js";
import { choose, depthName, page, state } from "./state.js";
import { layerNames } from "./view_hidden.js";

export function comparisonView(width) {
  const { walks, comparison } = page();
  const across = unpack(comparison.tensors.across);
  const half = width > 1000 ? (width - 80) / 2 : width;
  return [
    el(
      "div",
      { class: "pair" },
      ...walks.map((walk, index) =>
        card(`Text ${index + 1}`, el("p", { class: "said", lang: walk.language || undefined, dir: "auto" }, walk.text)),
      ),
    ),
    el(
      "div",
      { class: "pair" },
      card("The same word in both", sharedWords(comparison, half)),
      card(`Every token against every token, ${depthName(state.depth)}`, acrossMap(walks, across, half)),
    ),
    card(
      [piece(walks[0].tokens[firstToken()], walks[0]), " and ", piece(walks[1].tokens[state.other], walks[1])],
      pairChart(walks, across, width),
    ),
  ];
}

function firstToken() {
  return Math.min(state.token, page().walks[0].shown - 1);
}

function sharedWords({ words }, width) {
  if (!words.length) return note("The two texts share no word. Choose any two tokens in the map.");
  return [
    note(
      "A word begins as one vector, but for its position; what stands around it tells it apart. Cosine of the word in text 1 with itself in text 2.",
    ),
    lineChart(
      words.map((entry) => ({
        name: entry.word,
        values: entry.cosines,
        strong: isChosen(entry),
        pick: () => choose({ token: entry.first[0], other: entry.second[0], walk: 0 }),
      })),
      {
        label: "Similarity of the same word across layers",
        names: layerNames(),
        high: 1,
        marked: state.depth,
        height: 300,
        width,
      },
    ),
    el(
      "ul",
      { class: "words" },
      words.map((entry, index) =>
        el(
          "li",
          {},
          el(
            "button",
            {
              class: isChosen(entry) ? "small chosen-word" : "small",
              data: { key: `word${index}` },
              onclick: () => choose({ token: entry.first[0], other: entry.second[0], walk: 0 }),
            },
            svg(
              "svg",
              { class: "swatch", viewBox: "0 0 10 10", "aria-hidden": "true" },
              svg("circle", { cx: 5, cy: 5, r: 5, fill: lineColor(index) }),
            ),
            piece(entry.word, page().walks[0]),
            el("span", { class: "token-number" }, ` ${entry.first[0]}–${entry.second[0]}`),
          ),
          ` ${number(entry.cosines[state.depth])}`,
        ),
      ),
    ),
  ];
}

function isChosen(entry) {
  return entry.first.includes(firstToken()) && entry.second.includes(state.other);
}

function acrossMap([first, second], across, width) {
  const values = slice(across, state.depth),
    columns = second.shown;
  return heat({
    key: "across",
    label: `Cosines ${depthName(state.depth)}`,
    rows: first.shown,
    columns,
    value: (row, column) => values[row * columns + column],
    scale: scaleOf("sign", 0, 1),
    width: Math.max(180, width - nameWidth(first.tokens)),
    tallest: 44 * magnification(),
    rowTitle: "text 1",
    columnTitle: "text 2",
    unit: "cosine",
    rowName: (row) => piece(first.tokens[row], first),
    columnName: (column) => piece(second.tokens[column], second),
    describe: (row, column, value) => `${first.tokens[row]} and ${second.tokens[column]}: ${number(value)}`,
    marked: { row: firstToken(), column: state.other },
    pick: (row, column) => choose({ token: row, other: column, walk: 0 }),
  });
}

function pairChart([first, second], across, width) {
  const row = firstToken();
  const values = Array.from({ length: across.shape[0] }, (_, depth) => slice(across, depth, row)[state.other]);
  return lineChart(
    [{ name: `${first.tokens[row]} and ${second.tokens[state.other]}`, values, strong: true, color: "var(--accent)" }],
    {
      label: "Similarity of the chosen tokens across layers",
      names: layerNames(),
      high: 1,
      marked: state.depth,
      height: 200,
      width,
    },
  );
}
