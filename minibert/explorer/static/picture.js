// A view as a picture: its texts, boxes, maps and charts drawn again as plain SVG, which any program can open; and the
// same as PNG.  Texts keep the names of their fonts, no font is put in.

import { el, svg } from "./dom.js";
import { say } from "./hint.js";
import { page, state } from "./state.js";
import { phrase } from "./words.js";

const MARGIN = 16;
const SHARP = 2; // pixels of a PNG per pixel of the page
const LARGEST_SIDE = 12_000; // pixels of a PNG; browsers draw no larger ones
const DRAWN = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity", "paint-order"];
const WRITTEN_WITH = ["font-size", "font-weight", "font-family"];

export function pictureButtons() {
  return ["SVG", "PNG"].map((kind) =>
    el(
      "button",
      {
        data: { key: `save-${kind}` },
        "aria-label": phrase("picture.save", { kind }),
        title: phrase("picture.save", { kind }),
        onclick: () => savePicture(kind),
      },
      kind,
    ),
  );
}

async function savePicture(kind) {
  const picture = drawPicture(document.getElementById("view"));
  const text = new XMLSerializer().serializeToString(picture);
  const drawing = new Blob([text], { type: "image/svg+xml" });
  const name = `minibert-${state.view}.${kind.toLowerCase()}`;
  const file = kind === "SVG" ? drawing : await pixelsOf(drawing, picture);
  const address = URL.createObjectURL(file);
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  say(phrase("picture.saved", { name }));
}

async function pixelsOf(drawing, picture) {
  const [width, height] = ["width", "height"].map((side) => Number(picture.getAttribute(side)));
  const scale = Math.min(SHARP, LARGEST_SIDE / Math.max(width, height));
  const canvas = el("canvas", { width: Math.ceil(width * scale), height: Math.ceil(height * scale) });
  const image = new Image();
  image.src = URL.createObjectURL(drawing);
  await image.decode();
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

export function drawPicture(view) {
  const place = view.getBoundingClientRect(),
    heading = 40;
  const [width, height] = [Math.ceil(place.width) + 2 * MARGIN, Math.ceil(place.height) + 2 * MARGIN + heading];
  const paper = getComputedStyle(document.documentElement);
  const picture = svg("svg", {
    xmlns: "http://www.w3.org/2000/svg",
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    "font-family": getComputedStyle(view).fontFamily,
    "font-size": 14,
  });
  picture.append(
    svg("title", {}, `minibert explorer: ${phrase(`tab.${state.view}`)}`),
    svg("rect", { width, height, fill: paper.backgroundColor }),
    svg(
      "text",
      { x: MARGIN, y: MARGIN + 18, fill: paper.color },
      `${phrase(`tab.${state.view}`)} · ${page().model.name} · ${[page().runs[state.run].text].flat().join(" · ").slice(0, 80)}`,
    ),
  );
  const moved = { x: MARGIN - place.left, y: MARGIN + heading - place.top };
  drawNode(view, picture, moved);
  return picture;
}

function drawNode(node, into, moved) {
  if (node.nodeType === Node.TEXT_NODE) return drawText(node, into, moved);
  if (node.nodeType !== Node.ELEMENT_NODE || node.matches("input, select, textarea, .cursor, details:not([open]) > :not(summary)")) return;
  const style = getComputedStyle(node),
    place = node.getBoundingClientRect();
  if (style.display === "none" || style.visibility === "hidden" || (!place.width && !place.height)) return;
  const box = { x: place.left + moved.x, y: place.top + moved.y, width: place.width, height: place.height };
  drawBox(style, box, into);
  if (node.matches("canvas")) return drawPixels(node, box, into);
  if (node.matches("svg")) return into.append(copyOfChart(node, box));
  let inside = into;
  const isCut = style.overflow !== "visible" && (node.scrollWidth > node.clientWidth + 1 || node.scrollHeight > node.clientHeight + 1);
  if (isCut || Number(style.opacity) < 1) {
    inside = svg("g", { opacity: Number(style.opacity) < 1 ? style.opacity : null });
    if (isCut) {
      const id = `cut${into.ownerDocument.querySelectorAll("*").length}-${Math.round(box.x)}-${Math.round(box.y)}`;
      inside.append(svg("clipPath", { id }, svg("rect", box)));
      inside.setAttribute("clip-path", `url(#${id})`);
    }
    into.append(inside);
  }
  for (const child of node.childNodes) drawNode(child, inside, moved);
}

function drawBox(style, box, into) {
  const isSeen = (color) => color !== "transparent" && !/, 0\)$/.test(color);
  const filled = isSeen(style.backgroundColor);
  const borders = ["Top", "Right", "Bottom", "Left"].map((side) =>
    style[`border${side}Style`] !== "none" && isSeen(style[`border${side}Color`]) ? parseFloat(style[`border${side}Width`]) : 0,
  );
  const around = borders.every((size) => size > 0);
  const outlined = style.outlineStyle === "solid" && parseFloat(style.outlineWidth) > 0;
  if (filled || around || outlined)
    into.append(
      svg("rect", {
        ...box,
        rx: Math.min(parseFloat(style.borderTopLeftRadius) || 0, box.height / 2),
        fill: filled ? style.backgroundColor : "none",
        stroke: outlined ? style.outlineColor : around ? style.borderTopColor : null,
        "stroke-width": outlined ? style.outlineWidth : around ? borders[0] : null,
      }),
    );
  if (around || !borders[2]) return;
  const y = box.y + box.height - borders[2] / 2;
  into.append(
    svg("line", { x1: box.x, x2: box.x + box.width, y1: y, y2: y, stroke: style.borderBottomColor, "stroke-width": borders[2] }),
  );
}

// A map's cells, enlarged here, as other programs would blur them.
function drawPixels(canvas, box, into) {
  const large = el("canvas", {
    width: Math.max(canvas.width, Math.round(box.width * SHARP)),
    height: Math.max(canvas.height, Math.round(box.height * SHARP)),
  });
  const context = large.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, 0, 0, large.width, large.height);
  into.append(svg("image", { ...box, preserveAspectRatio: "none", href: large.toDataURL() }));
}

function copyOfChart(chart, box) {
  const copy = chart.cloneNode(true);
  const [originals, copies] = [chart, copy].map((node) => [node, ...node.querySelectorAll("*")]);
  originals.forEach((original, index) => {
    const style = getComputedStyle(original);
    const names = original.matches("text") ? [...DRAWN, ...WRITTEN_WITH] : DRAWN;
    for (const name of names) copies[index].setAttribute(name, style.getPropertyValue(name));
    copies[index].removeAttribute("class");
  });
  for (const [name, value] of Object.entries(box)) copy.setAttribute(name, value);
  return copy;
}

function drawText(node, into, moved) {
  if (!node.data.trim()) return;
  const style = getComputedStyle(node.parentElement);
  const marks = {
    fill: style.color,
    "font-family": style.fontFamily,
    "font-size": style.fontSize,
    "font-weight": style.fontWeight,
    "text-decoration": style.textDecorationLine === "line-through" ? "line-through" : null,
  };
  const metrics = metricsOf(style);
  const upright = style.textOrientation === "upright",
    sideways = style.writingMode.startsWith("vertical") && !upright;
  for (const line of linesOf(node, style.writingMode.startsWith("vertical") ? (upright ? 0 : Infinity) : 2)) {
    const left = line.left + moved.x,
      top = line.top + moved.y,
      [width, height] = [line.right - line.left, line.bottom - line.top];
    const text = line.text.trimEnd();
    if (sideways)
      into.append(
        svg("text", { ...marks, transform: `translate(${left + width * metrics} ${top + height}) rotate(-90)` }, text),
      );
    else
      into.append(
        svg(
          "text",
          {
            ...marks,
            x: upright ? left + width / 2 : left,
            y: top + height * metrics,
            "text-anchor": upright ? "middle" : null,
            "xml:space": "preserve",
          },
          text,
        ),
      );
  }
}

const ruler = document.createElement("canvas").getContext("2d");

// Where the baseline is, as a share of a line's height.
function metricsOf(style) {
  ruler.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  const { fontBoundingBoxAscent: above, fontBoundingBoxDescent: below } = ruler.measureText("x");
  return above / (above + below);
}

// The lines into which the browser has broken a text: [{text, left, top, right, bottom}]; a new one begins where the
// next character stands more than `apart` pixels lower or higher.
function linesOf(node, apart) {
  const lines = [];
  const range = document.createRange();
  let start = 0;
  for (const letter of node.data) {
    range.setStart(node, start);
    range.setEnd(node, (start += letter.length));
    const place = range.getClientRects()[0];
    if (!place || (!place.width && !place.height)) continue;
    const line = lines.at(-1);
    if (line && Math.abs(place.top - line.started) <= apart) {
      line.text += letter;
      line.left = Math.min(line.left, place.left);
      line.right = Math.max(line.right, place.right);
      line.top = Math.min(line.top, place.top);
      line.bottom = Math.max(line.bottom, place.bottom);
    } else {
      const { left, top, right, bottom } = place;
      lines.push({ text: letter, left, top, right, bottom, started: top });
    }
  }
  return lines.filter((line) => line.text.trim());
}
