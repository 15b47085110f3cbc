// The interventions of a request as edits of the engine: explorer/interventions.py once more.

import { addNoise, forceAttention, inTurn, zeroHeads } from "./edits.js";

// Map point → edit, for the run with number `number` of a request {heads, noise, attention, run}.
export function editsOf({ heads = [], noise = null, attention = [], run = 0 }, number = run) {
  const edits = new Map();
  const add = (point, edit) => edits.set(point, edits.has(point) ? inTurn(edits.get(point), edit) : edit);
  for (const [layer, head] of heads) add(`encoder.layer.${layer}.attention.self.context_heads`, zeroHeads(head));
  if (number !== run) return edits;
  for (const { layer, head, token, probabilities } of attention)
    add(`encoder.layer.${layer}.attention.self.probabilities`, forceAttention(head, token, probabilities));
  if (noise?.std)
    add(noise.depth ? `encoder.layer.${noise.depth - 1}` : "embeddings", addNoise(noise.std, noise.position, noise.seed));
  return edits;
}

// The edits inside one layer.
export function editsInLayer(edits, layer) {
  return new Map([...edits].filter(([point]) => point.startsWith(`encoder.layer.${layer}.`)));
}
