"""A WordPiece vocabulary from text, trained with the ``tokenizers`` library (the extra ``train``).

Letters first; then, again and again, the two neighbours that stand together most often become one piece (Sennrich et
al. 2016, which is what the library trains under the name WordPiece; Google never published its own trainer).  Three
things are done here and not left to it.  Words come from our own BasicTokenizer, so that every piece is one that
BertTokenizer can produce.  Rare letters are left out, since an alphabet of Hanja and emoji would fill the vocabulary.
And the letters get their numbers beforehand, since the library numbers them in the order of a hash table and breaks
ties by number: the same text then gave another vocabulary each time.  Start with :func:`train_vocabulary`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

from minibert.errors import InputError, MissingExtraError
from minibert.tokenizer import characters
from minibert.tokenizer.basic import BasicTokenizer
from minibert.tokenizer.wordpiece import CONTINUATION, MAX_CHARACTERS_PER_WORD

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
COVERAGE = 0.9995  # share of all letters that the alphabet makes up (sentencepiece's default); the others give [UNK]
REPEATED_TOGETHER = 1000  # words are handed to the library one by one; so many of the same at once


def train_vocabulary(
    texts: Iterable[str],
    size: int,
    *,
    lowercase: bool = False,
    strip_accents: bool | None = None,
    limit_alphabet: int | None = None,
    min_frequency: int = 2,
) -> list[str]:
    """The pieces of a vocabulary, in the order of their ids; a function of the texts alone, not of their order.

    Args:
        texts: sentences, lines or whole documents; read once.
        size: how many pieces, the special tokens included; fewer when the text does not yield as many.
        lowercase: as BertTokenizer's ``do_lower_case``.  Off, capitals and accents stay, and Hangul is not taken apart.
        strip_accents: as BertTokenizer's; None: as ``lowercase`` says.
        limit_alphabet: at most so many letters, the most frequent; None: as many as make up all but 5 in 10,000.
        min_frequency: a piece of several letters stands at least so often in the text, and so does a letter.

    [PAD], [UNK], [CLS], [SEP] and [MASK] come first, then letters, letters inside words ("##e"), and longer pieces from
    frequent to rare.  Raises MissingExtraError without ``tokenizers``, InputError for a size without room for the
    letters, or when there is no text.
    """
    library = need_tokenizers()
    words = count_words(texts, BasicTokenizer(lowercase, strip_accents))
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
    # What it takes for special tokens only means that they come first and in this order.
    trainer = library.trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=min_frequency, special_tokens=fixed, show_progress=False
    )
    tokenizer.train_from_iterator(repeated(spelled), trainer)
    ids = tokenizer.get_vocab(with_added_tokens=False)
    return sorted(ids, key=ids.__getitem__)


def need_tokenizers() -> Any:
    """The module tokenizers; MissingExtraError when it is not installed."""
    try:
        import tokenizers
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError as error:
        raise MissingExtraError.of("tokenizers is not installed; to train a vocabulary", "train") from error
    return tokenizers


def count_words(texts: Iterable[str], basic: BasicTokenizer) -> Counter[str]:
    """How often each word of ``texts`` stands there, as ``basic`` splits them, without those that become [UNK] anyway.

    No rule looks across white space, so each stretch between spaces is split once, however often it occurs.
    """
    stretches: Counter[str] = Counter()
    for text in tqdm(texts, desc="counting words", unit=" texts", leave=False, disable=None):
        stretches.update(characters.WHITESPACE.split(text))
    words: Counter[str] = Counter()
    for stretch, count in tqdm(stretches.items(), desc="splitting words", unit=" words", leave=False, disable=None):
        for word in basic.tokenize(stretch):
            if len(word) <= MAX_CHARACTERS_PER_WORD:
                words[word] += count
    return words


def frequent_letters(words: Counter[str], limit: int | None, min_frequency: int) -> set[str]:
    """The letters that are pieces by themselves: the most frequent; of two that are as frequent, the first in Unicode.

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
    wanted, covered, alphabet = COVERAGE * counts.total(), 0, set()
    for letter in ranked:
        if covered >= wanted:
            break
        alphabet.add(letter)
        covered += counts[letter]
    return alphabet


def letters_inside(words: Iterable[str]) -> list[str]:
    """The letters that words go on with, "##" in front: no punctuation and no ideographs, which stand alone."""
    return sorted({CONTINUATION + letter for word in words for letter in word[1:]})


def repeated(words: dict[str, int]) -> Iterator[str]:
    """Each word as often as it was counted, spaces between: the library counts for itself."""
    for word, count in words.items():
        for start in range(0, count, REPEATED_TOGETHER):
            yield " ".join([word] * min(REPEATED_TOGETHER, count - start))
