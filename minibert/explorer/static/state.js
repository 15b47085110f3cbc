// What the reader has chosen, and who wants to know.

export const state = {
  view: "tokens",
  walk: 0,
  token: 1,
  other: 1, // in the second text, where two are compared
  layer: 0,
  head: 0,
  depth: 1, // 0: the embeddings; k: after layer k − 1
  step: 0,
  first: 0, // of the numbers of a vector that are written out
  show: "whole", // whole, edited or change
  diagonal: true,
  mode: "once", // of the noise in the sensitivity maps
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

let content = null;

export function setContent(found) {
  content = found;
}

export function page() {
  return content;
}

export function currentWalk() {
  return content.walks[Math.min(state.walk, content.walks.length - 1)];
}

export function depthName(depth) {
  return depth ? `after layer ${depth - 1}` : "embeddings";
}

// Everything chosen is something that is there: a new text may be shorter.
export function clampState() {
  const { model } = content;
  state.walk = Math.min(state.walk, content.walks.length - 1);
  const walk = currentWalk();
  const last = content.walks.length > 1 ? content.walks[1].shown - 1 : 0;
  state.token = Math.max(0, Math.min(state.token, walk.shown - 1));
  state.other = Math.max(0, Math.min(state.other, last));
  state.layer = Math.min(state.layer, model.layers - 1);
  state.head = Math.min(state.head, model.heads - 1);
  state.depth = Math.min(state.depth, model.layers);
  if (!walk.edited) state.show = "whole";
}
