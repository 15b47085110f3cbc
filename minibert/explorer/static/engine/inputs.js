// What a text must be for a model to read it; everything else is a sentence.

// {ids, segments, positions, mask} as arrays of T numbers, with the defaults filled in; mask is null where nothing is
// masked.
export function checkedInputs({ config }, { ids, segments, positions, mask }) {
  const T = ids?.length ?? 0,
    longest = config.max_position_embeddings;
  if (!T) throw new Error("There are no ids; a text has at least one token.");
  if (T > longest && !positions) throw new Error(`The text has ${T} tokens; this model reads ${longest} at most.`);
  const text = {
    ids: listed("ids", ids, T, config.vocab_size),
    segments: listed("segments", segments ?? new Array(T).fill(0), T, config.type_vocab_size ?? 2),
    positions: listed("positions", positions ?? Array.from({ length: T }, (_, t) => t), T, longest),
    mask: null,
  };
  if (mask && mask.length !== T) throw new Error(`There are ${mask.length} numbers in mask; expected ${T}, as of ids.`);
  if (mask && Array.from(mask).some((number) => !number)) text.mask = Array.from(mask);
  return text;
}

function listed(what, numbers, T, size) {
  const list = Array.from(numbers);
  if (list.length !== T) throw new Error(`There are ${list.length} ${what}; expected ${T}, as of ids.`);
  const outside = list.find((number) => !(Number.isInteger(number) && number >= 0 && number < size));
  if (outside !== undefined) throw new Error(`${outside} is in ${what}; this model has 0 to ${size - 1}.`);
  return list;
}
