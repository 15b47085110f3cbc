// The answers to the page's three questions: explorer/content.py and live.py once more.  An answer has the form of the
// server's, with typed arrays in place of base64.
//
// Each is a generator.  It pauses often, so that the worker can look at its messages, and may yield {done, total} and
// once {part}: the answer without what takes longest, the predictions, of a new text also the principal components, and
// the words at matched positions.

import { compareTexts, matchedWords } from "./comparison.js";
import { chooseDetail, omissions } from "./detail.js";
import { nextSentence } from "./heads.js";
import { editsOf } from "./interventions.js";
import { packPredictions, predictionsOf } from "./predictions.js";
import { principalComponents, project } from "./projection.js";
import { sensitivityMaps } from "./sensitivity.js";
import { readText } from "./text.js";
import { openTokenizer } from "./tokenizer.js";
import { packed, packRun, relativeChange, runOf } from "./values.js";

const LATER = { reason: { key: "reason.later", places: {} } }; // in place of predictions that are still computed

// opening: what explorer/computing.py puts into the page, and palette and model of the page.  The engine, openModel() of
// the weights, is to follow.
export function openExplorer({ config, tokenizer, palette, model, limits, table, compressed }) {
  const { settings, vocabulary, tables } = tokenizer;
  return {
    config,
    palette,
    model,
    limits,
    packed: { table, compressed }, // the weights
    engine: null,
    tokenizer: openTokenizer(settings, vocabulary, tables),
    texts: new Map(), // those on the page, with their runs
  };
}

export const QUESTIONS = { runs: answerRuns, edits: answerEdits, sensitivity: answerSensitivity };

// {texts, masked}; texts, here and below: one, two, or one pair [[A, B]]
function* answerRuns(explorer, request) {
  const traced = yield* traceAll(explorer, request),
    [first, second] = traced;
  const content = {
    live: true,
    palette: explorer.palette,
    model: explorer.model,
    runs: traced.map((one) => ({ ...describe(explorer, one), predictions: LATER })),
    comparison: second ? compareTexts(explorer, first, second) : null,
  };
  yield { part: content };
  const runs = [];
  for (const one of traced) runs.push({ ...projection(explorer, one), predictions: yield* predict(explorer, one) });
  if (!second) return { runs };
  const words = yield* matchedWords(explorer, first, second, content.comparison.words);
  return { runs, words };
}

// {texts, masked, heads, noise, attention, run}
function* answerEdits(explorer, request) {
  const traced = yield* traceAll(explorer, request),
    H = explorer.model.hidden,
    edited = [],
    runs = [];
  for (const [number, one] of traced.entries()) {
    const { text, run, detail } = one,
      values = yield* runOf(explorer, text.inputs, { edits: editsOf(request, number), base: run }),
      answer = packRun(explorer, values, detail),
      { tensors, ...share } = projection(explorer, one, values);
    Object.assign(answer.tensors, tensors, { relative_change: relativeChange(values.hidden, run.hidden, detail.tokens, H) });
    runs.push({ ...answer, ...share, predictions: LATER, next_sentence: follows(explorer, text, values) });
    edited.push(values);
  }
  yield { part: { runs } };
  const later = [];
  for (const [number, one] of traced.entries()) later.push({ predictions: yield* predict(explorer, one, edited[number]) });
  return { runs: later };
}

// {text, masked, heads}
function* answerSensitivity(explorer, { text, masked = [], heads = [] }) {
  const { limits } = explorer,
    traced = yield* trace(explorer, text, masked, limits.numbers),
    tokens = traced.text.length;
  if (!limits.samples || tokens > limits.sensitivity)
    return { reason: { key: "reason.too_long", places: { limit: limits.sensitivity, tokens } } };
  return { ...(yield* sensitivityMaps(explorer, traced.text.inputs, traced.detail.tokens, editsOf({ heads }))), heads };
}

// The texts of a request, each {text, run, detail, components, predicted}; those already on the page are not run again.
function* traceAll(explorer, { texts, masked = texts.map(() => []) }) {
  const found = new Map();
  for (const [number, text] of texts.entries()) {
    const key = keyOf(text, masked[number]);
    found.set(key, yield* trace(explorer, text, masked[number], Math.floor(explorer.limits.numbers / texts.length)));
  }
  explorer.texts = found;
  return texts.map((text, number) => found.get(keyOf(text, masked[number])));
}

function keyOf(text, masked) {
  return JSON.stringify([text, ascending(masked)]);
}

function ascending(positions) {
  return [...new Set(positions)].sort((a, b) => a - b);
}

function* trace(explorer, text, masked, limit) {
  const known = explorer.texts.get(keyOf(text, masked));
  if (known) return known;
  const read = readText(explorer, text, ascending(masked)),
    run = yield* runOf(explorer, read.inputs);
  return {
    text: read,
    run,
    detail: chooseDetail(explorer, read.length, Math.floor(limit / 2)),
    components: null,
    predicted: null,
  };
}

// The text, the values of its run, and what is left out of them.
function describe(explorer, { text, run, detail }) {
  const omitted = omissions(explorer, detail, text.length),
    full = text.described.full_length;
  if (full > text.length) omitted.unshift({ key: "omitted.cut", places: { full, length: text.length } });
  return { ...text.described, omitted, ...packRun(explorer, run, detail), next_sentence: follows(explorer, text, run) };
}

function follows({ engine }, { text }, { hidden }) {
  return Array.isArray(text) ? nextSentence(engine, hidden.at(-1)) : null;
}

// The hidden states on the plane of the two longest axes that those of the text have; also those of its run with edits.
function projection({ model }, one, { hidden } = one.run) {
  one.components ??= principalComponents(one.run.hidden, model.hidden);
  const { tokens } = one.detail,
    placed = hidden.map((x) => project(one.components, x, tokens));
  return {
    explained_variance: one.components.explained,
    tensors: { projection: packed([hidden.length, tokens, 2], ...placed) },
  };
}

// The predictions of a traced text, or of its run with edits.
function* predict(explorer, one, edited = null) {
  const shown = one.detail.tokens;
  one.predicted ??= yield* predictionsOf(explorer, one.run, shown);
  const predicted = edited ? yield* predictionsOf(explorer, edited, shown, one.predicted) : one.predicted;
  return packPredictions(explorer, predicted, shown);
}
