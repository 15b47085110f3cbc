// Line charts over layers, and paths in a plane.

import { lineColor } from "./color.js";
import { el, fitting, magnification, number, svg, textWidth } from "./dom.js";
import { withHint } from "./hint.js";

// lines: [{name, values, strong?, color?, pick?}]; one value for each of `names`, the ticks of `axis`.
export function lineChart(lines, { label, axis, names, low, high, height = 240, marked, width = 720 }) {
  const large = magnification(),
    margin = { left: 48 * large, right: 14, top: 12, bottom: 48 * large };
  const all = lines.flatMap((line) => Array.from(line.values)).filter(Number.isFinite);
  const ticks = ticksFor(low ?? Math.min(...all), high ?? Math.max(...all));
  const bottom = ticks[0],
    last = names.length - 1 || 1,
    range = ticks.at(-1) - bottom || 1;
  const x = (index) => margin.left + (index / last) * (width - margin.left - margin.right);
  const y = (value) => height - margin.bottom - ((value - bottom) / range) * (height - margin.top - margin.bottom);
  const chart = svg(
    "svg",
    { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    ticks.map((tick) => [
      svg("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: y(tick), y2: y(tick) }),
      svg("text", { class: "tick", x: margin.left - 8, y: y(tick) + 4, "text-anchor": "end" }, tickText(tick)),
    ]),
    names.map((name, index) =>
      svg(
        "text",
        { class: "tick", x: x(index), y: height - 28 * large, "text-anchor": "middle" },
        names.length > 14 && index % 2 ? "" : name,
      ),
    ),
    svg("text", { class: "tick", x: (margin.left + width) / 2, y: height - 8 * large, "text-anchor": "middle" }, axis),
    marked === undefined
      ? null
      : svg("line", { class: "now", x1: x(marked), x2: x(marked), y1: margin.top, y2: height - margin.bottom }),
  );
  const inOrder = [...lines.filter((line) => !line.strong), ...lines.filter((line) => line.strong)];
  for (const line of inOrder) {
    const color = line.color ?? lineColor(lines.indexOf(line));
    chart.append(
      svg("polyline", {
        class: line.strong ? "line strong" : "line",
        stroke: color,
        fill: "none",
        points: Array.from(line.values, (value, index) => `${x(index)},${y(value)}`).join(" "),
      }),
    );
    line.values.forEach((value, index) =>
      chart.append(
        withHint(
          svg("circle", {
            class: line.strong ? "dot strong" : "dot",
            cx: x(index),
            cy: y(value),
            r: line.strong ? 4 : 3,
            fill: color,
            onclick: line.pick,
          }),
          () => `${line.name}, ${axis} ${names[index]}: ${number(value)}`,
        ),
      ),
    );
  }
  return el("div", { class: "chart-frame" }, chart);
}

// Round numbers that cover the range.
function ticksFor(least, most) {
  const rough = (most - least || Math.abs(most) || 1) / 4,
    power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((times) => times * power >= rough) * power;
  const first = Math.floor(least / step + 1e-9),
    last = Math.max(first + 1, Math.ceil(most / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

function tickText(value) {
  return String(Number(value.toPrecision(6))).replace("-", "−");
}

// paths: [{name, places: [[x, y], …], strong, pick}]; the place at `depth` is marked.
export function pathChart(paths, { label, depth, depthName, width = 760 }) {
  const all = paths.flatMap((path) => path.places);
  const [xs, ys] = [all.map((place) => place[0]), all.map((place) => place[1])];
  const size = Math.max(300, width * 0.78),
    margin = 40;
  const low = [Math.min(...xs), Math.min(...ys)];
  const scale = Math.min(
    (width - 2 * margin) / (Math.max(...xs) - low[0] || 1),
    (size - 2 * margin) / (Math.max(...ys) - low[1] || 1),
  );
  const spare = [
    (width - 2 * margin - (Math.max(...xs) - low[0]) * scale) / 2,
    (size - 2 * margin - (Math.max(...ys) - low[1]) * scale) / 2,
  ];
  const at = ([px, py]) => [
    margin + spare[0] + (px - low[0]) * scale,
    size - margin - spare[1] - (py - low[1]) * scale,
  ];
  const chart = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${size}`, role: "img", "aria-label": label });
  const order = [...paths.keys()].sort((a, b) => Number(paths[a].strong) - Number(paths[b].strong));
  for (const index of order) {
    const path = paths[index],
      color = lineColor(index),
      places = path.places.map(at);
    chart.append(
      svg("polyline", {
        class: path.strong ? "line strong" : "line faint",
        stroke: color,
        fill: "none",
        points: places.map((p) => p.join(",")).join(" "),
      }),
    );
    places.forEach(([cx, cy], layer) =>
      chart.append(
        withHint(
          svg("circle", {
            class: "dot",
            cx,
            cy,
            r: layer === depth ? 5.5 : 2.2,
            fill: color,
            opacity: layer === depth || path.strong ? 1 : 0.45,
            onclick: path.pick,
          }),
          () => `${path.name}, ${depthName(layer)}: ${number(path.places[layer][0])}, ${number(path.places[layer][1])}`,
        ),
      ),
    );
  }
  const taken = [];
  for (const index of order.reverse()) {
    const name = fitting(paths[index].name, width / 3, 1);
    const [x, y, anchor] = freePlace(at(paths[index].places[depth]), 4 + textWidth(name, 0.9), taken, width, size);
    const kind = paths[index].strong ? "place strong" : "place";
    chart.append(svg("text", { class: kind, x, y, "text-anchor": anchor }, name));
  }
  return el("div", { class: "chart-frame" }, chart);
}

// A place for a name beside its dot that covers no other name; if there is none, any place inside the chart.
function freePlace([cx, cy], length, taken, width, height) {
  const line = 16 * magnification(); // the height of a name
  const beside = (lines) => [
    [cx + 9, cy + 4 + lines * line, "start"],
    [cx - 9, cy + 4 + lines * line, "end"],
  ];
  const places = [
    ...beside(0),
    [cx, cy - 0.75 * line, "middle"],
    [cx, cy + 1.25 * line, "middle"],
    ...[-0.5, 0.5, -1, 1, -2, 2, -3, 3].flatMap(beside),
  ];
  const boxOf = ([x, y, anchor]) => {
    const left = x - { start: 0, end: length, middle: length / 2 }[anchor];
    return [left, y - 0.7 * line, left + length, y + 0.25 * line];
  };
  const isInside = (place) => {
    const [left, top, right, bottom] = boxOf(place);
    return left > 0 && top > 0 && right < width && bottom < height;
  };
  const isFree = (place) => {
    const box = boxOf(place);
    return !taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3]);
  };
  const inside = places.filter(isInside);
  const chosen = inside.find(isFree) ?? inside[0] ?? [Math.max(2, Math.min(cx, width - length - 2)), cy - 10, "start"];
  taken.push(boxOf(chosen));
  return chosen;
}
