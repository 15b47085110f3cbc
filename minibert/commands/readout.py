"""``minibert readout``: what each hidden state would predict, as a table of pieces."""

import argparse
import shutil
from typing import TYPE_CHECKING, Any

from minibert.commands.lens import add_one_text, load_inputs, number_from_0
from minibert.commands.verb import add_verb, positive, print_json
from minibert.errors import InputError
from minibert.terminal import table, visible, width

if TYPE_CHECKING:
    from minibert.lens.logit_lens import LogitLens
    from minibert.tokenizer import BertTokenizer


STATE = "hidden state"  # 0 is the embeddings, k the output of encoder.layer.(k - 1)


def add(verbs: Any) -> None:
    """``readout``."""
    verb = add_verb(verbs, "readout", readout, "show what each hidden state would predict, if it were the last")
    verb.description = (
        "Put the masked-language-modelling head on every hidden state (0 is the embeddings, k the output of layer "
        "k - 1) and show the likeliest piece at each position; with --token the likeliest few at one, with "
        "probabilities.  The head was trained for the last hidden state alone: what it reads in an early one is a hint."
    )
    add_one_text(verb)
    verb.add_argument("--token", type=number_from_0, metavar="T", help="the guesses at this token, from 0: [CLS]")
    verb.add_argument("-k", "--top-k", type=positive, default=5, metavar="K", help="how many guesses (default 5)")
    verb.epilog = 'example: minibert readout "She sat by the [MASK]." --token 5'


def readout(options: argparse.Namespace) -> int:
    """``minibert readout``."""
    from minibert.commands.verb import load_tokenizer
    from minibert.lens.logit_lens import logit_lens

    model, inputs, tokens = load_inputs(options)
    if options.token is not None and options.token >= len(tokens):
        raise InputError(f"There is no token {options.token}: this run has tokens 0 to {len(tokens) - 1}.")
    found = logit_lens(model, inputs, min(options.top_k, model.config.vocab_size))
    tokenizer = load_tokenizer(options.model)
    if options.json:
        pieces = [[tokenizer.convert_ids_to_tokens(row) for row in layer] for layer in found.ids.tolist()]
        print_json({"model": type(model).__name__, "tokens": tokens, "pieces": pieces, **found.to_dict()})
        return 0
    print(f"{type(model).__name__}, {len(tokens)} tokens: {' '.join(map(visible, tokens))}")
    print(f"{what_is_seen(tokens, tokenizer.mask_token, options.token)}\n")
    if options.token is None:
        print(_positions(found, tokens, tokenizer, shutil.get_terminal_size((100, 24)).columns))
    else:
        print(_guesses(found, options.token, tokenizer))
    return 0


def what_is_seen(tokens: list[str], mask_token: str | None, token: int | None) -> str:
    """Which guesses are of a hidden piece: everywhere else the model sees the piece that it is asked about."""
    hidden = [number for number, piece in enumerate(tokens) if piece == mask_token]
    if token is not None:
        seen = "is hidden from the model" if token in hidden else "is visible to the model: it reads what it guesses"
        return f"token {token}, {visible(tokens[token])}, {seen}"
    if not hidden:
        return f"every token is visible to the model: it reads what it guesses; {mask_token} hides one"
    listed = ", ".join(map(str, hidden))
    return f"hidden from the model: {mask_token} (token {listed}); all others it reads, and guesses what it reads"


def _guesses(found: "LogitLens", token: int, tokenizer: "BertTokenizer") -> str:
    """A row per hidden state: the guesses at one position, and how far the last hidden state's has come."""
    last = visible(str(tokenizer.convert_ids_to_tokens([int(found.target_ids[token])])[0]))
    headers = (STATE, "guesses", f"{last}: rank", "probability")
    rows = []
    for state, (ids, chances) in enumerate(
        zip(found.ids[:, token].tolist(), found.probabilities[:, token].tolist(), strict=True)
    ):
        pieces = zip(tokenizer.convert_ids_to_tokens(ids), chances, strict=True)
        guesses = "  ".join(f"{piece} {chance:.3f}" for piece, chance in pieces)
        rank, chance = int(found.target_ranks[state, token]), found.target_probabilities[state, token].item()
        rows.append((state, guesses, rank, f"{chance:.4f}"))
    return table(headers, rows, right=(STATE, *headers[2:]))


def _positions(found: "LogitLens", tokens: list[str], tokenizer: "BertTokenizer", columns: int) -> str:
    """A row per hidden state, a column per token: the likeliest piece; as many tokens side by side as there is room."""
    pieces = [tokenizer.convert_ids_to_tokens(row) for row in found.ids[:, :, 0].tolist()]  # L + 1 of T
    columns_of = []
    for number, token in enumerate(tokens):
        cells = [visible(str(row[number])) for row in pieces]
        header = f"{number} {visible(token)}"
        columns_of.append((header, cells, 2 + max(map(width, (header, *cells)))))
    blocks: list[str] = []
    start = 0
    while start < len(columns_of):
        end, taken = start, len(STATE)
        while end < len(columns_of) and (end == start or taken + columns_of[end][2] <= columns):
            taken += columns_of[end][2]
            end += 1
        headers = [STATE, *(header for header, _, _ in columns_of[start:end])]
        rows = [(state, *(cells[state] for _, cells, _ in columns_of[start:end])) for state in range(len(pieces))]
        blocks.append(table(headers, rows, right=(STATE,)))
        start = end
    return "\n\n".join(blocks)
