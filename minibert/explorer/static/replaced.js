// A newer request replaces an older one of the same page: the answer to the older is not needed any more.

export class Replaced extends Error {}

// As in explorer/request_queue.py: a new text replaces the sensitivity maps of the old one, an edit does not.
export const REPLACES = {
  runs: ["runs", "edits", "sensitivity"],
  edits: ["runs", "edits"],
  sensitivity: ["sensitivity"],
};
