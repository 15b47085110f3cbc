// The tour: each step opens one view, marks one thing in it, explains it, and has something to try.  It can be left and
// resumed; its step is a part of the address.

import { el, isDrawn } from "./dom.js";
import { hideHint } from "./hint.js";
import { choose, currentRun, page, refresh, state } from "./state.js";
import { phrase } from "./words.js";

const stepOf = (id) => page().model.steps.findIndex((step) => step.id === id);
const changed = (...names) => (before) => names.some((name) => state[name] !== before[name]);

// id: of its texts; opens: the choices it makes; marks: what it marks; done(before): whether the reader has tried it;
// needs: whether this page can show it, else the key of the sentence that says why not.
const TOUR = [
  { id: "pieces", opens: () => ({ view: "tokens" }), marks: ".scroller:has(> .token-table)", done: changed("token") },
  { id: "embeddings", opens: () => ({ view: "tokens" }), marks: ".vectors", done: changed("token", "first") },
  { id: "map", opens: () => ({ view: "tokens" }), marks: ".map", done: () => state.view === "layer" },
  { id: "query", opens: () => inLayer("query"), marks: ".step-numbers", done: () => state.step === stepOf("key") },
  { id: "scores", opens: () => inLayer("scores"), marks: ".step-numbers", done: changed("head") },
  { id: "softmax", opens: () => inLayer("probabilities"), marks: ".step-numbers", done: changed("token") },
  { id: "context", opens: () => inLayer("context"), marks: ".step-numbers", done: () => state.step === stepOf("value") },
  { id: "heads", opens: () => ({ view: "attention" }), marks: ".glance", done: changed("layer", "head") },
  { id: "lines", opens: () => ({ view: "attention" }), marks: ".attention-lines", done: changed("token") },
  {
    id: "residual",
    opens: () => inLayer("attention_residual"),
    marks: ".step-numbers",
    done: () => state.step === stepOf("attention_output"),
  },
  { id: "neurons", opens: () => inLayer("neurons"), marks: ".step-numbers", done: changed("token", "layer") },
  {
    id: "hidden",
    opens: () => ({ view: "hidden", depth: page().model.layers }),
    marks: ".pair .card",
    done: () => state.depth === 0,
  },
  {
    id: "mask",
    opens: () => ({ view: "predictions", depth: page().model.layers, token: maskable(), masked: false }),
    marks: ".visibility",
    done: () => state.masked || currentRun().masked.length > 0,
    needs: () => (currentRun().predictions.reason?.key === "reason.no_head" ? "tour.needs_head" : canMaskHere() ? null : "tour.needs_live"),
  },
  {
    id: "missing",
    opens: () => ({ view: "attention" }),
    marks: '[data-key="ablate"]',
    done: () => Boolean(currentRun().edited),
    needs: () => (page().live ? null : "tour.needs_live"),
  },
  {
    id: "noise",
    opens: () => ({ view: "sensitivity" }),
    marks: '[data-heat="sensitivity"]',
    done: changed("layer", "token", "mode"),
    needs: () => (currentRun().sensitivity?.reason ? "tour.needs_maps" : null),
  },
  {
    id: "two",
    opens: () => (page().runs.length > 1 ? { view: "comparison", depth: page().model.layers } : {}),
    marks: ".pair + .pair .card",
    done: changed("depth", "matched"),
    needs: () => (page().runs.length > 1 ? null : page().live ? "tour.needs_second" : "tour.needs_two"),
  },
  { id: "end", opens: () => ({}), marks: ".tabs", done: () => true },
];
const tried = new Set(); // the ids of the steps that the reader has tried
let shownStep = null; // the step that `before` belongs to
let before = {};

function inLayer(id) {
  return { view: "layer", step: stepOf(id) };
}

// A token that is a word: the chosen one, if it can be masked.
function maskable() {
  const { special, shown } = currentRun();
  return special[state.token] ? Math.max(0, special.slice(0, shown).indexOf(false)) : state.token;
}

function canMaskHere() {
  return page().live || Boolean(currentRun().predictions_when_masked);
}

function goTo(step) {
  const tour = Math.max(0, Math.min(TOUR.length - 1, step));
  Object.assign(state, TOUR[tour].opens(), { tour, touring: true });
  shownStep = null;
  refresh();
  mark()?.scrollIntoView({ block: "start" });
  document.querySelector(".tour h2")?.focus({ preventScroll: true });
}

function leave(tour = state.tour) {
  choose({ touring: false, tour });
  document.querySelector('[data-key="tour"]')?.focus();
}

// The button that begins or resumes it.
export function tourButton() {
  const button = el("button", { class: "tour-begin", data: { key: "tour" }, onclick: () => goTo(state.tour) });
  const update = () => {
    button.textContent = state.tour ? phrase("tour.resume", { n: state.tour + 1 }) : phrase("tour.begin");
  };
  return { node: button, update };
}

export function tourPanel() {
  const node = el("section", {
    class: "tour",
    "aria-label": phrase("tour.title"),
    onkeydown: (event) => event.key === "Escape" && leave(),
  });
  const update = () => {
    node.hidden = !state.touring;
    document.querySelectorAll(".marked").forEach((marked) => marked.classList.remove("marked"));
    if (!state.touring) return;
    state.tour = Math.min(state.tour, TOUR.length - 1);
    const step = TOUR[state.tour];
    if (shownStep !== step) [shownStep, before] = [step, { ...state }];
    const missing = step.needs?.() ?? null;
    if (!missing && step.done(before)) tried.add(step.id);
    mark()?.classList.add("marked");
    if (isDrawn(node, `${step.id} ${missing} ${tried.has(step.id)}`)) return; // a button stays while it is pressed
    const focused = node.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    node.replaceChildren(...contentOf(step, missing));
    if (focused) node.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
  };
  return { node, update };
}

function mark() {
  hideHint();
  return document.querySelector(TOUR[state.tour].marks);
}

function contentOf({ id }, missing) {
  const last = state.tour === TOUR.length - 1,
    done = tried.has(id);
  const button = (key, name, action, off) => el("button", { data: { key: `tour-${key}` }, disabled: off, onclick: action }, name);
  return [
    el(
      "div",
      { class: "tour-head" },
      el("span", {}, phrase("tour.step", { n: state.tour + 1, all: TOUR.length })),
      button("leave", phrase("tour.leave"), () => leave()),
    ),
    el("progress", { value: state.tour + 1, max: TOUR.length, "aria-label": phrase("tour.title") }),
    el("h2", { tabindex: -1, data: { key: "tour-title" } }, phrase(`tour.${id}.title`)),
    el("p", {}, phrase(`tour.${id}.text`)),
    missing
      ? el("p", { class: "tour-try" }, phrase(missing))
      : el(
          "p",
          { class: done ? "tour-try done" : "tour-try", role: "status" },
          el("b", {}, done ? "✓ " : "→ "),
          phrase(`tour.${id}.try`),
          done && !last ? ` ${phrase("tour.done")}` : "",
        ),
    el(
      "div",
      { class: "turns" },
      button("back", phrase("layer.previous"), () => goTo(state.tour - 1), state.tour === 0),
      last ? button("next", phrase("tour.finish"), () => leave(0)) : button("next", phrase("layer.next"), () => goTo(state.tour + 1)),
    ),
  ];
}
