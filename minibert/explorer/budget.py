"""How much of a walk fits into a page: all of it, or less, and what is said about what is missing.

bert-base computes 30 MB of numbers for 32 tokens.  A page keeps the vectors a reader steps through, not what follows
from two of them by adding; a longer text has the beginning of each vector, then no scores, then fewer tokens.
"""

from dataclasses import dataclass

from minibert.config import BertConfig
from minibert.explorer.numbers import packed_size
from minibert.explorer.steps import EMBEDDINGS, stored

BEGINNING = 8  # numbers of each head, where a vector is not shown whole
HIGHEST = 16  # neurons of the feed-forward network, the strongest of each token
SENTENCE_LIMIT = 128  # tokens; beyond, sensitivity maps take minutes: they are asked for explicitly


@dataclass(frozen=True)
class Detail:
    """What of a walk goes into the page."""

    tokens: int  # the first so many
    numbers: int  # of a vector of H: H, or BEGINNING a head
    scores: bool

    def sentences(self, config: BertConfig, length: int) -> list[str]:
        """What is left out, for the reader of the page."""
        said = [
            f"Of the {config.intermediate_size} neurons of each feed-forward network, the {HIGHEST} strongest of each "
            "token are kept.",
            "Residual sums are added up in the page from the two parts that are kept.",
        ]
        if self.numbers < config.hidden_size:
            width = self.numbers // config.num_attention_heads
            said.append(
                f"Of each vector the first {self.numbers} of {config.hidden_size} numbers are kept "
                f"(of each head {width}); norm, mean and spread are those of the whole vector."
            )
        if not self.scores:
            said.append("Scores are left out; the probabilities, their softmax, are here.")
        if self.tokens < length:
            said.append(f"The model read all {length} tokens; numbers are kept for the first {self.tokens}.")
        return said


def choose_detail(config: BertConfig, length: int, limit: int) -> Detail:
    """The most that fits into ``limit`` letters for a text of ``length`` tokens; at least two tokens."""
    whole, abridged = config.hidden_size, min(config.hidden_size, BEGINNING * config.num_attention_heads)
    for detail in (Detail(length, whole, True), Detail(length, abridged, True), Detail(length, abridged, False)):
        if size_of(config, detail) <= limit:
            return detail
    tokens = length
    while tokens > 2 and size_of(config, Detail(tokens, abridged, False)) > limit:
        tokens -= 1
    return Detail(tokens, abridged, False)


def size_of(config: BertConfig, detail: Detail) -> int:
    """Letters of a page that a walk takes, near enough."""
    L, N, T = config.num_hidden_layers, config.num_attention_heads, detail.tokens
    alone, in_layers, sums = len(EMBEDDINGS) + L + 1, len(stored("head", "vector")), len(stored("sum"))
    vectors = (alone + in_layers * L) * T * detail.numbers
    maps = L * N * T * T * (2 if detail.scores else 1) + (L + 1 + 2 * L) * T * T
    statistics = 2 * (alone + (in_layers + sums) * L) * T * 3  # float32, which is two of float16
    neurons = L * T * HIGHEST * 3
    pieces = 2 * (L + 1) * T * 5 * 15  # what each layer would predict, the token masked or not: text and numbers
    return packed_size(vectors + maps + statistics + neurons) + pieces
