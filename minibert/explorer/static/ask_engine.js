// The engine's answers: BERT in a worker of this page (engine/worker.js).
//
// The worker's script is the text of the function `engineWorker`, which page.py puts before the page's own modules in a
// page that computes: it is part of the script whose hash the page's policy names, and no other code can run in the page
// or start a worker.  The worker inherits the policy, so it cannot ask anybody anything either.

import { Replaced, REPLACES } from "./replaced.js";
import { phrase, Refusal } from "./words.js";

// Start the worker and open the model, while the browser still reads the page.  settings: content.engine.  Returns the
// function that asks the worker.
export async function openEngine(settings) {
  const address = URL.createObjectURL(new Blob([`(${engineWorker})()`], { type: "text/javascript" }));
  const worker = new Worker(address);
  try {
    await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => (data.opened ? resolve() : reject(new Refusal(data.failed)));
      worker.onerror = (event) => reject(new Error(event.message || phrase("opening.no_worker")));
      worker.postMessage({ open: settings });
      sendWeights(worker);
    });
  } finally {
    URL.revokeObjectURL(address);
  }
  return asker(worker);
}

// The weights stand in blocks behind this script: each goes to the worker when it is read, and leaves the page.
function sendWeights(worker) {
  const send = () => {
    for (const block of document.querySelectorAll("script.weights")) {
      if (!block.nextSibling && document.readyState === "loading") return; // it may not be read to its end
      worker.postMessage({ weights: block.textContent });
      block.remove();
    }
  };
  const reading = new MutationObserver(send);
  reading.observe(document.body, { childList: true });
  document.addEventListener("DOMContentLoaded", () => {
    reading.disconnect();
    send();
  });
}

function asker(worker) {
  const wanted = new Map(); // id → {name, resolve, reject, options, answer}
  let newest = 0;

  function drop(id, error) {
    worker.postMessage({ stop: id });
    wanted.get(id).reject(error);
    wanted.delete(id);
  }

  worker.onmessage = ({ data: { id, progress, part, answer, error } }) => {
    const request = wanted.get(id);
    if (!request) return;
    if (progress) request.options.progress?.(progress);
    if (part) request.resolve((request.answer = part));
    if (answer && !request.answer) request.resolve(answer);
    if (answer && request.answer) complete(request, answer);
    if (error && !request.answer) request.reject(new Refusal(error));
    if (error && request.answer) complete(request, { runs: request.answer.runs.map(() => ({ predictions: { reason: error } })) });
    if (answer || error) wanted.delete(id);
  };
  worker.onerror = (event) => {
    for (const { reject } of wanted.values()) reject(new Error(event.message));
    wanted.clear();
  };

  return (name, request, options = {}) => {
    // An edit does not replace what follows of the answer about its own text.
    for (const [id, other] of wanted)
      if (REPLACES[name].includes(other.name) && (other.name !== "runs" || name === "runs" || !other.answer))
        drop(id, new Replaced());
    const id = ++newest;
    return new Promise((resolve, reject) => {
      wanted.set(id, { name, resolve, reject, options, answer: null });
      options.signal?.addEventListener("abort", () => {
        if (wanted.get(id) && !wanted.get(id).answer) drop(id, options.signal.reason);
      });
      worker.postMessage({ id, name, request });
    });
  };
}

// Put what follows of an answer into it.
function complete({ answer, options }, rest) {
  rest.runs.forEach(({ tensors, ...run }, index) => {
    Object.assign(answer.runs[index].tensors, tensors);
    Object.assign(answer.runs[index], run);
  });
  if (rest.words) answer.comparison.words = rest.words;
  options.later?.();
}
