// The first moments of a page that computes: it opens the model, runs it on the first texts, and says so meanwhile.

import { ask, openAnswers } from "./answers.js";
import { el } from "./dom.js";
import { refreshFollowed } from "./state.js";
import { phrase } from "./words.js";

// opened: the page's own content, {model, texts, engine, …}.  Returns the content with the first runs.
export async function firstAnswer(opened) {
  const said = el("p", { class: "opening", role: "status" });
  document.getElementById("page").replaceChildren(said);
  try {
    said.textContent = phrase("opening.model", { name: opened.model.name });
    await openAnswers(opened);
    said.textContent = phrase("opening.run");
    return await ask("runs", { texts: opened.texts }, { later: refreshFollowed });
  } catch (error) {
    said.textContent = phrase("opening.failed", { error: error.message });
    throw error;
  }
}
