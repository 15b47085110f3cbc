// The language of the page, and the lookup of its texts.  The texts themselves: words/en.js, words/ko.js, words/zh.js.

import { EN } from "./words/en.js";
import { KO } from "./words/ko.js";
import { ZH } from "./words/zh.js";

const LANGUAGES = {
  en: { name: "English", words: EN },
  ko: { name: "한국어", words: KO },
  zh: { name: "中文", words: ZH },
};
let language = preferred();

// [["en", "English"], …], each by its own name.
export function languages() {
  return Object.entries(LANGUAGES).map(([code, { name }]) => [code, name]);
}

export function currentLanguage() {
  return language;
}

// `code`: one of languages(); anything else is the browser's preference.
export function setLanguage(code) {
  language = Object.hasOwn(LANGUAGES, code) ? code : preferred();
  document.documentElement.lang = language === "zh" ? "zh-Hans" : language;
}

// The first of the browser's languages that the page speaks.
export function preferred() {
  const wanted = (navigator.languages ?? [navigator.language]).map((tag) => String(tag).split("-")[0].toLowerCase());
  return wanted.find((code) => Object.hasOwn(LANGUAGES, code)) ?? "en";
}

// The text of `key` in the chosen language.  {name} is a place; {name|one|other} chooses by the number places[name].
export function phrase(key, places = {}) {
  return phraseParts(key, places).join("");
}

// The same as a list for el(), for places that are elements.
export function phraseParts(key, places = {}) {
  const text = LANGUAGES[language].words[key] ?? EN[key] ?? key;
  return text
    .replace(/\)(?=[가-힣])/g, ")\u2060") // in Korean, no line begins with the particle of a word in brackets
    .split(/(\{[^{}]+\})/)
    .filter(Boolean)
    .map((part) => {
      const [, name, one, other] = part.match(/^\{(\w+)(?:\|([^|{}]*)\|([^|{}]*))?\}$/) ?? [];
      if (name === undefined) return part;
      if (one !== undefined) return places[name] === 1 ? one : other;
      return typeof places[name] === "number" ? count(places[name]) : places[name];
    });
}

// What Python or the engine says: {key, places}; or a sentence in plain English.
export function sentence(said) {
  return typeof said === "string" ? said : phrase(said.key, said.places);
}

// An error that can be said again in another language: `said` is as for sentence().
export class Refusal extends Error {
  constructor(said) {
    super(sentence(said));
    this.said = said;
  }
}

// Words as a list in the chosen language: “a, b, and c”.
export function list(words) {
  return new Intl.ListFormat(language).format(words);
}

const formats = new Map();

// A whole number with the separators of the chosen language.
export function count(value) {
  if (!Number.isInteger(value)) return String(value);
  if (!formats.has(language)) formats.set(language, new Intl.NumberFormat(language)); // slow to make
  return formats.get(language).format(value);
}
