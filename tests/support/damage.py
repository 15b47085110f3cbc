"""What happens to a file on a bad disk or under a careless hand: one bit flipped, or the end lost."""

import random


def damaged(content: bytes, draw: random.Random) -> bytes:
    """``content`` with one bit flipped, one time in six cut instead; never as it was."""
    if draw.random() < 1 / 6:
        return content[: draw.randrange(len(content))]
    flipped = bytearray(content)
    flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(flipped)
