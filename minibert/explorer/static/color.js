// Colour scales: linear in OKLab (Björn Ottosson, 2020) between the stops of minibert/palette.py, monotonic in
// lightness, so that they are readable in grey and for colour-blind readers.

import { page } from "./state.js";

const SHADES = 256;

function toRGB([lightness, chroma, hue]) {
  const a = chroma * Math.cos((hue * Math.PI) / 180),
    b = chroma * Math.sin((hue * Math.PI) / 180);
  return labToRGB(lightness, a, b);
}

function labToRGB(lightness, a, b) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((x) => {
    const inside = Math.min(1, Math.max(0, x));
    return Math.round(255 * (inside <= 0.0031308 ? 12.92 * inside : 1.055 * inside ** (1 / 2.4) - 0.055));
  });
}

function toLab([lightness, chroma, hue]) {
  return [lightness, chroma * Math.cos((hue * Math.PI) / 180), chroma * Math.sin((hue * Math.PI) / 180)];
}

const tables = new Map();

function table(kind, theme) {
  const key = `${kind} ${theme}`;
  if (!tables.has(key)) {
    const stops = page().palette[theme][kind].map(toLab);
    const colors = [];
    for (let step = 0; step < SHADES; step++) {
      const place = (step / (SHADES - 1)) * (stops.length - 1);
      const first = Math.min(stops.length - 2, Math.floor(place)),
        part = place - first;
      colors.push(labToRGB(...stops[first].map((x, i) => x + part * (stops[first + 1][i] - x))));
    }
    tables.set(key, colors);
  }
  return tables.get(key);
}

export function theme() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen) return chosen;
  return window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

// A scale from numbers to colours: "amount" from low to high, "sign" from −high to high with 0 in the middle.
export function scaleOf(kind, low, high) {
  const colors = table(kind, theme());
  const from = kind === "sign" ? -high : low;
  const range = high - from || 1;
  const rgb = (value) => {
    if (Number.isNaN(value)) return colors[kind === "sign" ? 128 : 0];
    return colors[Math.min(SHADES - 1, Math.max(0, Math.round(((value - from) / range) * (SHADES - 1))))];
  };
  return { kind, low: from, high, rgb, css: (value) => `rgb(${rgb(value).join(" ")})` };
}

// Black or white text, whichever is readable on a colour.
export function inkOn([r, g, b]) {
  const [red, green, blue] = [r, g, b].map((x) => (x <= 10 ? x / 3294 : ((x / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff"; // where their contrasts are equal
}

export function signScale(...lists) {
  return scaleOf("sign", 0, largest(...lists));
}

// The largest size of a number in any of these lists.
export function largest(...lists) {
  let most = 0;
  for (const values of lists)
    for (let i = 0; i < values.length; i++) {
      const size = Math.abs(values[i]);
      if (size > most && size < Infinity) most = size;
    }
  return most || 1;
}

const LINES = { light: [0.52, 0.13], dark: [0.76, 0.12] };

// Colours for lines in one chart: hues separated by the golden angle.
export function lineColor(index) {
  const [lightness, chroma] = LINES[theme()];
  return `rgb(${toRGB([lightness, chroma, (250 + index * 137.508) % 360]).join(" ")})`;
}
