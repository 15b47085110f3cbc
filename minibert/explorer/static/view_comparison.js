// View 7, for two texts: the same word in both, in every hidden state, and every token against every token.

import { lineColor, scaleOf } from "./color.js";
import { segmented } from "./controls.js";
import { slice, unpack } from "./data.js";
import { card, el, isWide, magnification, nameWidth, note, number, piece, svg } from "./dom.js";
import { heat } from "./heat.js";
import { lineChart } from "./plot.js";
import { choose, depthName, page, state } from "./state.js";
import { stateNames } from "./view_hidden.js";
import { phrase, phraseParts } from "./words.js";

export function comparisonView(width) {
  const { runs, comparison } = page();
  const cosines = unpack(comparison.tensors.cosines);
  const half = isWide(width) ? (width - 80) / 2 : width;
  const pair = pairValues(cosines);
  const low = Math.min(
    0.9,
    ...pair,
    ...comparison.words.flatMap((entry) => [...entry.cosines, ...(entry.matched ?? [])]),
  );
  return [
    el(
      "div",
      { class: "pair" },
      ...runs.map((run, index) =>
        card(phrase("control.text_number", { n: index + 1 }), el("p", { class: "said", lang: run.language || undefined, dir: "auto" }, run.text)),
      ),
    ),
    el(
      "div",
      { class: "pair" },
      card(phrase("comparison.shared"), sharedWords(comparison, low, half)),
      card(phrase("comparison.all", { state: depthName(state.depth) }), pairMap(runs, cosines, half)),
    ),
    card(
      phraseParts("comparison.pair", {
        first: piece(runs[0].tokens[firstToken()], runs[0]),
        position: firstToken(),
        second: piece(runs[1].tokens[state.other], runs[1]),
        other: state.other,
      }),
      pairChart(runs, pair, low, width),
    ),
  ];
}

function firstToken() {
  return Math.min(state.token, page().runs[0].shown - 1);
}

function sharedWords({ words }, low, width) {
  if (!words.length) return note(phrase("comparison.none"));
  const chosen = words.find(isChosen);
  return [
    note(phrase("comparison.note")),
    matchChoice(words),
    chosen && positionsNote(chosen),
    lineChart(
      words.map((entry) => ({
        name: entry.word,
        values: cosinesOf(entry),
        strong: isChosen(entry),
        pick: () => choose({ token: entry.first[0], other: entry.second[0], run: 0 }),
      })),
      {
        label: phrase("comparison.chart"),
        axis: phrase("depth.axis"),
        names: stateNames(),
        low,
        high: 1,
        marked: state.depth,
        height: Math.max(300, 0.6 * width),
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
              onclick: () => choose({ token: entry.first[0], other: entry.second[0], run: 0 }),
            },
            svg(
              "svg",
              { class: "swatch", viewBox: "0 0 10 10", "aria-hidden": "true" },
              svg("circle", { cx: 5, cy: 5, r: 5, fill: lineColor(index) }),
            ),
            piece(entry.word, page().runs[0]),
            el("span", { class: "token-number" }, ` ${entry.first[0]}–${entry.second[0]}`),
          ),
          ` ${number(cosinesOf(entry)[state.depth])}`,
        ),
      ),
    ),
  ];
}

// At the original positions, or at matched positions if those were computed.
function cosinesOf(entry) {
  return (state.matched && entry.matched) || entry.cosines;
}

function isMoved(entry) {
  return entry.first[0] !== entry.second[0];
}

function matchChoice(words) {
  if (!words.some((entry) => isMoved(entry) && entry.matched)) return null;
  const holder = el("div", { class: "choices gap", role: "group", "aria-label": phrase("comparison.positions") });
  segmented(
    holder,
    [
      [false, phrase("comparison.as_they_are")],
      [true, phrase("comparison.matched")],
    ],
    state.matched,
    (matched) => choose({ matched }),
    "matched",
  );
  return holder;
}

// The chosen word's curve in numbers, and the part that its positions have in it.
function positionsNote(entry) {
  const values = cosinesOf(entry),
    last = values.length - 1,
    word = piece(entry.word, page().runs[0]),
    [first, second] = [entry.first[0], entry.second[0]];
  const seen = phraseParts("comparison.seen", { word, first: number(values[0]), value: number(values[last]), last });
  const told = (...more) => el("p", { class: "note positions" }, seen, " ", ...more);
  if (!isMoved(entry)) return told(phrase("comparison.same_position", { position: first }));
  if (state.matched && entry.matched)
    return told(
      phrase("comparison.moved", {
        first,
        second,
        text: first > second ? 2 : 1,
        offset: Math.abs(first - second),
        position: Math.max(first, second),
      }),
    );
  return told(
    el("strong", {}, phrase("comparison.differ", { first, second })),
    " ",
    entry.matched
      ? phrase("comparison.removes", { matched: phrase("comparison.matched") })
      : phrase("comparison.contribute"),
  );
}

function isChosen(entry) {
  return entry.first.includes(firstToken()) && entry.second.includes(state.other);
}

function pairMap([first, second], cosines, width) {
  const values = slice(cosines, state.depth),
    columns = second.shown;
  return heat({
    key: "across",
    label: phrase("comparison.map_label", { state: depthName(state.depth) }),
    rows: first.shown,
    columns,
    value: (row, column) => values[row * columns + column],
    scale: scaleOf("sign", 0, 1),
    width: Math.max(180, width - nameWidth(first.tokens)),
    tallest: 44 * magnification(),
    rowTitle: phrase("control.text_number", { n: 1 }),
    columnTitle: phrase("control.text_number", { n: 2 }),
    unit: phrase("unit.cosine"),
    rowName: (row) => piece(first.tokens[row], first),
    columnName: (column) => piece(second.tokens[column], second),
    describe: (row, column, value) => phrase("pair.value", { first: first.tokens[row], second: second.tokens[column], value: number(value) }),
    marked: { row: firstToken(), column: state.other },
    pick: (row, column) => choose({ token: row, other: column, run: 0 }),
  });
}

function pairValues(cosines) {
  return Array.from({ length: cosines.shape[0] }, (_, depth) => slice(cosines, depth, firstToken())[state.other]);
}

function pairChart([first, second], values, low, width) {
  const name = phrase("comparison.pair_name", {
    first: first.tokens[firstToken()],
    second: second.tokens[state.other],
  });
  return lineChart([{ name, values, strong: true, color: "var(--accent)" }], {
    label: phrase("comparison.pair_chart"),
    axis: phrase("depth.axis"),
    names: stateNames(),
    low,
    high: 1,
    marked: state.depth,
    height: 200,
    width,
  });
}
