// Functions that make elements.  User input enters the page only through textContent or an attribute, never as markup.
// Styles are set property by property: the page's policy forbids style attributes.

const SVG = "http://www.w3.org/2000/svg";

// el("button", {class: "tab", onclick: f, data: {key: "a"}}, "text", child, …)
export function el(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "css") setStyle(node, value);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(3))
    if (child !== null && child !== undefined && child !== false) node.append(child);
  return node;
}

export function setStyle(node, styles) {
  for (const [name, value] of Object.entries(styles)) node.style.setProperty(name, value);
}

const drawn = new WeakMap();

// Whether an element shows `what` already; from now on it does.
export function isDrawn(node, what) {
  const same = drawn.get(node) === what;
  drawn.set(node, what);
  return same;
}

// A token in the direction and glyphs of its language.
export function piece(token, run, properties = {}) {
  return el(
    "bdi",
    { lang: run.language || undefined, ...properties, class: `piece ${properties.class ?? ""}` },
    token,
  );
}

export function card(title, ...content) {
  return el("section", { class: "card" }, title && el("h2", {}, title), ...content);
}

export function note(...content) {
  return el("p", { class: "note" }, ...content);
}

// How a value is computed, and its shape in letters and numbers: (T, H) = 11 × 384.
export function formulaLine({ formula, shape }, model, tokens) {
  const sizes = { T: tokens, H: model.hidden, N: model.heads, D: model.head_size, I: model.intermediate };
  const letters = shape.slice(1, -1).split(", ");
  const written = `${shape} = ${letters.map((letter) => sizes[letter]).join(" × ")}`;
  return el("p", { class: "formula" }, formula, el("span", { class: "shape" }, written));
}

// Four significant digits: 0.01234, −1.234, 1.20e−8.
export function number(value) {
  if (value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-4) return value.toExponential(2).replace(/-/g, "−");
  return value.toPrecision(4).replace(/-/g, "−");
}

// For columns of numbers: the same number of decimals in every row.
export function aligned(value) {
  if (value === undefined || !Number.isFinite(value)) return "–";
  const text = Math.abs(value) < 100 ? value.toFixed(4) : value.toPrecision(6);
  return (value > 0 ? `+${text}` : text).replace("-", "−");
}

// The font size relative to 16 px; drawings scale with it.
export function magnification() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
}

// Whether a view of this width has its cards in pairs; style.css lays them out by the class "wide".
export function isWide(width) {
  return width > 900 * magnification();
}

// The width of the names beside a map, in pixels; views.css limits them to 9rem.
export function nameWidth(names) {
  const longest = names.reduce((most, name) => Math.max(most, textWidth(String(name), 0.8)), 0);
  return Math.min(144 * magnification(), Math.max(76 * magnification(), longest)) + 34 * magnification();
}

const measure = document.createElement("canvas").getContext("2d");

// The width of a text in pixels at a font size of `size` rem.
export function textWidth(text, size) {
  measure.font = `${16 * size * magnification()}px system-ui, sans-serif`;
  return measure.measureText(text).width;
}

// A text, or its beginning with an ellipsis, no wider than `width` pixels.
export function fitting(text, width, size) {
  if (textWidth(text, size) <= width) return text;
  const letters = Array.from(text);
  while (letters.length > 1 && textWidth(`${letters.join("")}…`, size) > width) letters.pop();
  return `${letters.join("")}…`;
}

// Split columns of `widths` pixels into tables no wider than `room`: [[from, to], …].
export function tablesOf(widths, room) {
  const tables = [];
  let from = 0,
    sum = 0;
  widths.forEach((width, index) => {
    if (sum + width > room && index > from) {
      tables.push([from, index]);
      [from, sum] = [index, 0];
    }
    sum += width;
  });
  return [...tables, [from, widths.length]];
}
