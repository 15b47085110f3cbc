// Elements, made of data.  Whatever a user typed enters the page through textContent or an attribute here, never as
// markup; styles are set property by property, which the page's policy allows and a style attribute it does not.

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

// A piece of a text in its own direction and letterforms.
export function piece(token, walk, properties = {}) {
  return el(
    "bdi",
    { lang: walk.language || undefined, ...properties, class: `piece ${properties.class ?? ""}` },
    token,
  );
}

export function card(title, ...content) {
  return el("section", { class: "card" }, title && el("h2", {}, title), ...content);
}

export function note(...content) {
  return el("p", { class: "note" }, ...content);
}

// Four significant digits, as a page of numbers can be read: 0.01234, −1.234, 1.2e-8.
export function number(value) {
  if (value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-4) return value.toExponential(2).replace(/-/g, "−");
  return value.toPrecision(4).replace(/-/g, "−");
}

// For columns of numbers: as many decimals in every row, so that the eye can compare.
export function aligned(value) {
  if (value === undefined || !Number.isFinite(value)) return "–";
  const text = Math.abs(value) < 100 ? value.toFixed(4) : value.toPrecision(6);
  return (value > 0 ? `+${text}` : text).replace("-", "−");
}

// How much larger letters are than on a plain screen: a projector's page is set larger, and drawings follow.
export function magnification() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
}

// What names beside a map take of its width, in pixels.
export function nameWidth(names) {
  const longest = names.reduce((most, name) => Math.max(most, String(name).length), 0);
  return Math.min(150, 24 + 8.5 * Math.max(5, longest)) * magnification();
}

export function count(value) {
  return value.toLocaleString("en");
}
