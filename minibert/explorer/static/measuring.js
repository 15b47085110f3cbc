// Sensitivity maps take many runs, so they are asked for only when their view is open, with the progress in view and a
// button that stops them.

import { ask } from "./answers.js";
import { el, note } from "./dom.js";
import { Replaced } from "./replaced.js";
import { currentRun, refresh, state } from "./state.js";
import { phrase } from "./words.js";

let measured = null; // what is being computed: {run, controller, done, total}

// Ask for the maps of the current text, unless they are there or asked for.
export async function askMaps(heads, failed) {
  const run = currentRun();
  if (state.view !== "sensitivity" || run.sensitivity || measured?.run === run) return;
  const own = (measured = { run, controller: new AbortController(), done: 0, total: 0 });
  const request = { text: run.text, masked: run.masked, heads };
  const progress = (told) => {
    Object.assign(own, told);
    showProgress(document.querySelector(".measuring"));
  };
  try {
    run.sensitivity = await ask("sensitivity", request, { signal: own.controller.signal, progress });
  } catch (error) {
    if (error.name === "AbortError") run.sensitivity = own.forgotten ? undefined : { stopped: true };
    else if (!(error instanceof Replaced)) {
      run.sensitivity = { reason: error.said ?? error.message };
      failed(error);
    }
  }
  if (measured === own) measured = null;
  refresh();
}

// The maps of all texts are those of other heads than are ablated now.
export function forgetMaps(runs) {
  for (const run of runs) delete run.sensitivity;
  if (!measured) return;
  measured.forgotten = true;
  measured.controller.abort();
  measured = null;
}

// In place of maps that are not there: how far they are, or a button that begins.
export function mapsToCome(run) {
  if (run.sensitivity?.stopped)
    return [
      note(phrase("sensitivity.stopped")),
      el(
        "button",
        {
          data: { key: "measure" },
          onclick: () => {
            delete run.sensitivity;
            refresh();
          },
        },
        phrase("sensitivity.begin"),
      ),
    ];
  const bar = el("progress", { max: 1, value: 0, "aria-label": phrase("sensitivity.waiting") });
  const stop = el(
    "button",
    { data: { key: "stop" }, onclick: () => measured?.controller.abort() },
    phrase("sensitivity.stop"),
  );
  const node = el("div", { class: "measuring" }, note(phrase("sensitivity.waiting")), bar, " ", stop);
  showProgress(node);
  return [node];
}

function showProgress(node) {
  if (!node || !measured?.total) return;
  const { done, total } = measured;
  node.querySelector("progress").value = done / total;
  node.querySelector(".note").textContent = phrase("sensitivity.progress", { done, total });
}
