"""A WordPiece vocabulary from text, trained with the ``tokenizers`` library (the extra ``train``).

It begins with letters; then the most frequent pair of neighbouring pieces becomes a piece, again and again (Sennrich et
al. 2016, which the library trains under the name WordPiece; Google never published its own trainer).  Three things are
done here.  Words come from our own BasicTokenizer, so that BertTokenizer can produce every piece.  Rare letters are
left out, because an alphabet of Hanja and emoji would fill the vocabulary.  And the letters are numbered beforehand,
because the library numbers them in the order of a hash table and breaks ties by number, which gave another vocabulary
each time.  Counts of words and the library's trainer take memory for every different word, of which there are ever more
as a text grows; so only the most frequent ones are kept.  Start with :func:`train_vocabulary`.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

from minibert.errors import InputError, MissingExtraError
from minibert.tokenizer import characters
from minibert.tokenizer.basic import BasicTokenizer
from minibert.tokenizer.wordpiece import CONTINUATION, MAX_CHARACTERS_PER_WORD

logger = logging.getLogger("minibert.pretraining")
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
COVERAGE = 0.9995  # share of all letters in the text that the alphabet covers (sentencepiece's default)
REPEATED_TOGETHER = 1000  # repetitions of a word per string that the library gets
MOST_WORDS = 150_000  # different ones; the library takes about 0.8 KB for each


def train_vocabulary(
    texts: Iterable[str],
    size: int,
    *,
    lowercase: bool = False,
    strip_accents: bool | None = None,
    limit_alphabet: int | None = None,
    min_frequency: int = 2,
    most_words: int = MOST_WORDS,
) -> list[str]:
    """Train a vocabulary: its pieces in the order of their ids.

    Unless words are left out, the order of the texts does not matter.

    Args:
        texts: sentences, lines or whole documents; read once.
        size: number of pieces, special tokens included; fewer if the text does not yield as many.
        lowercase: BertTokenizer's ``do_lower_case``.  If off, capitals and accents stay, and Hangul is not decomposed.
        strip_accents: BertTokenizer's; None: as ``lowercase``.
        limit_alphabet: largest number of letters, the most frequent; None: as many as cover all but 5 in 10,000.
        min_frequency: least number of occurrences of a piece or a letter in the text.
        most_words: different words to learn from, the most frequent.  If the text has more, the others are left out,
            which is logged, and memory stays the same however long the text is.

    [PAD], [UNK], [CLS], [SEP] and [MASK] come first, then letters, letters inside words ("##e"), and longer pieces from
    frequent to rare.  Raises MissingExtraError without ``tokenizers``, InputError for a size without room for the
    letters, and for no text.
    """
    library = need_tokenizers()
    words, left_out = count_words(texts, BasicTokenizer(lowercase, strip_accents), most_words)
    if left_out:
        total = words.total() + left_out
        logger.info(
            "The vocabulary is learned from the %s most frequent words, which make up %.1f %% of the %s words of the "
            "text; the others are rare, and too many to keep in memory.",
            f"{len(words):,}", 100 * words.total() / total, f"{total:,}",
        )  # fmt: skip
    alphabet = frequent_letters(words, limit_alphabet, min_frequency)
    spelled = {word: count for word, count in words.items() if alphabet.issuperset(word)}
    fixed = [*SPECIAL_TOKENS, *sorted(alphabet), *letters_inside(spelled)]
    if size < len(fixed):
        raise InputError(
            f"A vocabulary of {size} has no room for the {len(SPECIAL_TOKENS)} special tokens and the "
            f"{len(fixed) - len(SPECIAL_TOKENS)} letters of this text, at the beginning of words and inside them. Ask "
            f"for at least {len(fixed)} pieces, or for fewer letters (limit_alphabet)."
        )
    tokenizer = library.Tokenizer(library.models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = library.pre_tokenizers.CharDelimiterSplit(" ")
    # The trainer's special_tokens only means that these come first and in this order.
    trainer = library.trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=min_frequency, special_tokens=fixed, show_progress=False
    )
    tokenizer.train_from_iterator(repeated(spelled), trainer)
    ids = tokenizer.get_vocab(with_added_tokens=False)
    return sorted(ids, key=ids.__getitem__)


def need_tokenizers() -> Any:
    """The module tokenizers.  Raises MissingExtraError when it is not installed."""
    try:
        import tokenizers
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError as error:
        raise MissingExtraError.of("tokenizers is not installed; to train a vocabulary", "train") from error
    return tokenizers


def count_words(texts: Iterable[str], basic: BasicTokenizer, most: int = MOST_WORDS) -> tuple[Counter[str], int]:
    """The counts of the ``most`` frequent words of ``texts``, and how many occurrences of others were left out.

    Words are what ``basic`` splits, without those so long that they become [UNK].  No rule of ``basic`` looks across
    white space, so each string between spaces is split only once.  Where there are too many different words, the rare
    ones are dropped now and then (Manku and Motwani 2002, lossy counting): of those that are kept, a few rare ones then
    have too low a count.
    """
    stretches: Counter[str] = Counter()
    words: Counter[str] = Counter()
    left_out = 0
    for text in tqdm(texts, desc="counting words", unit=" texts", leave=False, disable=None):
        stretches.update(characters.WHITESPACE.split(text))
        if len(stretches) > most:
            left_out += split_words(stretches, rarer_than(stretches, len(stretches) // 2), words, basic, most)
    left_out += split_words(stretches, list(stretches), words, basic, most)
    if len(words) > most:
        ranked = sorted(words, key=lambda word: (-words[word], word))
        left_out += sum(words.pop(word) for word in ranked[most:])
    return words, left_out


def split_words(
    stretches: Counter[str], chosen: list[str], words: Counter[str], basic: BasicTokenizer, most: int
) -> int:
    """Move ``chosen`` stretches into ``words``; returns how many occurrences of words were dropped."""
    dropped = 0
    for stretch in tqdm(chosen, desc="splitting words", unit=" words", leave=False, disable=None):
        count = stretches.pop(stretch)
        for word in basic.tokenize(stretch):
            if len(word) <= MAX_CHARACTERS_PER_WORD:
                words[word] += count
        if len(words) > 2 * most:
            dropped += sum(words.pop(word) for word in rarer_than(words, most))
    return dropped


def rarer_than(counts: Counter[str], place: int) -> list[str]:
    """The strings that are at most as frequent as the one at that place, from the most frequent at 0."""
    limit = sorted(counts.values(), reverse=True)[place]
    return [string for string, count in counts.items() if count <= limit]


def frequent_letters(words: Counter[str], limit: int | None, min_frequency: int) -> set[str]:
    """The most frequent letters, which become pieces; of two with the same frequency, the first in Unicode.

    Raises InputError when there are none.
    """
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            counts[letter] += count
    ranked = sorted((letter for letter in counts if counts[letter] >= min_frequency), key=lambda c: (-counts[c], c))
    if not ranked:
        raise InputError(f"There is no text to train a vocabulary on: no letter occurs {min_frequency} times.")
    if limit is not None:
        return set(ranked[:limit])
    goal, covered, alphabet = COVERAGE * counts.total(), 0, set()
    for letter in ranked:
        if covered >= goal:
            break
        alphabet.add(letter)
        covered += counts[letter]
    return alphabet


def letters_inside(words: Iterable[str]) -> list[str]:
    """The letters inside words, with "##"; punctuation and ideographs are words by themselves, so not among them."""
    return sorted({CONTINUATION + letter for word in words for letter in word[1:]})


def repeated(words: dict[str, int]) -> Iterator[str]:
    """Each word as often as it was counted, with spaces between, because the library counts words itself."""
    for word, count in words.items():
        for start in range(0, count, REPEATED_TOGETHER):
            yield " ".join([word] * min(REPEATED_TOGETHER, count - start))
