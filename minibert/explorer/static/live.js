// The live page: new texts, masked tokens, noise, ablated heads, rows of attention.  Every answer is a run of the model.

import { ask } from "./answers.js";
import { scaleOf } from "./color.js";
import { unpack } from "./data.js";
import { card, el, nameWidth, note, number, piece } from "./dom.js";
import { examplesToTry } from "./examples.js";
import { heat } from "./heat.js";
import { say } from "./hint.js";
import { askMaps, forgetMaps } from "./measuring.js";
import { Replaced } from "./replaced.js";
import { choose, chooseToken, currentRun, depthName, page, pairShared, refresh, refreshFollowed, setContent, state } from "./state.js";
import { phrase, phraseParts, sentence } from "./words.js";

// Noise and rows of attention are edits of one text, that with number `run`; heads are ablated in all.
const edits = { heads: [], noise: { std: 0, position: 1, depth: 0, seed: 0 }, attention: [], run: 0 };
let waiting = null; // the request being answered
let panel = null; // what acts on the texts of the page: {toggleMask, setAttentionRow}
let openedTexts = null; // those that the page was opened with
let isPair = null; // whether the texts that are typed are to be read as one pair
let failure = null; // the error of the last request

function isEdited() {
  return edits.heads.length > 0 || edits.noise.std > 0 || edits.attention.length > 0;
}

// What is edited, and the texts that the page was opened with, for its address.
export function currentEdits() {
  return { ...edits, opened: openedTexts };
}

export function livePanel() {
  openedTexts ??= textsShown();
  isPair ??= textsShown().length === 1 && Array.isArray(textsShown()[0]);
  const message = el("p", { class: "message", role: "alert" }, saidOf(failure)); // again, in another language
  const fields = [0, 1].map((index) =>
    el("textarea", {
      rows: 1,
      class: "sentence",
      dir: "auto",
      data: { key: `text${index}` },
      "aria-label": phrase(index ? "live.second" : "live.text"),
      placeholder: index ? phrase("live.second_hint") : "",
      value: textsShown().flat()[index] ?? "",
      onkeydown: (event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        submit();
      },
    }),
  );
  const pair = el("input", {
    type: "checkbox",
    checked: isPair,
    data: { key: "pair" },
    onchange: () => {
      isPair = pair.checked;
      if (fields[1].value.trim()) submit();
    },
  });
  const std = el("input", {
    type: "range",
    min: 0,
    max: 3,
    step: 0.05,
    value: 0,
    "aria-label": phrase("live.noise_std"),
    data: { key: "noise" },
    oninput: () => setNoise({ std: Number(std.value), position: state.token }),
  });
  const depth = el(
    "select",
    {
      "aria-label": phrase("live.noise_depth"),
      data: { key: "noise-depth" },
      onchange: () => setNoise({ depth: Number(depth.value) }),
    },
    Array.from({ length: page().model.layers + 1 }, (_, k) =>
      el("option", { value: k, title: depthName(k) }, phrase("depth.state", { depth: k })),
    ),
  );
  const where = el("span", { class: "where" }),
    heads = el("span", { class: "removed" });
  const ablateButton = el("button", { data: { key: "ablate" }, onclick: () => ablate(state.layer, state.head) });
  const mask = el("span", {});
  let isAsking = false, // for edits
    isChanged = false; // since they were asked for
  const clear = el(
    "button",
    {
      class: "quiet",
      data: { key: "clear" },
      onclick: () => {
        if (edits.heads.length) forgetMaps(page().runs);
        Object.assign(edits, { heads: [], attention: [] });
        setNoise({ std: 0 });
      },
    },
    phrase("live.undo"),
  );

  async function send(path, request, take) {
    if (path !== "edits") isChanged = false;
    waiting?.abort();
    const mine = (waiting = new AbortController());
    node.setAttribute("aria-busy", "true");
    try {
      take(await ask(path, request, { signal: mine.signal, later: refreshFollowed }));
      tellFailure(null);
    } catch (error) {
      if (error.name === "AbortError" || error instanceof Replaced) return;
      tellFailure(error);
    } finally {
      if (waiting === mine) node.removeAttribute("aria-busy");
    }
    refresh();
  }
  const masks = () => page().runs.map((run) => run.masked);
  function submit(view = null) {
    return send("runs", { texts: asTexts(fields.map((field) => field.value), isPair) }, (content) => {
      Object.assign(edits, { heads: [], attention: [] });
      edits.noise.std = 0;
      setContent(content);
      pairShared();
      if (view) state.view = view;
      if (content.runs.length < 2 && state.view === "comparison") state.view = "tokens";
      say(phrase("live.tokens", { n: content.runs[0].tokens.length }));
    });
  }
  // The same texts with one more or one less token masked; ablated heads and noise stay.
  const toggleMask = (token) => {
    const masked = masks();
    const own = masked[state.run];
    masked[state.run] = own.includes(token) ? own.filter((other) => other !== token) : [...own, token];
    return send("runs", { texts: textsShown(), masked }, (content) => {
      setContent(content);
      say(phrase("live.token_at", { token: currentRun().tokens[token], position: token }));
    }).then(() => isEdited() && change());
  };
  // One request for edits at a time, so that a slider shows its effect while it moves: what is changed meanwhile is asked
  // for when the answer is drawn.
  async function change() {
    if (!isEdited()) {
      waiting?.abort();
      for (const run of page().runs) delete run.edited;
      return refresh();
    }
    isChanged = true;
    if (isAsking) return;
    isAsking = true;
    try {
      while (isChanged && isEdited()) {
        isChanged = false;
        await send("edits", { texts: textsShown(), masked: masks(), ...edits }, (answer) => {
          page().runs.forEach((run, index) => {
            run.edited = answer.runs[index];
          });
          if (state.show === "original") state.show = "edited";
        });
      }
    } finally {
      isAsking = false;
    }
  }
  // What a link holds (address.js); a text that it does not hold is the one that the page was opened with.
  async function restore({ texts: given, pair: givenPair, masked, heads, noise, attention }) {
    isPair = pair.checked = givenPair ?? Array.isArray(openedTexts[0]);
    const opened = openedTexts.flat();
    const wanted = asTexts(given.map((text, index) => text ?? opened[index] ?? ""), isPair);
    const same = JSON.stringify([textsShown(), masks()]);
    const positions = wanted.map((_, index) => masked[index]);
    if (wanted.flat()[0].trim() && JSON.stringify([wanted, positions]) !== same) {
      await send("runs", { texts: wanted, masked: positions }, setContent);
      fields.forEach((field, index) => (field.value = textsShown().flat()[index] ?? ""));
    }
    const length = currentRun().tokens.length;
    const rows = attention.filter((row) => row.probabilities.length === length && row.token < length);
    Object.assign(edits, { heads, attention: rows, run: state.run });
    Object.assign(edits.noise, noise, { position: Math.min(noise.position ?? 0, length - 1) });
    if (isEdited() || page().runs.some((run) => run.edited)) await change();
  }
  // Edits of one token are of the text in view; those of the other text end.
  function ofThisText() {
    if (edits.run !== state.run) Object.assign(edits, { run: state.run, attention: [], noise: { ...edits.noise, std: 0 } });
  }
  function setNoise(changes) {
    ofThisText();
    Object.assign(edits.noise, changes);
    change();
    update();
  }
  function setRow(layer, head, token, probabilities) {
    if (probabilities) ofThisText(); // a row that is given back may be the other text's
    edits.attention = edits.attention.filter((row) => !isRow(row, layer, head, token));
    if (probabilities) edits.attention.push({ layer, head, token, probabilities });
    change();
    update();
  }
  function ablate(layer, head) {
    forgetMaps(page().runs);
    const at = edits.heads.findIndex(([l, h]) => l === layer && h === head);
    if (at >= 0) edits.heads.splice(at, 1);
    else edits.heads.push([layer, head]);
    change();
    update();
  }
  function update() {
    const { layer, head } = state;
    const gone = edits.heads.some(([l, h]) => l === layer && h === head);
    ablateButton.textContent = phrase(gone ? "live.restore" : "live.ablate", { layer, head });
    mask.replaceChildren(currentRun().special[state.token] ? "" : maskControl(state.token));
    const noise = edits.run === state.run ? edits.noise.std : 0; // the other text may have some
    std.value = noise;
    depth.value = edits.noise.depth;
    const at = noise ? edits.noise.position : state.token;
    where.replaceChildren(
      ...phraseParts("live.noise_at", {
        std: number(noise),
        token: piece(currentRun().tokens[at] ?? "", currentRun()),
        position: String(at),
      }),
    );
    heads.replaceChildren(
      ...edits.heads.map(([l, h]) =>
        el(
          "button",
          {
            class: "chip",
            "aria-label": phrase("live.restore", { layer: l, head: h }),
            onclick: () => ablate(l, h),
          },
          `${phrase("layer.and_head", { layer: l, head: h })} ×`,
        ),
      ),
      ...edits.attention.map(({ layer, head, token }) =>
        el(
          "button",
          { class: "chip", onclick: () => setRow(layer, head, token, null) },
          phrase("row.chip", { token: page().runs[edits.run].tokens[token], layer, head }),
          " ×",
        ),
      ),
    );
    clear.hidden = !isEdited();
    askMaps(edits.heads, tellFailure);
  }
  const examples = examplesToTry(({ texts, pair: asPair, view }) => {
    fields.forEach((field, index) => (field.value = texts[index] ?? ""));
    isPair = pair.checked = asPair;
    submit(view);
  });
  panel = { toggleMask, setRow };
  const node = el(
    "section",
    { class: "live", "aria-label": phrase("live.label") },
    el(
      "div",
      { class: "live-row" },
      fields,
      el("label", { class: "as-pair", title: "[CLS] A [SEP] B [SEP]" }, pair, " ", phrase("live.pair")),
      el("button", { class: "run", data: { key: "run" }, onclick: () => submit() }, phrase("live.run")),
    ),
    el(
      "div",
      { class: "live-row" },
      el("label", { class: "noise" }, el("span", {}, phrase("live.noise")), std, where),
      depth,
      mask,
      ablateButton,
      heads,
      clear,
    ),
    examples,
    message,
  );
  return { node, update, restore };
}

// What went wrong, in the panel that is there now: the language may have changed since the request.
function tellFailure(error) {
  failure = error;
  document.querySelector(".live .message").textContent = saidOf(error);
}

function saidOf(error) {
  return error ? sentence(error.said ?? error.message) : "";
}

// The texts of a request: one, two, or one pair, which is a list in the list.
function asTexts([first, second], pair) {
  if (!second.trim()) return [first];
  return pair ? [[first, second]] : [first, second];
}

function textsShown() {
  return page().runs.map((run) => run.text);
}

// A button that masks or unmasks a token of the current text.
export function maskControl(token, small = false) {
  const run = currentRun(),
    masked = run.masked.includes(token);
  const typed = !masked && run.mask_positions.includes(token);
  const name = piece(run.original_tokens[token] ?? "", run);
  const seen = phrase(masked || typed ? "predictions.masked" : "predictions.visible");
  const told = phrase(masked ? "mask.show_at" : "mask.mask_at", { token: run.original_tokens[token], position: token });
  return el(
    "button",
    {
      class: small ? "small" : undefined,
      disabled: typed,
      data: { key: small ? `mask${token}` : "mask" },
      "aria-label": small ? `${seen}: ${told}` : told,
      "aria-pressed": masked ? "true" : "false",
      onclick: () => panel.toggleMask(token),
    },
    small
      ? seen
      : phraseParts(masked ? "mask.show" : "mask.mask", { token: name }),
  );
}

// The row of the chosen token in the chosen head, if it is set: T probabilities.
export function attentionRow() {
  if (edits.run !== state.run) return null;
  const { layer, head, token } = state;
  return edits.attention.find((row) => isRow(row, layer, head, token))?.probabilities ?? null;
}

// probabilities: null gives the row back to the model.
export function setAttentionRow(probabilities) {
  panel.setRow(state.layer, state.head, state.token, probabilities);
}

function isRow(row, layer, head, token) {
  return row.layer === layer && row.head === head && row.token === token;
}

// The effect of the edits: a map above every view while something is edited.
export function changeCard(width) {
  const run = currentRun();
  if (!run.edited || state.view === "comparison") return null;
  const change = unpack(run.edited.tensors.relative_change),
    T = run.shown,
    rows = change.shape[0];
  return card(
    phrase("live.change"),
    note(
      phrase("live.change_note"),
    ),
    heat({
      key: "relative-change",
      label: phrase("live.change_label"),
      rows,
      columns: T,
      value: (row, column) => change.values[row * T + column],
      scale: scaleOf(
        "amount",
        0,
        Math.max(
          0.05,
          change.values.reduce((a, b) => Math.max(a, b), 0),
        ),
      ),
      width: width - nameWidth([phrase("depth.axis")]),
      tallest: 40,
      cellHeight: 16,
      rowName: (row) => row,
      columnName: (column) => piece(run.tokens[column], run),
      rowTitle: phrase("depth.axis"),
      unit: phrase("unit.change"),
      describe: (row, column, value) => phrase("live.changed", {
          token: run.tokens[column],
          state: depthName(row),
          percent: number(value * 100),
        }),
      marked: { column: state.token },
      pick: (row, column) => {
        choose({ depth: row, layer: Math.max(0, row - 1) });
        chooseToken(column);
      },
    }),
  );
}
