// The state of the page as the fragment of its address, so that a link opens one exact view:
// #view=attention&layer=3&head=2&token=5&lang=ko.  Only what differs from a page just opened is written.  A fragment can
// come from anywhere: what is not of the expected form is ignored, and numbers are limited to what the model has.

import { page, state } from "./state.js";
import { currentLanguage, preferred } from "./words.js";

const NUMBERS = ["run", "token", "other", "layer", "head", "depth", "step", "first", "tour"];
const FLAGS = ["diagonal", "masked", "matched", "touring"];
const CHOICES = {
  view: ["tokens", "layer", "attention", "hidden", "predictions", "sensitivity", "comparison"],
  show: ["original", "edited", "change"],
  mode: ["single", "per_layer"],
};
const LONGEST = 20_000; // characters of a text, as in explorer/live.py
let opened = null; // the state of the page just opened
let written = ""; // the last fragment that the page wrote

export function rememberOpened() {
  opened = { ...state };
}

// The fragment for the state, the language, and on a computing page the texts, masks and edits.
function fragment(edits) {
  const found = new URLSearchParams();
  for (const name of [...Object.keys(CHOICES), ...NUMBERS, ...FLAGS])
    if (state[name] !== opened[name]) found.set(name, state[name] === true ? "1" : state[name] === false ? "0" : state[name]);
  if (currentLanguage() !== preferred()) found.set("lang", currentLanguage());
  if (edits) {
    const shown = page().runs.map((run) => run.text),
      [texts, opened] = [shown.flat(), edits.opened.flat()];
    if (opened.length > texts.length) found.set("text2", ""); // it was taken away
    texts.forEach((text, index) => text !== opened[index] && found.set(`text${index + 1}`, text));
    const pair = Array.isArray(shown[0]);
    if (pair !== Array.isArray(edits.opened[0])) found.set("pair", pair ? "1" : "0");
    page().runs.forEach(({ masked }, index) => masked.length && found.set(`mask${index + 1}`, masked.join(".")));
    if (edits.heads.length) found.set("heads", edits.heads.map((pair) => pair.join(".")).join("-"));
    const { std, position, depth, seed } = edits.noise;
    if (edits.run === state.run) {
      if (std) found.set("noise", [std, position, depth, seed].join("_"));
      if (edits.attention.length) found.set("rows", edits.attention.map(writtenRow).join("~"));
    }
  }
  return found.toString();
}

// Write the state into the address; a page in a notebook's frame has none.
export function writeAddress(edits) {
  const now = fragment(edits);
  if (now === written) return;
  written = now;
  try {
    history.replaceState(null, "", now ? `#${now}` : location.pathname + location.search);
  } catch {
    // nothing to share there
  }
}

// {state, language, edits} of the address; each only with what is well-formed.
export function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const found = { ...opened };
  for (const [name, choices] of Object.entries(CHOICES))
    if (choices.includes(given.get(name))) found[name] = given.get(name);
  for (const name of NUMBERS) found[name] = wholeNumber(given.get(name)) ?? found[name];
  for (const name of FLAGS) if (/^[01]$/.test(given.get(name))) found[name] = given.get(name) === "1";
  return { state: found, language: languageOfAddress(), edits: editsIn(given) };
}

// The texts, masked positions, heads and noise of a link to a computing page.
function editsIn(given) {
  const { layers, heads } = page().model;
  const texts = ["text1", "text2"].map((name) => given.get(name)?.slice(0, LONGEST));
  const masked = ["mask1", "mask2"].map((name) => (given.get(name) ?? "").split(".").map(wholeNumber).filter(known));
  const pairs = (given.get("heads") ?? "").split("-").map((pair) => pair.split(".").map(wholeNumber));
  const isPair = (pair) => pair.length === 2 && pair.every(known) && pair[0] < layers && pair[1] < heads;
  const [std, ...rest] = (given.get("noise") ?? "").split("_");
  const [position, depth, seed] = rest.map(wholeNumber);
  const isNoise = /^\d{1,2}(\.\d{1,6})?$/.test(std) && rest.length === 3 && [position, depth, seed].every(known);
  return {
    texts,
    pair: { 0: false, 1: true }[given.get("pair")],
    masked,
    heads: pairs.filter(isPair),
    attention: (given.get("rows") ?? "").split("~").map(rowIn).filter(known),
    noise: isNoise && depth <= layers ? { std: Number(std), position, depth, seed } : { std: 0 },
  };
}

// A row of attention that was set: layer_head_token_p_p_p…
function writtenRow({ layer, head, token, probabilities }) {
  return [layer, head, token, ...probabilities.map((p) => Number(p.toPrecision(4)))].join("_");
}

function rowIn(text) {
  const { layers, heads } = page().model;
  const parts = text.split("_"),
    [layer, head, token] = parts.slice(0, 3).map(wholeNumber),
    values = parts.slice(3).map((part) => (/^[01](\.\d{1,12})?$|^\d(\.\d+)?e-\d{1,2}$/.test(part) ? Number(part) : NaN));
  const sum = values.reduce((total, value) => total + value, 0);
  if (![layer, head, token].every(known) || layer >= layers || head >= heads || !(sum > 0)) return null;
  return { layer, head, token, probabilities: values.map((value) => value / sum) };
}

function wholeNumber(text) {
  return /^\d{1,6}$/.test(text ?? "") ? Number(text) : null;
}

function known(value) {
  return value !== null;
}

export function languageOfAddress() {
  return new URLSearchParams(location.hash.slice(1)).get("lang");
}

export function isOwnAddress() {
  return location.hash.slice(1) === written;
}
