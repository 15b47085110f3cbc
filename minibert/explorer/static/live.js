// The live page: other texts, masked tokens, noise, missing heads.  Every answer is a run of the model; nothing is guessed here.

import { scaleOf } from "./color.js";
import { unpack } from "./data.js";
import { card, el, nameWidth, note, number, piece } from "./dom.js";
import { heat } from "./heat.js";
import { say } from "./hint.js";
import { choose, chooseToken, currentWalk, depthName, page, pairShared, refresh, setContent, state } from "./state.js";

const edits = { heads: [], noise: { std: 0, position: 1, depth: 0, seed: 0 } };
const pageName = Array.from(crypto.getRandomValues(new Uint32Array(3))).join("-"); // a newer question replaces an older
let waiting = null; // the question that is on its way
let asked = null; // the walk whose sensitivity is being computed
let toggleMask = null; // of the panel, which has the texts

class Replaced extends Error {}

async function ask(path, question, signal) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...question, page: pageName }),
    signal,
  });
  const found = await answer.json();
  if (answer.status === 409) throw new Replaced();
  if (!answer.ok) throw new Error(found.error ?? `The server answered ${answer.status}.`);
  return found;
}

function isEdited() {
  return edits.heads.length > 0 || edits.noise.std > 0;
}

export function livePanel() {
  const message = el("p", { class: "message", role: "alert" });
  const fields = [0, 1].map((index) =>
    el("textarea", {
      rows: 1,
      class: "sentence",
      dir: "auto",
      data: { key: `text${index}` },
      "aria-label": index ? "Second text, to compare" : "Text",
      placeholder: index ? "a second text to compare, if you like" : "",
      value: page().walks[index]?.text ?? "",
      onkeydown: (event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        run();
      },
    }),
  );
  const std = el("input", {
    type: "range",
    min: 0,
    max: 3,
    step: 0.05,
    value: 0,
    "aria-label": "Deviation of the noise",
    data: { key: "noise" },
    oninput: () => setNoise({ std: Number(std.value), position: state.token }),
  });
  const depth = el(
    "select",
    {
      "aria-label": "Where the noise is added",
      data: { key: "noise-depth" },
      onchange: () => setNoise({ depth: Number(depth.value) }),
    },
    Array.from({ length: page().model.layers + 1 }, (_, k) =>
      el("option", { value: k, title: depthName(k) }, `hidden state ${k}`),
    ),
  );
  const where = el("span", { class: "where" }),
    heads = el("span", { class: "removed" });
  const knock = el("button", { data: { key: "knock" }, onclick: () => knockOut(state.layer, state.head) });
  const mask = el("span", {});
  const clear = el(
    "button",
    {
      class: "quiet",
      data: { key: "clear" },
      onclick: () => {
        if (edits.heads.length) for (const walk of page().walks) delete walk.sensitivity;
        edits.heads = [];
        setNoise({ std: 0 });
      },
    },
    "Undo all",
  );

  async function send(path, question, take) {
    waiting?.abort();
    const mine = (waiting = new AbortController());
    node.setAttribute("aria-busy", "true");
    try {
      take(await ask(path, question, mine.signal));
      message.textContent = "";
    } catch (error) {
      if (error.name === "AbortError" || error instanceof Replaced) return;
      message.textContent = error.message;
    } finally {
      if (waiting === mine) node.removeAttribute("aria-busy");
    }
    refresh();
  }
  const shownTexts = () => page().walks.map((walk) => walk.text);
  const masks = () => page().walks.map((walk) => walk.masked);
  const texts = () => fields.map((field) => field.value).filter((text, index) => index === 0 || text.trim());
  function run() {
    return send("walks", { texts: texts() }, (found) => {
      edits.heads = [];
      edits.noise.std = 0;
      setContent(found);
      pairShared();
      if (found.walks.length < 2 && state.view === "comparison") state.view = "tokens";
      say(`${found.walks[0].tokens.length} tokens`);
    });
  }
  // The same texts with one more token masked, or one less; heads stay out, and noise stays where it is.
  toggleMask = (token) => {
    const masked = masks();
    const own = masked[state.walk];
    masked[state.walk] = own.includes(token) ? own.filter((other) => other !== token) : [...own, token];
    return send("walks", { texts: shownTexts(), masked }, (found) => {
      setContent(found);
      say(`${currentWalk().tokens[token]} at position ${token}`);
    }).then(() => isEdited() && change());
  };
  function change() {
    if (!isEdited()) {
      waiting?.abort();
      for (const walk of page().walks) delete walk.edited;
      return refresh();
    }
    return send(
      "edits",
      { texts: shownTexts(), masked: masks(), heads: edits.heads, noise: edits.noise, walk: state.walk },
      (found) => {
        page().walks.forEach((walk, index) => {
          walk.edited = found.walks[index];
        });
        if (state.show === "whole") state.show = "edited";
      },
    );
  }
  function setNoise(changes) {
    Object.assign(edits.noise, changes);
    change();
    update();
  }
  function knockOut(layer, head) {
    for (const walk of page().walks) delete walk.sensitivity;
    const at = edits.heads.findIndex(([l, h]) => l === layer && h === head);
    if (at >= 0) edits.heads.splice(at, 1);
    else edits.heads.push([layer, head]);
    change();
    update();
  }
  function update() {
    const { layer, head } = state;
    const gone = edits.heads.some(([l, h]) => l === layer && h === head);
    knock.textContent = `${gone ? "Put back" : "Knock out"} layer ${layer}, head ${head}`;
    mask.replaceChildren(currentWalk().special[state.token] ? "" : maskControl(state.token));
    std.value = edits.noise.std;
    const at = edits.noise.std ? edits.noise.position : state.token;
    where.replaceChildren(
      `${number(edits.noise.std)} at `,
      piece(currentWalk().tokens[at] ?? "", currentWalk()),
      ` (${at})`,
    );
    heads.replaceChildren(
      ...edits.heads.map(([l, h]) =>
        el(
          "button",
          {
            class: "chip",
            "aria-label": `Put layer ${l}, head ${h} back`,
            onclick: () => knockOut(l, h),
          },
          `layer ${l}, head ${h} ×`,
        ),
      ),
    );
    clear.hidden = !isEdited();
    askSensitivity(message);
  }
  const node = el(
    "section",
    { class: "live", "aria-label": "Live" },
    el("div", { class: "live-row" }, fields, el("button", { class: "run", data: { key: "run" }, onclick: run }, "Run")),
    el(
      "div",
      { class: "live-row" },
      el("label", { class: "noise" }, el("span", {}, "Noise"), std, where),
      depth,
      mask,
      knock,
      heads,
      clear,
    ),
    message,
  );
  return { node, update };
}

// A button that masks a token of the text that is shown, or takes its mask away.
export function maskControl(token, small = false) {
  const walk = currentWalk(),
    masked = walk.masked.includes(token);
  const typed = !masked && walk.hidden.includes(token);
  const name = piece(walk.written[token] ?? "", walk);
  return el(
    "button",
    {
      class: small ? "small" : undefined,
      disabled: typed,
      data: { key: small ? `mask${token}` : "mask" },
      "aria-label": `${masked ? "Show" : "Mask"} ${walk.written[token]}, position ${token}`,
      "aria-pressed": masked ? "true" : "false",
      onclick: () => toggleMask(token),
    },
    small ? (masked || typed ? "masked" : "visible") : [masked ? "Show " : "Mask ", name],
  );
}

// The maps take many runs, so they are asked for when they are looked at.
async function askSensitivity(message) {
  const walk = currentWalk();
  if (state.view !== "sensitivity" || walk.sensitivity || asked === walk) return;
  asked = walk;
  const heads = JSON.stringify(edits.heads);
  try {
    walk.sensitivity = await ask("sensitivity", { text: walk.text, masked: walk.masked, heads: edits.heads });
  } catch (error) {
    if (!(error instanceof Replaced)) {
      walk.sensitivity = { reason: error.message };
      message.textContent = error.message;
    }
  }
  if (asked === walk) asked = null;
  if (heads !== JSON.stringify(edits.heads)) delete walk.sensitivity; // for other heads than are out by now
  refresh();
}

// How far the edits reach: one map over every view, as long as something is edited.
export function rippleCard(width) {
  const walk = currentWalk();
  if (!walk.edited || state.view === "comparison") return null;
  const found = unpack(walk.edited.tensors.ripple),
    T = walk.shown,
    rows = found.shape[0];
  return card(
    "What the edit changes downstream",
    note(
      "For every hidden state, how far it is from that of the run without edits, relative to its size. Choose a place to go there.",
    ),
    heat({
      key: "ripple",
      label: "Change of every hidden state",
      rows,
      columns: T,
      value: (row, column) => found.values[row * T + column],
      scale: scaleOf(
        "amount",
        0,
        Math.max(
          0.05,
          found.values.reduce((a, b) => Math.max(a, b), 0),
        ),
      ),
      width: width - nameWidth(["hidden state"]),
      tallest: 40,
      cellHeight: 16,
      rowName: (row) => row,
      columnName: (column) => piece(walk.tokens[column], walk),
      rowTitle: "hidden state",
      unit: "‖change‖ / ‖value‖",
      describe: (row, column, value) => `${walk.tokens[column]}, ${depthName(row)}: changed by ${number(value * 100)}%`,
      marked: { column: state.token },
      pick: (row, column) => {
        choose({ depth: row, layer: Math.max(0, row - 1) });
        chooseToken(column);
      },
    }),
  );
}
