"""What each hidden state would predict, as tables for the terminal."""

from minibert.lens.logit_lens import STATE, LogitLens
from minibert.terminal import drawing_width, table, visible, width
from minibert.tokenizer import BertTokenizer


def what_is_seen(tokens: list[str], mask_token: str | None, token: int | None) -> str:
    """Which tokens are masked: at all others the model sees the piece that it predicts."""
    hidden = [number for number, piece in enumerate(tokens) if piece == mask_token]
    if token is not None:
        seen = "is masked" if token in hidden else "is visible to the model, which sees what it predicts"
        return f"token {token}, {visible(tokens[token])}, {seen}"
    if not hidden:
        return f"every token is visible to the model, which sees what it predicts; {mask_token} masks one"
    listed = ", ".join(map(str, hidden))
    return f"masked: token {listed}; the model sees all other tokens, and predicts what it sees"


def guesses_table(found: LogitLens, token: int, tokenizer: BertTokenizer) -> str:
    """A row per hidden state: its predictions at one position, and the rank of the last hidden state's prediction."""
    last = visible(str(tokenizer.convert_ids_to_tokens([int(found.target_ids[token])])[0]))
    headers = (STATE, "predictions", f"{last}: rank", "probability")
    rows = []
    for state, (ids, chances) in enumerate(
        zip(found.ids[:, token].tolist(), found.probabilities[:, token].tolist(), strict=True)
    ):
        pieces = zip(tokenizer.convert_ids_to_tokens(ids), chances, strict=True)
        guesses = "  ".join(f"{piece} {chance:.3f}" for piece, chance in pieces)
        rank, chance = int(found.target_ranks[state, token]), found.target_probabilities[state, token].item()
        rows.append((state, guesses, rank, f"{chance:.4f}"))
    return table(headers, rows, right=(STATE, *headers[2:]))


def likeliest_table(found: LogitLens, tokens: list[str], tokenizer: BertTokenizer) -> str:
    """The likeliest piece per hidden state (row) and token (column), in blocks as wide as the terminal."""
    pieces = [tokenizer.convert_ids_to_tokens(row) for row in found.ids[:, :, 0].tolist()]  # L + 1 of T
    columns, columns_of = drawing_width(), []
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
