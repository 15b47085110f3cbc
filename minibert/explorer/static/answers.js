// Who answers the page's three questions: runs of new texts, runs with edits, sensitivity maps.  The server answers
// (ask_server.js), or the engine in this page (ask_engine.js); nothing else in the page knows which of the two.

import { openEngine } from "./ask_engine.js";
import { askServer } from "./ask_server.js";

let asked = askServer;

// Make the engine ready, in a page that has one.
export async function openAnswers({ engine, palette, model }) {
  if (!engine) return;
  asked = await openEngine({ ...engine, palette, model });
}

// name: "runs", "edits" or "sensitivity".  A newer request replaces an older one, which then fails with Replaced.
//   signal: of an AbortController; the computation ends, too.
//   progress: called with {done, total}, where that is known.
//   later: called when parts of the answer were added to it: what takes long may follow.
export function ask(name, request, options) {
  return asked(name, request, options);
}
