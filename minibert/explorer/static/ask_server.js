// The server's answers (minibert explore --serve).  It drops an older request of the same page by itself.

import { Replaced } from "./replaced.js";
import { Refusal } from "./words.js";

const PROGRESS_EVERY = 400; // milliseconds
const pageName = Array.from(crypto.getRandomValues(new Uint32Array(3))).join("-");

export async function askServer(name, request, { signal, progress } = {}) {
  const timer = progress && setInterval(() => askProgress(progress, signal), PROGRESS_EVERY);
  try {
    return await post(name, request, signal);
  } finally {
    clearInterval(timer);
  }
}

async function post(path, request, signal) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...request, page: pageName }),
    signal,
  }).catch((error) => {
    throw error.name === "AbortError" ? error : new Refusal({ key: "error.unreachable" });
  });
  const answer = await response.json();
  if (response.status === 409) throw new Replaced();
  if (!response.ok) throw new Refusal(refusal(answer, response.status));
  return answer;
}

// How far the maps of this page are; where that cannot be told, nothing is said.
async function askProgress(progress, signal) {
  const told = await post("progress", {}, signal).catch(() => null);
  if (told?.total && !signal?.aborted) progress(told);
}

// What the server says, as a sentence of the page where the page knows it.
function refusal(answer, status) {
  if (answer.sentence) return answer.sentence;
  return answer.error
    ? { key: "error.other", places: { sentence: answer.error } }
    : { key: "error.status", places: { status } };
}
