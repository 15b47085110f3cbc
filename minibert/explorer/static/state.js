// What the reader has chosen, and the listeners to changes of it.

import { phrase } from "./words.js";

export const state = {
  view: "tokens",
  run: 0,
  token: 1,
  other: 1, // in the second text, where two are compared
  layer: 0, // encoder.layer.k, from 0
  head: 0,
  depth: 0, // of a hidden state, as hidden_states[k]: 0 is the embeddings, k + 1 the output of layer k
  step: 0,
  first: 0, // the first number of a vector that is written out
  show: "original", // original, edited or change
  diagonal: true,
  mode: "single", // of the noise in the sensitivity maps
  masked: false, // in a page that cannot run the model: the predictions with the chosen token masked
  matched: false, // two texts: the word at the same position in both
  tour: 0, // the step of the tour
  touring: false, // whether the tour is open
};

const listeners = [];

export function subscribe(listener) {
  listeners.push(listener);
}

export function choose(changes) {
  if (Object.entries(changes).every(([name, value]) => state[name] === value)) return;
  Object.assign(state, changes);
  refresh();
}

export function refresh() {
  for (const listener of listeners) listener();
}

const FOLLOWED = ["hidden", "predictions", "comparison"]; // the views of what may follow an answer: answers.js

export function refreshFollowed() {
  if (FOLLOWED.includes(state.view)) refresh();
}

let content = null;

export function setContent(newest) {
  content = newest;
}

export function page() {
  return content;
}

export function currentRun() {
  return content.runs[Math.min(state.run, content.runs.length - 1)];
}

export function depthName(depth) {
  return depth ? phrase("depth.state", { depth }) : phrase("depth.embeddings");
}

// Start with the last layer; of two texts, with the longest word that occurs in both.
export function openContent(first) {
  setContent(first);
  const { model } = first;
  Object.assign(state, { layer: model.layers - 1, depth: model.layers });
  pairShared();
}

// Choose the same word in both texts: the chosen one if it occurs in both, otherwise the longest.  Without such a word,
// choose what the text leaves open: its first mask token.
export function pairShared() {
  const words = content.comparison?.words ?? [];
  const kept = words.find((entry) => entry.first.includes(state.token) && entry.second.includes(state.other));
  const entry = kept ?? [...words].sort((a, b) => b.word.length - a.word.length)[0];
  const open = currentRun().mask_positions;
  if (entry) Object.assign(state, { run: 0, token: entry.first[0], other: entry.second[0] });
  else if (open.length && !open.includes(state.token)) state.token = open[0];
}

// The position in the other text of the word at `token` of this one; undefined if it does not occur there.
export function partnerOf(run, token) {
  const [here, there] = run ? ["second", "first"] : ["first", "second"];
  const entries = (content.comparison?.words ?? []).filter((entry) => entry[here].includes(token));
  const nearest = entries.sort((a, b) => Math.abs(a[there][0] - token) - Math.abs(b[there][0] - token))[0];
  return nearest?.[there][Math.max(0, nearest[here].indexOf(token))];
}

// Choose a token of the current text, and the same word in the other text.
export function chooseToken(token) {
  choose({ token, other: (state.run === 0 ? partnerOf(0, token) : undefined) ?? state.other });
}

// Show the other text, with the same word chosen if it has one.
export function chooseRun(run) {
  if (run === state.run) return;
  const token = partnerOf(state.run, state.token) ?? state.token;
  choose({ run, token: Math.min(token, content.runs[run].shown - 1) });
}

// Keep every choice in range: a new text may be shorter.
export function clampState() {
  const { model } = content;
  state.run = Math.min(state.run, content.runs.length - 1);
  if (state.view === "comparison" && state.run === 1) {
    const token = partnerOf(1, state.token) ?? state.token; // that view chooses in both texts at once
    Object.assign(state, { run: 0, token, other: state.token });
  }
  const run = currentRun();
  const last = content.runs.length > 1 ? content.runs[1].shown - 1 : 0;
  state.token = Math.max(0, Math.min(state.token, run.shown - 1));
  state.other = Math.max(0, Math.min(state.other, last));
  state.layer = Math.min(state.layer, model.layers - 1);
  state.head = Math.min(state.head, model.heads - 1);
  state.depth = Math.min(state.depth, model.layers);
  state.step = Math.min(state.step, model.steps.length - 1);
  if (state.view === "comparison" && content.runs.length < 2) state.view = "tokens";
  if (!run.edited) state.show = "original";
}
