// The controls above every view (text, token, layer, head): made once, updated after each choice.

import { el, isDrawn, piece, setStyle } from "./dom.js";
import { choose, chooseToken, chooseRun, currentRun, page, state } from "./state.js";
import { phrase, sentence } from "./words.js";

const USES = {
  // which controls a view needs
  tokens: [],
  layer: ["layer", "head"],
  attention: ["layer", "head"],
  hidden: ["depth"],
  predictions: ["depth"],
  sensitivity: ["layer"],
  comparison: ["depth"],
};

export function makeControls() {
  const sliders = {
    layer: slider("layer", phrase("control.layer")),
    head: slider("head", phrase("control.head")),
    depth: slider("depth", phrase("control.depth")),
  };
  const strip = el("div", {
    class: "token-strip",
    role: "listbox",
    "aria-label": phrase("control.tokens"),
    "aria-orientation": "horizontal",
  });
  const cut = el("p", { class: "cut" });
  const texts = el("div", { class: "choices", role: "group", "aria-label": phrase("control.text") });
  const shows = el("div", { class: "choices", role: "group", "aria-label": phrase("control.run") });
  const node = el(
    "div",
    { class: "controls" },
    el("div", { class: "control-row" }, texts, ...Object.values(sliders).map((s) => s.node), shows),
    strip,
    cut,
  );

  function update() {
    const run = currentRun(),
      { model, runs } = page();
    const most = { layer: model.layers - 1, head: model.heads - 1, depth: model.layers };
    for (const [name, { node: holder, set }] of Object.entries(sliders)) {
      holder.hidden = !USES[state.view].includes(name);
      set(state[name], most[name]);
    }
    texts.hidden = runs.length < 2 || state.view === "comparison";
    segmented(
      texts,
      runs.map((_, index) => [index, phrase("control.text_number", { n: index + 1 })]),
      state.run,
      chooseRun,
      "run",
    );
    shows.hidden = !run.edited || state.view === "comparison" || state.view === "sensitivity";
    segmented(
      shows,
      [
        ["edited", phrase("control.edited")],
        ["original", phrase("control.original")],
        ["change", phrase("control.change")],
      ],
      state.show,
      (show) => choose({ show }),
      "show",
    );
    if (!isDrawn(strip, run)) drawStrip(strip, run);
    markStrip(strip);
    const said = run.omitted.find(({ key }) => key === "omitted.cut");
    cut.hidden = !said;
    cut.textContent = said ? sentence(said) : "";
  }
  return { node, update };
}

function slider(name, title) {
  const range = el("input", {
    type: "range",
    min: 0,
    step: 1,
    "aria-label": title,
    data: { key: `slide-${name}` },
    oninput: () => choose({ [name]: Number(range.value) }),
  });
  const output = el("output", {});
  const turn = (by) => choose({ [name]: Math.max(0, Math.min(Number(range.max), state[name] + by)) });
  const node = el(
    "div",
    { class: "slider" },
    el("span", { class: "slider-title" }, title),
    el("button", { class: "small", "aria-label": phrase("control.less", { name: title }), onclick: () => turn(-1) }, "‹"),
    range,
    el("button", { class: "small", "aria-label": phrase("control.more", { name: title }), onclick: () => turn(1) }, "›"),
    output,
  );
  const set = (value, most) => {
    range.max = most;
    range.value = value;
    const embeddings = name === "depth" && value === 0;
    output.textContent = phrase(embeddings ? "control.embeddings" : "control.range", { value, last: most });
    range.setAttribute("aria-valuetext", output.textContent);
  };
  return { node, set };
}

export function segmented(holder, items, chosen, pick, key) {
  if (isDrawn(holder, JSON.stringify([items, chosen]))) return;
  const focused = holder.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  holder.replaceChildren(
    ...items.map(([value, text]) =>
      el(
        "button",
        {
          class: value === chosen ? "choice chosen" : "choice",
          "aria-pressed": value === chosen ? "true" : "false",
          onclick: () => pick(value),
          data: { key: `${key}-${value}` },
        },
        text,
      ),
    ),
  );
  if (focused) holder.querySelector(`[data-key="${focused}"]`)?.focus();
}

function drawStrip(strip, run) {
  strip.replaceChildren(
    ...run.tokens.slice(0, run.shown).map((token, index) =>
      el(
        "button",
        {
          class: ["token", run.special[index] && "special", run.mask_positions.includes(index) && "hidden-token"]
            .filter(Boolean)
            .join(" "),
          role: "option",
          data: { key: `token${index}`, token: index },
          onclick: () => chooseToken(index),
          onkeydown: (event) => {
            const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
            const end = { Home: 0, End: run.shown - 1 }[event.key];
            if (by === undefined && end === undefined) return;
            event.preventDefault();
            event.stopPropagation();
            const next = end ?? Math.max(0, Math.min(run.shown - 1, index + by));
            chooseToken(next);
            strip.children[next].focus();
          },
        },
        piece(token, run),
        el(
          "span",
          { class: "token-number" },
          " ",
          index,
          run.masked.includes(index) && [" ", el("s", {}, run.original_tokens[index])],
        ),
      ),
    ),
  );
}

function markStrip(strip) {
  [...strip.children].forEach((button, index) => {
    const chosen = index === state.token;
    button.classList.toggle("chosen", chosen);
    button.setAttribute("aria-selected", chosen ? "true" : "false");
    button.tabIndex = chosen ? 0 : -1;
  });
}

// Light or dark theme: the system's, unless the reader has chosen.
export function themeButton(redraw) {
  const dark = () =>
    (document.documentElement.dataset.theme ??
      (window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const button = el("button", {
    class: "theme",
    data: { key: "theme" },
    onclick: () => {
      document.documentElement.dataset.theme = dark() ? "light" : "dark";
      name();
      redraw();
    },
  });
  const name = () => {
    button.textContent = phrase(dark() ? "frame.light" : "frame.dark");
    button.setAttribute("title", phrase(dark() ? "frame.use_light" : "frame.use_dark"));
    setStyle(document.documentElement, { "color-scheme": dark() ? "dark" : "light" });
  };
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    name();
    redraw();
  });
  name();
  return button;
}
