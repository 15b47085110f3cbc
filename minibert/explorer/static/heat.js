// A heat map: numbers as colours on a canvas, names beside it, a cursor for pointer and arrow keys.

import { el, magnification, setStyle } from "./dom.js";
import { hideHint, say, showHint } from "./hint.js";
import { legend } from "./legend.js";
import { phrase } from "./words.js";

const cursors = new Map(); // the cursor's cell in the map of each key, kept when the view is redrawn

// options: key, label, rows, columns, value(row, column), scale, rowName, describe(row, column, value)
// and, optionally: columnName, rowScale(row), rowTitle, columnTitle, marked {row, column}, pick(row, column), width, tallest, plain, unit
export function heat(options) {
  const { rows, columns } = options;
  const sizes = cellSizes(options);
  const canvas = el("canvas", {
    class: "cells",
    tabindex: 0,
    role: "img",
    width: columns,
    height: rows,
    data: { key: options.key },
    "aria-label": phrase("heat.keys", { label: options.label, rows, columns }),
  });
  setStyle(canvas, { width: `${sizes.width * columns}px`, height: `${sizes.height * rows}px` });
  paint(canvas, rows, columns, options.value, options.scale, options.rowScale);
  const cursor = el("div", { class: "cursor", hidden: true });
  const stage = el("div", { class: "stage" }, canvas, markers(options, sizes), cursor);
  follow(canvas, cursor, options, sizes);
  return el(
    "figure",
    { class: "heat", data: { heat: options.key } },
    el(
      "div",
      { class: "scroller" },
      el(
        "div",
        { class: "heat-grid" },
        options.plain
          ? null
          : el(
              "div",
              { class: "corner" },
              options.rowTitle && `${options.rowTitle} ↓`,
              el("br"),
              options.columnTitle && `${options.columnTitle} →`,
            ),
        options.plain ? null : columnNames(options, sizes),
        options.plain ? null : rowNames(options, sizes),
        stage,
      ),
    ),
    options.legend === false ? null : legend(options.scale, options.unit),
  );
}

function cellSizes({ rows, columns, width = 560, tallest = 26, smallest = 2, cellHeight }) {
  const wide = Math.max(smallest, Math.min(tallest, Math.floor(width / columns)));
  const fine = Math.max(smallest, Math.min(tallest, width / columns));
  const exact = wide >= 6 ? wide : fine;
  return { width: exact, height: cellHeight ?? Math.max(exact, rows > 60 ? 4 : 6) };
}

export function paint(canvas, rows, columns, value, scale, rowScale = () => scale) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let row = 0, place = 0; row < rows; row++) {
    const own = rowScale(row);
    for (let column = 0; column < columns; column++, place += 4) {
      const [r, g, b] = own.rgb(value(row, column));
      image.data[place] = r;
      image.data[place + 1] = g;
      image.data[place + 2] = b;
      image.data[place + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}

function markers({ marked = {}, rows, columns }, sizes) {
  const boxes = [];
  if (marked.row !== undefined) {
    boxes.push([0, marked.row * sizes.height, columns * sizes.width, sizes.height]);
  }
  if (marked.column !== undefined) {
    boxes.push([marked.column * sizes.width, 0, sizes.width, rows * sizes.height]);
  }
  return boxes.map(([left, top, width, height]) =>
    el("div", {
      class: "marker",
      css: { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` },
    }),
  );
}

function columnNames({ columns, columnName, marked = {} }, sizes) {
  const every = Math.ceil((12 * magnification()) / sizes.width);
  return el(
    "div",
    { class: "column-names", "aria-hidden": "true" },
    Array.from({ length: columnName ? columns : 0 }, (_, column) =>
      el(
        "div",
        { class: column === marked.column ? "name chosen" : "name", css: { width: `${sizes.width}px` } },
        column % every ? null : columnLabel(columnName(column)),
      ),
    ),
  );
}

const UPRIGHT = /[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]/;

// Rotated text; Korean, Chinese and Japanese characters stay upright, one below the other.
function columnLabel(name) {
  const text = name instanceof Node ? name.textContent : String(name);
  return el("span", { class: UPRIGHT.test(text) ? "upright" : null }, name);
}

function rowNames({ rows, rowName, marked = {} }, sizes) {
  const every = Math.ceil((12 * magnification()) / sizes.height);
  return el(
    "div",
    { class: "row-names", "aria-hidden": "true" },
    Array.from({ length: rows }, (_, row) =>
      el(
        "div",
        { class: row === marked.row ? "name chosen" : "name", css: { height: `${sizes.height}px` } },
        row % every ? null : el("span", {}, rowName(row)),
      ),
    ),
  );
}

function follow(canvas, cursor, options, sizes) {
  const { rows, columns, key } = options;
  const tell = (row, column, aloud) => {
    const value = options.value(row, column);
    const text = options.describe(row, column, value);
    setStyle(cursor, {
      left: `${column * sizes.width}px`,
      top: `${row * sizes.height}px`,
      width: `${sizes.width}px`,
      height: `${sizes.height}px`,
    });
    cursor.hidden = false;
    if (aloud) say(text);
    return text;
  };
  const cellAt = (event) => {
    const place = canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - place.top) / place.height) * rows);
    const column = Math.floor(((event.clientX - place.left) / place.width) * columns);
    return [Math.max(0, Math.min(rows - 1, row)), Math.max(0, Math.min(columns - 1, column))];
  };
  const hide = () => {
    cursor.hidden = true;
    hideHint();
  };
  const showAt = () => {
    const [row, column] = cursors.get(key) ?? [options.marked?.row ?? 0, options.marked?.column ?? 0];
    const inside = [Math.min(row, rows - 1), Math.min(column, columns - 1)];
    cursors.set(key, inside);
    const place = canvas.getBoundingClientRect();
    const text = tell(...inside, true);
    showHint(text, place.left + (inside[1] + 0.5) * sizes.width, place.top + (inside[0] + 0.5) * sizes.height);
  };
  canvas.addEventListener("pointermove", (event) => {
    showHint(tell(...cellAt(event), false), event.clientX, event.clientY);
  });
  canvas.addEventListener("pointerleave", hide);
  canvas.addEventListener("blur", hide);
  canvas.addEventListener("focus", () => canvas.matches(":focus-visible") && showAt());
  canvas.addEventListener("click", (event) => {
    const [row, column] = cellAt(event);
    cursors.set(key, [row, column]);
    options.pick?.(row, column);
  });
  canvas.addEventListener("keydown", (event) => {
    const [row, column] = cursors.get(key) ?? [options.marked?.row ?? 0, options.marked?.column ?? 0];
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (event.key === "Enter" || event.key === " ") options.pick?.(row, column);
    else if (event.key in moves) {
      const [down, right] = moves[event.key];
      cursors.set(key, [
        Math.max(0, Math.min(rows - 1, row + down)),
        Math.max(0, Math.min(columns - 1, column + right)),
      ]);
      showAt();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
