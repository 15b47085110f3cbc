// The worker in which the page computes: opens the model, then answers requests, each in steps between which it reads
// its messages.
//
// To it:   {open}, {weights: base64} until all are there, {id, name, request}, {stop: id}
// From it: {opened} or {failed: sentence}; of a request {id, progress: {done, total}}, {id, part}, {id, answer},
//          {id, error: sentence}.  A sentence is {key, places}, or in plain English.

import { openExplorer, QUESTIONS } from "./content.js";
import { Refused } from "./text.js";
import { openModel } from "./model.js";
import { readWeights } from "./weights.js";

const TURN = 8; // milliseconds of work between two looks at the messages
const tasks = []; // {id, name, steps, told}
const pause = new MessageChannel();
let explorer = null,
  isWorking = false,
  bytes = null, // of the weights, until the model is open
  filled = 0; // so many of them have come

self.onmessage = async ({ data }) => {
  if (data.open || data.weights) {
    try {
      if (data.open) begin(data.open);
      else await take(data.weights);
    } catch (error) {
      self.postMessage({ failed: said(error) });
    }
  } else if (data.stop !== undefined) {
    const at = tasks.findIndex(({ id }) => id === data.stop);
    if (at >= 0) tasks.splice(at, 1);
  } else {
    tasks.push({ id: data.id, name: data.name, steps: QUESTIONS[data.name](explorer, data.request), told: false });
    if (!isWorking) work();
  }
};
pause.port1.onmessage = work;

function begin(settings) {
  explorer = openExplorer(settings);
  bytes = new Uint8Array(settings.size);
}

// A block of the weights: base64, of all together perhaps as gzip.  The last one opens the model.
async function take(text) {
  filled += decode(text, bytes.subarray(filled));
  if (filled < bytes.length) return;
  const { table, compressed } = explorer.packed,
    buffer = compressed ? await inflated(bytes) : bytes.buffer;
  bytes = null;
  explorer.engine = openModel(explorer.config, readWeights(table, buffer));
  self.postMessage({ opened: true });
}

// Returns the number of bytes.
function decode(text, target) {
  if (target.setFromBase64) return target.setFromBase64(text).written;
  const letters = atob(text);
  for (let i = 0; i < letters.length; i++) target[i] = letters.charCodeAt(i);
  return letters.length;
}

function inflated(packed) {
  return new Response(new Response(packed).body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

// A turn of work on the most urgent task, then a pause.
function work() {
  const until = performance.now() + TURN;
  isWorking = true;
  while (tasks.length && performance.now() < until) step(mostUrgent());
  isWorking = tasks.length > 0;
  if (isWorking) pause.port2.postMessage(null);
}

// What the reader waits for comes first, then what follows of an answer, then the maps.
function mostUrgent() {
  const rank = ({ name, told }) => (name === "sensitivity" ? 2 : told ? 1 : 0);
  return tasks.reduce((first, task) => (rank(task) < rank(first) ? task : first));
}

function step(task) {
  const { id, steps } = task;
  let answer = null;
  try {
    const { done, value } = steps.next();
    if (done) answer = { id, answer: value };
    else if (value?.part) answer = { id, part: value.part };
    else if (value) answer = { id, progress: value };
  } catch (error) {
    answer = { id, error: said(error) };
  }
  if (!answer) return;
  task.told ||= Boolean(answer.part);
  if (answer.answer || answer.error) tasks.splice(tasks.indexOf(task), 1);
  self.postMessage(answer, buffersIn(answer));
}

function said(error) {
  return error instanceof Refused ? error.sentence : error.message;
}

// The memory of the tensors in an answer, which is handed over and not copied.
function buffersIn(answer) {
  const found = new Set();
  const look = (value) => {
    if (ArrayBuffer.isView(value)) found.add(value.buffer);
    else if (value && typeof value === "object") Object.values(value).forEach(look);
  };
  look(answer);
  return [...found];
}
