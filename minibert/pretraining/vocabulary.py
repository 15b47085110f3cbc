"""A WordPiece vocabulary from text, trained with the ``tokenizers`` library (the extra ``train``).

It begins with letters; then the most frequent pair of neighbouring pieces becomes a piece, again and again (Sennrich et
al. 2016, which the library trains under the name WordPiece; Google never published its own trainer).  Three things are
done here.  Words come from our own BasicTokenizer, so that BertTokenizer can produce every piece.  Rare letters are
left out, because an alphabet of Hanja and emoji would fill the vocabulary.  And the letters are numbered beforehand,
because the library numbers them in the order of a hash table and breaks ties by number, which gave another vocabulary
each time.  Start with :func:`train_vocabulary`.
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
COVERAGE = 0.9995  # share of all letters in the text that the alphabet covers (sentencepiece's default)
REPEATED_TOGETHER = 1000  # repetitions of a word per string that the library gets


def train_vocabulary(
    texts: Iterable[str],
    size: int,
    *,
    lowercase: bool = False,
    strip_accents: bool | None = None,
    limit_alphabet: int | None = None,
    min_frequency: int = 2,
) -> list[str]:
    """Train a vocabulary: its pieces in the order of their ids.  The order of the texts does not matter.

    Args:
        texts: sentences, lines or whole documents; read once.
        size: number of pieces, special tokens included; fewer if the text does not yield as many.
        lowercase: BertTokenizer's ``do_lower_case``.  If off, capitals and accents stay, and Hangul is not decomposed.
        strip_accents: BertTokenizer's; None: as ``lowercase``.
        limit_alphabet: largest number of letters, the most frequent; None: as many as cover all but 5 in 10,000.
        min_frequency: least number of occurrences of a piece or a letter in the text.

    [PAD], [UNK], [CLS], [SEP] and [MASK] come first, then letters, letters inside words ("##e"), and longer pieces from
    frequent to rare.  Raises MissingExtraError without ``tokenizers``, InputError for a size without room for the
    letters, and for no text.
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


def count_words(texts: Iterable[str], basic: BasicTokenizer) -> Counter[str]:
    """The count of each word of ``texts``, as ``basic`` splits them, without words so long that they become [UNK].

    No rule of ``basic`` looks across white space, so each string between spaces is split only once.
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
