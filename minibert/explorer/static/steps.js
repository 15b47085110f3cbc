// The steps inside one layer, in the order of computation.  Their points, formulas and shapes are part of the page's data
// (explorer/steps.py), their names and explanations are among its words.

import { page } from "./state.js";
import { phrase } from "./words.js";

export function steps() {
  return page().model.steps.map((step) => ({
    ...step,
    name: phrase(`step.${step.id}.name`),
    text: phrase(`step.${step.id}.text`),
  }));
}
