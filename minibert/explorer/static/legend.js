// The legend of a colour scale.

import { el, number, svg } from "./dom.js";
import { page } from "./state.js";
import { phrase } from "./words.js";

export function legend(scale, unit = "") {
  const steps = 64;
  const bar = svg("svg", {
    class: "legend-bar",
    viewBox: `0 0 ${steps} 1`,
    preserveAspectRatio: "none",
    "shape-rendering": "crispEdges",
    "aria-hidden": "true",
  });
  for (let step = 0; step < steps; step++) {
    const value = scale.low + ((step + 0.5) / steps) * (scale.high - scale.low);
    bar.append(svg("rect", { x: step, y: 0, width: 1.5, height: 1, fill: scale.css(value) }));
  }
  const middle = scale.kind === "sign" ? 0 : (scale.low + scale.high) / 2;
  return el(
    "figcaption",
    { class: "legend" },
    el(
      "span",
      { class: "legend-scale" },
      bar,
      el(
        "span",
        { class: "legend-numbers" },
        [scale.low, middle, scale.high].map((value) => el("span", {}, number(value))),
      ),
    ),
    el("span", { class: "legend-unit" }, unit, unit && " · ", precision()),
  );
}

export function precision() {
  return page().runs[0].dtype === "float16" ? phrase("legend.half") : "float32";
}
