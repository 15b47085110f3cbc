// The whole model as a small map beside every view: embeddings, hidden states, layers with their heads, predictions.

import { el } from "./dom.js";
import { choose, depthName, page, state } from "./state.js";
import { phrase, phraseParts } from "./words.js";

export function makeMap() {
  const { layers, heads } = page().model;
  const stops = new Map(); // the key of a place → its element
  const stop = (key, kind, name, changes, text) => {
    const button = el(
      "button",
      {
        class: `map-${kind}`,
        tabindex: text === undefined ? -1 : 0, // a head is also reached by its slider
        "aria-label": name,
        title: text === undefined ? name : undefined,
        data: { key: `map-${key}` },
        onclick: () => choose(changes),
      },
      text,
    );
    stops.set(key, button);
    return button;
  };
  const hidden = (depth) => stop(`state${depth}`, "state", depthName(depth), { view: "hidden", depth });
  const headOf = (layer, head) =>
    stop(`head${layer}-${head}`, "head", phrase("layer.and_head", { layer, head }), { view: "attention", layer, head });
  const here = el("span", { class: "map-here" });
  const rows = Array.from({ length: layers }, (_, layer) =>
    el(
      "li",
      {},
      stop(`layer${layer}`, "layer", phrase("map.layer", { layer }), { view: "layer", layer }, String(layer)),
      el(
        "span",
        { class: "map-heads", css: { "--heads": String(heads) } },
        Array.from({ length: heads }, (_, head) => headOf(layer, head)),
      ),
      hidden(layer + 1),
    ),
  );
  const node = el(
    "details",
    { class: "map", open: window.matchMedia("(min-width: 1200px)").matches },
    el("summary", {}, el("span", {}, phrase("map.title")), here),
    el(
      "nav",
      { "aria-label": phrase("map.title") },
      el(
        "ol",
        {},
        el("li", {}, stop("embeddings", "end", phrase("tab.tokens"), { view: "tokens" }, phrase("tab.tokens")), hidden(0)),
        rows,
        el("li", {}, stop("predictions", "end", phrase("tab.predictions"), { view: "predictions" }, phrase("tab.predictions"))),
      ),
    ),
  );

  function update() {
    const places = placesOf();
    for (const [key, button] of stops) {
      button.classList.toggle("here", places.includes(key));
      if (key === places[0]) button.setAttribute("aria-current", "location");
      else button.removeAttribute("aria-current");
    }
    const place = el("span", { class: "whole-line" }, stops.get(places[0]).getAttribute("aria-label"));
    here.replaceChildren(...phraseParts("map.here", { place }));
  }
  return { node, update };
}

// The keys of the places that the view shows, the most exact first.
function placesOf() {
  const { view, layer, head, depth, step } = state;
  const kind = page().model.steps[step]?.kind;
  if (view === "tokens") return ["embeddings", "state0"];
  if (view === "attention" || (view === "layer" && ["head", "scores", "probabilities"].includes(kind)))
    return [`head${layer}-${head}`, `layer${layer}`];
  if (view === "layer" || view === "sensitivity") return [`layer${layer}`];
  if (view === "predictions") return ["predictions", `state${depth}`];
  return [`state${depth}`];
}
