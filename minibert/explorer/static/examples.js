// Texts to try, in the languages that the model's vocabulary covers, whatever the language of the page.

import { el } from "./dom.js";
import { page } from "./state.js";
import { list, phrase } from "./words.js";
import { EXAMPLES } from "./words/examples.js";

// kind → the view that shows what it is about, and the models that have the head for it (default: all).
const KINDS = {
  sentence: {},
  mask: { view: "predictions", models: ["BertForPreTraining", "BertForMaskedLM"] },
  two: { view: "comparison" },
  pair: { view: "predictions", models: ["BertForPreTraining", "BertForNextSentencePrediction"] },
};

// run({texts, pair, view}) is called with the chosen one.  null where the vocabulary covers none of the languages.
export function examplesToTry(run) {
  const { architecture, languages, mask } = page().model,
    known = languages.filter((code) => code in EXAMPLES);
  const kinds = Object.keys(KINDS).filter(
    (kind) => (KINDS[kind].models?.includes(architecture) ?? true) && (kind !== "mask" || mask),
  );
  const button = (code, kind) => {
    const texts = EXAMPLES[code][kind].map((text) => text.replace("[MASK]", mask));
    const action = () => run({ texts, pair: kind === "pair", view: KINDS[kind].view });
    return el("button", { class: "small", data: { key: `example-${code}-${kind}` }, onclick: action }, phrase(`examples.${kind}`));
  };
  const names = known.map((code) => phrase(`language.${code}`));
  if (!known.length) return null;
  return el(
    "details",
    { class: "examples", data: { key: "examples" } },
    el("summary", {}, phrase("examples.title", { languages: list(names) })),
    known.map((code, index) =>
      el("div", { class: "live-row" }, el("span", {}, names[index]), kinds.map((kind) => button(code, kind))),
    ),
  );
}
