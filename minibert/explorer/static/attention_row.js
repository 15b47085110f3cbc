// Setting one row of attention by hand: what the chosen token attends to in the chosen head.

import { card, el, note, piece } from "./dom.js";
import { attentionRow, setAttentionRow } from "./live.js";
import { currentRun, state } from "./state.js";
import { phrase, phraseParts } from "./words.js";

let draft = null; // what is chosen and typed, but not set yet, kept when the view is redrawn: {of, key, text}

export function attentionRowCard() {
  const run = currentRun(),
    T = run.tokens.length,
    set = attentionRow(),
    of = [run, state.layer, state.head, state.token, set];
  if (!draft?.of.every((part, i) => part === of[i])) draft = { of };
  const own = draft,
    largest = set ? set.indexOf(Math.max(...set)) : 0;
  const even = () => new Array(T).fill(1 / T);
  const only = (key) => Array.from({ length: T }, (_, t) => (t === key ? 1 : 0));
  const button = (key, text, onclick) => el("button", { data: { key }, onclick }, text);
  const keys = el(
    "select",
    { "aria-label": phrase("row.key"), data: { key: "row-key" }, onchange: () => (own.key = Number(keys.value)) },
    run.tokens.map((token, t) => el("option", { value: t, selected: t === (own.key ?? largest) }, `${t} ${token}`)),
  );
  const wrong = el("p", { class: "message", role: "alert" }, own.wrong && phrase("row.wrong", { tokens: T }));
  const typed = el("input", {
    type: "text",
    class: "row-typed",
    "aria-label": phrase("row.typed"),
    placeholder: phrase("row.hint", { tokens: T }),
    data: { key: "row-typed" },
    value: own.text ?? (set ? set.map((p) => Number(p.toPrecision(4))).join(" ") : ""),
    oninput: () => (own.text = typed.value),
    onkeydown: (event) => event.key === "Enter" && setTyped(),
  });
  function setTyped() {
    const row = rowOf(typed.value, T);
    own.wrong = !row;
    if (row) setAttentionRow(row);
    else wrong.textContent = phrase("row.wrong", { tokens: T });
  }
  return card(
    phraseParts("row.title", {
      token: piece(run.tokens[state.token], run),
      layer: String(state.layer),
      head: String(state.head),
    }),
    note(phrase(set ? "row.is_set" : "row.note")),
    el(
      "div",
      { class: "live-row" },
      keys,
      button("row-only", phrase("row.only"), () => setAttentionRow(only(Number(keys.value)))),
      button("row-even", phrase("row.even"), () => setAttentionRow(even())),
      set && button("row-restore", phrase("row.restore"), () => setAttentionRow(null)),
    ),
    el("div", { class: "live-row" }, typed, button("row-set", phrase("row.set"), setTyped)),
    wrong,
  );
}

// T numbers from a text, divided by their sum; missing ones at the end are 0.  null if they are no such numbers.
function rowOf(text, T) {
  const numbers = text.split(/[\s,;]+/).filter(Boolean).map(Number);
  const sum = numbers.reduce((total, value) => total + value, 0);
  if (!numbers.length || numbers.length > T || !numbers.every((value) => value >= 0) || !(sum > 0 && sum < Infinity))
    return null;
  return Array.from({ length: T }, (_, t) => (numbers[t] ?? 0) / sum);
}
