// View 2: one layer, step by step, with the numbers of the chosen token and head.

import { largest, scaleOf, signScale } from "./color.js";
import { ofHead, slice, sumOf, tensor } from "./data.js";
import { card, el, formulaLine, magnification, nameWidth, note, number, piece } from "./dom.js";
import { heat } from "./heat.js";
import { choose, chooseToken, currentRun, page, state } from "./state.js";
import { steps } from "./steps.js";
import { bars, vectorTable } from "./vector.js";
import { phrase, phraseParts } from "./words.js";

export function layerView(width) {
  const run = currentRun(),
    step = steps()[state.step];
  return [
    el(
      "div",
      { class: "stepper" },
      stepList(),
      el(
        "div",
        { class: "step-body" },
        stepCard(step, run, window.innerWidth >= 900 ? width - 266 * magnification() : width),
      ),
    ),
  ];
}

export function turnStep(by) {
  choose({ step: Math.max(0, Math.min(steps().length - 1, state.step + by)) });
}

function stepList() {
  return el(
    "nav",
    { class: "steps", "aria-label": phrase("layer.steps") },
    el(
      "ol",
      {},
      steps().map((step, index) =>
        el(
          "li",
          {},
          el(
            "button",
            {
              class: index === state.step ? "step chosen" : "step",
              "aria-current": index === state.step ? "step" : undefined,
              onclick: () => choose({ step: index }),
              data: { key: `step${index}`, step: step.id },
              onkeydown: (event) => {
                const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
                if (!by) return;
                event.preventDefault();
                turnStep(by);
                document.querySelector(`[data-key="step${state.step}"]`)?.focus();
              },
            },
            el("span", { class: "step-number" }, index),
            step.name,
          ),
        ),
      ),
    ),
  );
}

function stepCard(step, run, width) {
  const { model } = page();
  return card(
    titleOf(step),
    el(
      "div",
      { class: "step-head" },
      formulaLine(step, model, run.tokens.length),
      el(
        "div",
        { class: "turns" },
        el(
          "button",
          { onclick: () => turnStep(-1), disabled: state.step === 0, data: { key: "previous" } },
          phrase("layer.previous"),
        ),
        el(
          "button",
          { onclick: () => turnStep(1), disabled: state.step === model.steps.length - 1, data: { key: "next" } },
          phrase("layer.next"),
        ),
      ),
    ),
    el("p", {}, step.text),
    el("p", { class: "point" }, "trace(model, inputs)[", el("code", {}, brokenAtDots(`"${step.points[state.layer]}"`)), "]"),
    el("div", { class: "step-numbers", data: { step: step.id } }, numbersOf(step, run, width)),
  );
}

// A long name, which a narrow page breaks after its dots.
function brokenAtDots(name) {
  return name.split(/(?<=\.)/).flatMap((part) => [part, el("wbr")]);
}

// The first and the last step are hidden states, too.
function titleOf(step) {
  const { layer, head } = state;
  const depth = { input: layer, output: layer + 1 }[step.kind];
  const name = depth === undefined ? step.name : phrase("layer.which_state", { step: step.name, depth });
  return phrase(byHead(step) ? "layer.title_head" : "layer.title", { step: name, layer, head });
}

function byHead({ kind }) {
  return kind === "head" || kind === "scores" || kind === "probabilities";
}

function numbersOf(step, run, width) {
  const { kind } = step;
  if (kind === "head") return headNumbers(step, run, width);
  if (kind === "scores" || kind === "probabilities") return mapNumbers(step, run);
  if (kind === "neurons") return neuronNumbers(run);
  if (kind === "sum") return sumNumbers(step, run, width);
  return vectorNumbers(step, run, width);
}

// The letter of a step's value in its formula.
function letterOf(id) {
  const { formula } = steps().find((step) => step.id === id);
  return formula.split(" = ")[0];
}

// The H numbers of a token at one step of the chosen layer, with norm, mean and std.
function vectorAt(name, run) {
  const stored = name === "input" || name === "output" ? "hidden" : name;
  const layer = name === "output" ? state.layer + 1 : state.layer;
  return {
    values: slice(tensor(run, stored, state.show), layer, state.token),
    statistics: slice(tensor(run, `${stored}_statistics`, state.show), layer, state.token),
  };
}

function vectorNumbers(step, run, width) {
  const rows = [{ name: run.tokens[state.token], strong: true, ...vectorAt(step.id, run) }];
  return vectorTable("step-vector", rows, {
    label: phrase("layer.of_token", { step: step.name }),
    total: page().model.hidden,
    width: width - nameWidth([run.tokens[state.token]]),
  });
}

function sumNumbers(step, run, width) {
  const [first, second] = step.parts.map((name) => vectorAt(name, run));
  const statistics = slice(tensor(run, `${step.id}_statistics`, state.show), state.layer, state.token);
  const rows = [
    { name: letterOf(step.parts[0]), ...first },
    { name: `+ ${letterOf(step.parts[1])}`, ...second },
    { name: `= ${letterOf(step.id)}`, strong: true, values: sumOf(first.values, second.values), statistics },
  ];
  return vectorTable("step-sum", rows, {
    label: phrase("layer.of_token", { step: step.name }),
    total: page().model.hidden,
    width: width - nameWidth([run.tokens[state.token]]),
  });
}

function headNumbers(step, run, width) {
  const { model } = page();
  const vectors = tensor(run, step.id, state.show);
  const rowOf = (token) => ofHead(slice(vectors, state.layer, token), state.head, model.heads);
  const chosen = rowOf(state.token);
  const scale = signScale(Array.from({ length: run.shown }, (_, token) => largestOf(rowOf(token))));
  return el(
    "div",
    {},
    vectorTable("step-vector", [{ name: run.tokens[state.token], strong: true, values: chosen }], {
      label: phrase("layer.of_token_head", { step: step.name, head: state.head }),
      total: model.head_size,
      width: width - nameWidth([run.tokens[state.token]]),
    }),
    el("h3", {}, phrase("layer.all_tokens", { head: state.head })),
    heat({
      key: "step-head",
      label: phrase("layer.of_all_tokens", { step: step.name, head: state.head }),
      rows: run.shown,
      columns: chosen.length,
      value: (row, column) => rowOf(row)[column],
      scale,
      width: width - nameWidth(run.tokens),
      tallest: 16,
      rowName: (row) => piece(run.tokens[row], run),
      columnName: (column) => column,
      rowTitle: phrase("tokens.token"),
      columnTitle: phrase("layer.number"),
      describe: (row, column, value) => phrase("vector.number", { name: run.tokens[row], column, value: number(value) }),
      marked: { row: state.token },
      pick: chooseToken,
    }),
  );
}

function largestOf(values) {
  let most = 0;
  for (const value of values) if (Math.abs(value) > Math.abs(most)) most = value;
  return most;
}

function mapNumbers(step, run) {
  const maps = tensor(run, step.id, state.show);
  if (!maps) return note(phrase("layer.no_scores"));
  const values = slice(maps, state.layer, state.head, state.token);
  const positive = step.kind === "probabilities" && state.show !== "change";
  const ofHeads = slice(maps, state.layer, state.head); // one axis for all tokens of a head
  const scale = positive ? scaleOf("amount", -0.35, 1) : signScale(ofHeads);
  const root = Math.sqrt(page().model.head_size);
  const items = Array.from(values, (value, index) => ({
    name: piece(run.tokens[index], run),
    label: run.tokens[index],
    value,
    chosen: index === state.token,
    more: step.kind === "scores" ? `q·k = ${number(value * root)}` : null,
  }));
  const sum = values.reduce((total, value) => total + value, 0);
  const token = piece(run.tokens[state.token], run);
  return el(
    "div",
    {},
    note(
      step.kind === "scores"
        ? phraseParts("layer.scores_note", { token, root: number(root) })
        : phraseParts(
            state.show === "change"
              ? "layer.probabilities_change"
              : run.shown < run.tokens.length
                ? "layer.probabilities_kept"
                : "layer.probabilities_note",
            { token, sum: number(sum) },
          ),
    ),
    bars(items, {
      scale,
      most: positive ? 1 : largest(ofHeads),
      signed: !positive,
      label: phrase("layer.of_token", { step: step.name }),
      pick: chooseToken,
    }),
  );
}

function neuronNumbers(run) {
  const show = state.show === "change" ? "edited" : state.show;
  const values = slice(tensor(run, "neuron_values", show), state.layer, state.token);
  const strongest = slice(tensor(run, "neuron_values", show), state.layer); // one axis for all tokens of a layer
  const numbers = slice(tensor(run, "neuron_numbers", show), state.layer, state.token);
  const active = slice(tensor(run, "neurons_active", show), state.layer)[state.token];
  const items = Array.from(values, (value, index) => ({
    name: phrase("layer.neuron", { n: String(numbers[index]) }),
    label: phrase("layer.neuron", { n: String(numbers[index]) }),
    value,
  }));
  return el(
    "div",
    {},
    note(
      phrase(state.show === "change" ? "layer.neurons_edited" : "layer.neurons_note", {
        share: number(active * 100),
        all: page().model.intermediate,
        n: values.length,
      }),
    ),
    bars(items, { scale: signScale(strongest), most: largest(strongest), label: phrase("layer.neurons_label") }),
  );
}
