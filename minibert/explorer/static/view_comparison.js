// View 7, for two texts: the same word in both, in every hidden state, and every token against every token.

import { lineColor, scaleOf } from "./color.js";
import { segmented } from "./controls.js";
import { slice, unpack } from "./data.js";
import { card, el, magnification, nameWidth, note, number, piece, svg } from "./dom.js";
import { heat } from "./heat.js";
import { lineChart } from "./plot.js";
import { choose, depthName, page, state } from "./state.js";
import { stateNames } from "./view_hidden.js";

export function comparisonView(width) {
  const { runs, comparison } = page();
  const cosines = unpack(comparison.tensors.cosines);
  const half = width > 1000 ? (width - 80) / 2 : width;
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
        card(`Text ${index + 1}`, el("p", { class: "said", lang: run.language || undefined, dir: "auto" }, run.text)),
      ),
    ),
    el(
      "div",
      { class: "pair" },
      card("The same word in both", sharedWords(comparison, low, half)),
      card(`Every token against every token, ${depthName(state.depth)}`, pairMap(runs, cosines, half)),
    ),
    card(
      [
        "The chosen pair: ",
        piece(runs[0].tokens[firstToken()], runs[0]),
        ` (position ${firstToken()}) and `,
        piece(runs[1].tokens[state.other], runs[1]),
        ` (position ${state.other})`,
      ],
      pairChart(runs, pair, low, width),
    ),
  ];
}

function firstToken() {
  return Math.min(state.token, page().runs[0].shown - 1);
}

function sharedWords({ words }, low, width) {
  if (!words.length) return note("The two texts share no word. Choose any two tokens in the map.");
  const chosen = words.find(isChosen);
  return [
    note("The cosine of each word in text 1 with itself in text 2, in every hidden state."),
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
        label: "Similarity of the same word across hidden states",
        axis: "hidden state",
        names: stateNames(),
        low,
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
  const holder = el("div", { class: "choices gap", role: "group", "aria-label": "Positions of the words" });
  segmented(
    holder,
    [
      [false, "Positions as they are"],
      [true, "Matched positions"],
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
  const seen = ` has cosine ${number(values[0])} in hidden state 0 and ${number(values[last])} in hidden state ${last}.`;
  if (!isMoved(entry))
    return el("p", { class: "note positions" }, word, seen, ` It has position ${first} in both texts.`);
  const differ = `position ${first} in text 1 and ${second} in text 2`;
  if (state.matched && entry.matched)
    return el(
      "p",
      { class: "note positions" },
      word,
      seen,
      ` It has ${differ}; here text ${first > second ? 2 : 1} was run with its position_ids shifted by ${Math.abs(first - second)} ([CLS] stays at 0), so both have position ${Math.max(first, second)}.`,
    );
  return el(
    "p",
    { class: "note positions" },
    word,
    seen,
    el("strong", {}, ` Its positions differ: ${differ}.`),
    entry.matched
      ? " The different position embeddings contribute to these numbers; “Matched positions” removes their effect."
      : " The different position embeddings contribute to these numbers.",
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
    pick: (row, column) => choose({ token: row, other: column, run: 0 }),
  });
}

function pairValues(cosines) {
  return Array.from({ length: cosines.shape[0] }, (_, depth) => slice(cosines, depth, firstToken())[state.other]);
}

function pairChart([first, second], values, low, width) {
  const name = `${first.tokens[firstToken()]} and ${second.tokens[state.other]}`;
  return lineChart([{ name, values, strong: true, color: "var(--accent)" }], {
    label: "Similarity of the chosen tokens across hidden states",
    axis: "hidden state",
    names: stateNames(),
    low,
    high: 1,
    marked: state.depth,
    height: 200,
    width,
  });
}
