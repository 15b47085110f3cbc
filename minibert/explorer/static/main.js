// Entry point: reads the data, builds the frame around the views, handles the keys.

import { isOwnAddress, languageOfAddress, readAddress, rememberOpened, writeAddress } from "./address.js";
import { makeControls, themeButton } from "./controls.js";
import { el, isDrawn, isWide, magnification, number, setStyle } from "./dom.js";
import { hideHint, hintElements } from "./hint.js";
import { isolate } from "./isolate.js";
import { precision } from "./legend.js";
import { changeCard, currentEdits, livePanel } from "./live.js";
import { makeMap } from "./map.js";
import { firstAnswer } from "./opening.js";
import { pictureButtons } from "./picture.js";
import { choose, chooseToken, clampState, currentRun, openContent, page, refresh, state, subscribe } from "./state.js";
import { tourButton, tourPanel } from "./tour.js";
import { attentionView } from "./view_attention.js";
import { comparisonView } from "./view_comparison.js";
import { hiddenView } from "./view_hidden.js";
import { layerView, turnStep } from "./view_layer.js";
import { predictionsView } from "./view_predictions.js";
import { sensitivityView } from "./view_sensitivity.js";
import { tokensView } from "./view_tokens.js";
import { currentLanguage, languages, list, phrase, sentence, setLanguage } from "./words.js";

const VIEWS = {
  tokens: tokensView,
  layer: layerView,
  attention: attentionView,
  hidden: hiddenView,
  predictions: predictionsView,
  sensitivity: sensitivityView,
  comparison: comparisonView,
};
let frame = null; // the elements around the view, in the chosen language

async function start() {
  const content = JSON.parse(document.getElementById("content").textContent);
  setLanguage(languageOfAddress());
  openContent(content.engine ? await firstAnswer(content) : content);
  rememberOpened();
  subscribe(draw);
  subscribe(() => writeAddress(page().live ? currentEdits() : null));
  restore();
  window.addEventListener("hashchange", () => isOwnAddress() || restore());
  document.addEventListener("keydown", onKey);
  window.addEventListener("resize", later(draw));
}

// Show what the address says: the state at once, and on a computing page again after its texts and edits are there.
async function restore() {
  const { state: wanted, language, edits } = readAddress();
  if (language !== currentLanguage()) setLanguage(language);
  frame = makeFrame();
  Object.assign(state, wanted);
  if (!frame.live) return refresh();
  draw();
  await frame.live.restore(edits);
  Object.assign(state, wanted);
  refresh();
}

// Everything but the view, made once for each language; texts that were typed and not yet run are kept.
function makeFrame() {
  const { model } = page();
  const typed = [...document.querySelectorAll("textarea[data-key]")].map((field) => [field.dataset.key, field.value]);
  const controls = makeControls();
  const live = page().live ? livePanel() : null;
  const tabs = el("div", { class: "tabs", role: "tablist", "aria-label": phrase("frame.views") });
  const stage = el("div", { class: "view", role: "tabpanel", id: "view", "aria-labelledby": `tab-${state.view}` });
  const footer = el("footer", { class: "footer" });
  const map = makeMap(),
    begin = tourButton(),
    tour = tourPanel();
  const facts = [
    model.architecture,
    phrase("frame.layers", { n: model.layers }),
    phrase("frame.heads", { n: model.heads }),
    `H = ${model.hidden}`,
    phrase("frame.parameters", { n: model.parameters }),
    model.weights && !model.weights.exact && model.weights.dtype,
    model.languages.length > 0 &&
      phrase("frame.reads", { languages: list(model.languages.map((code) => phrase(`language.${code}`))) }),
  ].filter(Boolean);
  document
    .getElementById("page")
    .replaceChildren(
      el(
        "header",
        { class: "top" },
        el(
          "div",
          {},
          el(
            "div",
            { class: "title" },
            el("h1", {}, "minibert explorer"),
            el(
              "p",
              { class: "model" },
              el("strong", {}, model.name),
              facts.map((fact, k) => [" ", el("span", { class: "whole-line" }, fact, k < facts.length - 1 && " ·")]),
            ),
          ),
          el("p", { class: "begin" }, phrase("frame.sentence"), " ", phrase("frame.begin"), " ", begin.node),
        ),
        el("div", { class: "settings" }, languageChoice(), pictureButtons(), themeButton(refresh)),
      ),
      el(
        "main",
        {},
        live && live.node,
        tabs,
        controls.node,
        el("div", { class: "body" }, map.node, stage),
      ),
      footer,
      tour.node,
      ...hintElements(),
    );
  for (const [key, value] of typed) document.querySelector(`textarea[data-key="${key}"]`).value = value;
  return { controls, live, tabs, stage, footer, map, begin, tour };
}

function languageChoice() {
  const choice = el(
    "select",
    {
      "aria-label": phrase("frame.language"),
      data: { key: "language" },
      onchange: () => {
        setLanguage(choice.value);
        frame = makeFrame();
        refresh();
        document.querySelector('[data-key="language"]').focus();
      },
    },
    languages().map(([code, name]) =>
      el("option", { value: code, lang: code, selected: code === currentLanguage() }, name),
    ),
  );
  return choice;
}

function draw() {
  const { controls, live, tabs, stage, footer, map, begin, tour } = frame;
  clampState();
  controls.update();
  const bar = getComputedStyle(controls.node).position === "sticky" ? controls.node.offsetHeight : 0;
  setStyle(document.documentElement, { "--bar": `${bar}px` }); // what is scrolled to stays clear of it
  const strip = controls.node.querySelector(".token-strip");
  reveal(strip, strip.querySelector(".chosen"));
  drawTabs(tabs);
  live?.update();
  map.update();
  drawView(stage);
  drawFooter(footer);
  begin.update();
  tour.update();
}

function views() {
  return Object.keys(VIEWS).filter((id) => id !== "comparison" || page().runs.length > 1);
}

function drawTabs(tabs) {
  if (isDrawn(tabs, `${views()} ${state.view}`)) return;
  const focused = tabs.contains(document.activeElement);
  tabs.replaceChildren(
    ...views().map((id, index) =>
      el(
        "button",
        {
          class: id === state.view ? "tab chosen" : "tab",
          role: "tab",
          id: `tab-${id}`,
          tabindex: id === state.view ? 0 : -1,
          "aria-selected": id === state.view ? "true" : "false",
          "aria-controls": "view",
          onclick: () => choose({ view: id }),
          onkeydown: (event) => {
            const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
            if (!by) return;
            event.preventDefault();
            event.stopPropagation();
            choose({ view: views()[(index + by + views().length) % views().length] });
          },
        },
        el("kbd", { "aria-hidden": "true" }, index + 1),
        phrase(`tab.${id}`),
      ),
    ),
  );
  const chosen = tabs.querySelector(".chosen");
  if (focused) chosen.focus();
  reveal(tabs, chosen);
}

function drawView(stage) {
  const focused = stage.contains(document.activeElement) ? document.activeElement : null,
    key = focused?.dataset.key,
    caret = [focused?.selectionStart, focused?.selectionEnd]; // null where nothing is typed
  const scrolled = [...stage.querySelectorAll(".scroller")].map((box) => [box.scrollLeft, box.scrollTop]);
  const open = [...stage.querySelectorAll("details")].map((box) => box.open);
  const same = stage.dataset.view === state.view;
  hideHint();
  stage.dataset.view = state.view;
  stage.setAttribute("aria-labelledby", `tab-${state.view}`);
  const side = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--card-side")); // rem
  const width = stage.clientWidth - 2 * side * 16 * magnification() - 10; // 10: the borders of cards and scrollers
  stage.classList.toggle("wide", isWide(width));
  const drawn = VIEWS[state.view](Math.max(240, width));
  const change = changeCard(width);
  stage.replaceChildren(...(change ? [change] : []), ...drawn);
  if (same) {
    const boxes = stage.querySelectorAll(".scroller");
    scrolled.forEach(([left, top], i) => {
      if (boxes[i] && (left || top)) [boxes[i].scrollLeft, boxes[i].scrollTop] = [left, top]; // this computes the layout
    });
    stage.querySelectorAll("details").forEach((box, i) => {
      box.open = open[i] ?? false;
    });
  }
  const steps = stage.querySelector(".steps ol");
  if (steps) reveal(steps, steps.querySelector(".chosen"));
  const again = key && stage.querySelector(`[data-key="${CSS.escape(key)}"]`);
  again?.focus({ preventScroll: true });
  if (again && typeof caret[0] === "number") again.setSelectionRange?.(...caret);
}

// Scroll a row sideways until the chosen element is visible; the page itself does not scroll.
function reveal(row, node) {
  if (!node || row.scrollWidth <= row.clientWidth) return;
  const left = node.getBoundingClientRect().left - row.getBoundingClientRect().left;
  if (left < 0 || left + node.offsetWidth > row.clientWidth)
    row.scrollLeft += left - (row.clientWidth - node.offsetWidth) / 2;
}

function drawFooter(footer) {
  const run = currentRun(),
    { model } = page();
  if (isDrawn(footer, run)) return;
  footer.replaceChildren(
    el(
      "details",
      {},
      el("summary", {}, phrase("frame.about")),
      el(
        "ul",
        {},
        el("li", {}, phrase("frame.numbering", { last: model.layers - 1, layers: model.layers })),
        el("li", {}, phrase("frame.precision", { precision: precision() })),
        model.weights && el("li", {}, weightsNote(model.weights)),
        run.omitted.map((said) => el("li", {}, sentence(said))),
      ),
      el("p", {}, phrase("frame.keys")),
    ),
  );
}

// What the weights in a page that computes are, and what their rounding changes.
function weightsNote({ dtype, exact, change }) {
  return exact ? phrase("frame.exact", { dtype }) : phrase("frame.rounded", { dtype, percent: number(change * 100) });
}

function onKey(event) {
  if (
    event.ctrlKey ||
    event.metaKey ||
    event.altKey ||
    event.target.matches("input:not([type=range]), textarea, select")
  )
    return;
  const { model } = page(),
    run = currentRun();
  const turn = (name, by, most) => choose({ [name]: Math.max(0, Math.min(most, state[name] + by)) });
  const layer = (by) =>
    ["hidden", "predictions", "comparison"].includes(state.view)
      ? turn("depth", by, model.layers)
      : turn("layer", by, model.layers - 1);
  const keys = {
    t: () => chooseToken(Math.min(run.shown - 1, state.token + 1)),
    T: () => chooseToken(Math.max(0, state.token - 1)),
    m: () => document.querySelector('[data-key="mask"]:not(:disabled)')?.click(),
    l: () => layer(1),
    L: () => layer(-1),
    h: () => turn("head", 1, model.heads - 1),
    H: () => turn("head", -1, model.heads - 1),
    n: () => turnStep(1),
    p: () => turnStep(-1),
  };
  const view = views()[Number(event.key) - 1];
  if (view) choose({ view });
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
}

function later(action) {
  let timer = null;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, 120);
  };
}

if (document.documentElement.dataset.minibert === "explorer") start();
else isolate(document.currentScript);
