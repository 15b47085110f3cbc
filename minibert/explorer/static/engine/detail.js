// How much of a run an answer holds: explorer/packing.py's DetailLevel once more.  Longer texts keep the beginning of
// each vector, then no scores, then fewer tokens.

// The most detail that fits into `limit` characters for a text of `length` tokens; at least two tokens.
//   model: the page's description.  Returns {tokens, numbers, scores}.
export function chooseDetail({ model, limits }, length, limit) {
  const whole = model.hidden,
    abridged = Math.min(model.hidden, limits.per_head * model.heads);
  for (const numbers of [whole, abridged]) {
    const detail = { tokens: length, numbers, scores: true };
    if (sizeOf(model, limits, detail) <= limit) return detail;
  }
  const detail = { tokens: length, numbers: abridged, scores: false };
  while (detail.tokens > 2 && sizeOf(model, limits, detail) > limit) detail.tokens -= 1;
  return detail;
}

// The characters that a run takes as float16 in base64, approximately.
function sizeOf(model, limits, { tokens: T, numbers, scores }) {
  const { layers: L, heads: N } = model,
    count = (...kinds) => model.steps.filter(({ kind }) => kinds.includes(kind)).length,
    outside = limits.embeddings + L + 1,
    sums = count("sum");
  const vectors = (outside + count("head", "vector") * L) * T * numbers,
    maps = L * N * T * T * (scores ? 2 : 1) + (L + 1 + 2 * L) * T * T,
    statistics = 2 * (outside + (count("head", "vector") + sums) * L) * T * 3,
    neurons = L * T * limits.neurons * 3,
    predicted = 2 * (L + 1) * T * 5 * 15;
  return Math.ceil(((vectors + maps + statistics + neurons) * 2) / 3) * 4 + predicted;
}

// Sentences about what is left out of a run, as keys of the page's words.
export function omissions({ model, limits }, detail, length) {
  const said = [
    { key: "omitted.neurons", places: { all: model.intermediate, kept: limits.neurons } },
    { key: "omitted.sums", places: {} },
  ];
  if (detail.numbers < model.hidden) {
    const per_head = Math.floor(detail.numbers / model.heads);
    said.push({ key: "omitted.numbers", places: { numbers: detail.numbers, hidden: model.hidden, per_head } });
  }
  if (!detail.scores) said.push({ key: "omitted.scores", places: {} });
  if (detail.tokens < length) said.push({ key: "omitted.tokens", places: { length, tokens: detail.tokens } });
  return said;
}
