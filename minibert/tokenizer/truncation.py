"""Making a text, or a pair, fit a length: which tokens stay, and which windows the rest is cut into.

Google's run_classifier.py (``_truncate_seq_pair``) takes tokens from the longer of two texts; run_squad.py slides a
window of ``doc_stride`` over the second.  Both are here, with the exact arithmetic of the ``tokenizers`` library.
Look first at ``windows``; the first window is what the model sees, the others are the overflow.
"""

from minibert.errors import TokenizerError

STRATEGIES = ("longest_first", "only_first", "only_second", "do_not_truncate")

Window = tuple[int, int]


def windows(length: int, limit: int, stride: int, side: str) -> list[Window]:
    """Half-open windows of at most ``limit`` tokens, each sharing ``stride`` tokens with the one before.

    ``side`` is where tokens are cut off: "right" begins at the start of the text, "left" at its end.
    """
    if limit >= length:
        return [(0, length)]
    if limit == 0:
        return [(0, 0), (0, length)]  # nothing stays, and all of it is overflow
    if stride >= limit:
        raise TokenizerError(
            f"stride={stride} must be less than the {limit} tokens of this text that fit into max_length beside the "
            "special tokens and the other text: a window has to move on. Use a smaller stride or a larger max_length."
        )
    step = limit - stride
    if side == "right":
        return [(start, min(start + limit, length)) for start in range(0, length - stride, step)]
    return [(max(0, stop - limit), stop) for stop in range(length, stride, -step)]


def limits(first: int, second: int | None, room: int, strategy: str) -> tuple[int, int]:
    """How many tokens of each text stay when ``room`` are free; ``second`` is None for a single text."""
    total = first + (second or 0)
    if room == 0 and strategy != "do_not_truncate":
        return 0, 0
    if strategy == "do_not_truncate" or total <= room:
        return first, second or 0
    excess = total - room
    if strategy == "longest_first":
        return (room, 0) if second is None else _longest_first(first, second, room)
    if strategy == "only_second" and second is None:
        raise TokenizerError("truncation='only_second' needs a text_pair, and this example is a single text.")
    length = first if strategy == "only_first" else second or 0
    if length <= excess:
        raise TokenizerError(
            f"truncation={strategy!r} cannot remove {excess} tokens from a text of {length}: even without it the other "
            f"text leaves no room. Use truncation='longest_first' or a larger max_length."
        )
    return (first - excess, second or 0) if strategy == "only_first" else (first, (second or 0) - excess)


def _longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Cut the longer text down to the shorter, then share what is left; an odd token goes to the longer."""
    short, long = sorted((first, second))
    long = short if short > room else max(short, room - short)
    if short + long > room:
        short = room // 2
        long = short + room % 2
    return (long, short) if first > second else (short, long)
