"""Checks that the class name, the settings and the vocabulary of a tokenizer agree with each other.

A folder may name a class that splits words by other means (MeCab), hold a vocabulary that is not WordPiece, or
lower-case text for a vocabulary with capitals.  Each of these loads, and then most words become [UNK] or other pieces
than in training.  What cannot be right is refused.  What may be meant is a warning that names the argument to pass;
whoever passes that argument gets no warning.  Vocabularies are sampled, so that loading stays fast.
"""

import logging
from collections.abc import Callable, Mapping, Set
from itertools import islice
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from minibert.errors import TokenizerError
from minibert.tokenizer import characters
from minibert.tokenizer.basic import AlignedText, BasicTokenizer, decompose, drop_accents
from minibert.tokenizer.wordpiece import CONTINUATION

logger = logging.getLogger(__name__)

SMALLEST = 1000  # tokens; a smaller vocabulary is an example or a test, and shows nothing about a language
SAMPLE = 1000  # pieces that are checked
OTHER_KIND = 0.05  # of the pieces: if more carry another tokenizer's mark, it is that tokenizer's vocabulary
UNREACHABLE = 0.01  # of the pieces; 0.03 % in bert-base-uncased, 33 % in bert-base-cased with lower-casing

# These split words at spaces and punctuation and then use WordPiece, with the settings that the files give.
SAME_CLASSES = frozenset(
    {"BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer", "ConvBertTokenizer"}
    | {"SqueezeBertTokenizer", "RetriBertTokenizer", "LxmertTokenizer", "LayoutLMTokenizer", "RealmTokenizer"}
    | {"DPRQuestionEncoderTokenizer", "DPRContextEncoderTokenizer", "DPRReaderTokenizer", "SplinterTokenizer"}
    | {"PreTrainedTokenizer", "TokenizersBackend"}  # tokenizer.json says which, and is read
)
OTHER_CLASSES = {
    "BertJapaneseTokenizer": "MeCab cuts its words",
    "HerbertTokenizer": "its vocabulary is byte-pair encoding",
    "BertweetTokenizer": "its vocabulary is byte-pair encoding",
    "PhobertTokenizer": "its vocabulary is byte-pair encoding",
    "KoBertTokenizer": "its vocabulary is SentencePiece",
    "KoBERTTokenizer": "its vocabulary is SentencePiece",
    "BertGenerationTokenizer": "its vocabulary is SentencePiece",
    "AlbertTokenizer": "its vocabulary is SentencePiece",
    "BigBirdTokenizer": "its vocabulary is SentencePiece",
    "CamembertTokenizer": "its vocabulary is SentencePiece",
    "DebertaV2Tokenizer": "its vocabulary is SentencePiece",
    "T5Tokenizer": "its vocabulary is SentencePiece",
    "XLMRobertaTokenizer": "its vocabulary is SentencePiece",
    "XLNetTokenizer": "its vocabulary is SentencePiece",
    "RobertaTokenizer": "its vocabulary is byte-pair encoding",
    "GPT2Tokenizer": "its vocabulary is byte-pair encoding",
    "DebertaTokenizer": "its vocabulary is byte-pair encoding",
    "LongformerTokenizer": "its vocabulary is byte-pair encoding",
    "RoFormerTokenizer": "jieba cuts its words",
    "CanineTokenizer": "it has no vocabulary",
}
ADVICE = "if you know that its words are cut as BERT's, pass tokenizer_class='BertTokenizer'."
MARKS = (("▁", "SentencePiece"), ("Ġ", "byte-level byte-pair encoding, as GPT-2's"))


def check_class(config: Mapping[str, Any], model_config: Mapping[str, Any], origin: str) -> None:
    """Compare the class that tokenizer_config.json, else config.json, names with the rules of this room.

    Raises TokenizerError for a class that splits words by other rules, and warns of an unknown one.
    """
    words = check_means(config, origin)
    class_name = config.get("tokenizer_class") or model_config.get("tokenizer_class")
    if class_name is None or (class_name == "BertJapaneseTokenizer" and words == "basic"):
        return
    name = class_name.removesuffix("Fast")
    if name in OTHER_CLASSES:
        raise TokenizerError(
            f"{origin}: the tokenizer's class is {class_name}; {OTHER_CLASSES[name]}, so plain BERT rules would give "
            "other ids than it was trained with. Tokenize with the library that made it and give the model its ids, "
            f"or, {ADVICE}"
        )
    if name not in SAME_CLASSES:
        logger.warning(
            "%s: the tokenizer's class is %s, which minibert does not know and reads as BERT's; %s",
            origin,
            class_name,
            ADVICE,
        )


def check_means(config: Mapping[str, Any], origin: str) -> str | None:
    """The program that cuts words, where the config names one; TokenizerError for other ones than BERT's."""
    words: str | None = config.get("word_tokenizer_type")
    pieces = config.get("subword_tokenizer_type")
    if words not in (None, "basic") or pieces not in (None, "wordpiece"):
        raise TokenizerError(
            f"{origin}: tokenizer_config.json cuts words with {words or 'basic'!r} and spells them with "
            f"{pieces or 'wordpiece'!r}; minibert has BERT's own rules ('basic', 'wordpiece') only. Tokenize with the "
            f"library that made it and give the model its ids, or, {ADVICE}"
        )
    return words


def check_older_settings(config: Mapping[str, Any], explicit: Set[str], origin: str) -> None:
    """Warn of settings in tokenizer_config.json that only the slow tokenizers of transformers up to 4.x honoured."""
    if config.get("do_basic_tokenize") is False and "do_basic_tokenize" not in explicit:
        logger.warning(
            "%s: do_basic_tokenize=False beside it is passed over, as transformers' fast tokenizers do: text is "
            "cleaned and cut into words. Pass do_basic_tokenize=True if that is meant.",
            origin,
        )
    if config.get("never_split") and "never_split" not in explicit:
        logger.warning(
            "%s: never_split=%r beside it is passed over, as transformers' fast tokenizers do. Pass never_split=… to "
            "keep these tokens whole, or never_split=[].",
            origin,
            config["never_split"],
        )


def check_size(size: int, model_config: Mapping[str, Any], origin: str) -> None:
    """Warn of tokens that have no row in the embedding table, whose size config.json gives."""
    rows = model_config.get("vocab_size")
    if type(rows) is int and 0 < rows < size:
        logger.warning(
            "%s: there are %d tokens, and config.json's vocab_size is %d: the model has no row for ids from %d. Call "
            "model.resize_token_embeddings(len(tokenizer)), or give the vocabulary that it was trained with.",
            origin,
            size,
            rows,
            rows,
        )


def check_pieces(vocab: Mapping[str, int], origin: str) -> None:
    """TokenizerError for a vocabulary with another tokenizer's marks; a warning where no piece has "##"."""
    if len(vocab) < SMALLEST:
        return
    sample = list(islice(vocab, 0, None, len(vocab) // SAMPLE or 1))
    for mark, kind in MARKS:
        marked = [token for token in sample if token.startswith(mark) and len(token) > 1]
        if len(marked) > OTHER_KIND * len(sample):
            raise TokenizerError(
                f"{origin} is not a WordPiece vocabulary: about {len(marked) / len(sample):.0%} of its tokens begin "
                f"with {mark!r}, such as {marked[0]!r}, which is how {kind} writes them. Load it with the library that "
                "made it, or give the model's own vocab.txt."
            )
    if not any(token.startswith(CONTINUATION) for token in sample) and not any(
        token.startswith(CONTINUATION) for token in vocab
    ):
        logger.warning(
            "%s holds no piece that continues a word (none begins with %r), so every word that is not in it whole "
            "becomes unknown. Check that it is a WordPiece vocabulary.",
            origin,
            CONTINUATION,
        )


def check_rules(vocab: Mapping[str, int], basic: BasicTokenizer, explicit: Set[str], origin: str) -> None:
    """Warn of rules under which pieces of ``vocab`` are never used, or with which it was not made.

    ``explicit`` names the arguments that the caller gave; these are not checked.
    """
    if len(vocab) < SMALLEST:
        return
    finding = None
    if "do_lower_case" not in explicit:
        finding = _case(vocab, basic.do_lower_case)
    if finding is None and "strip_accents" not in explicit:
        finding = _accents(vocab, basic.strips_accents)
    if finding is None and "tokenize_chinese_chars" not in explicit:
        finding = _chinese(vocab, basic.tokenize_chinese_chars)
    if finding is not None:
        argument, present, reason = finding
        logger.warning(
            "%s: %s. Pass %s=%s, or %s=%s if that is meant.", origin, reason, argument, not present, argument, present
        )


Finding = tuple[str, bool, str] | None  # argument, its present value, the reason against it


def _case(vocab: Mapping[str, int], lowers: bool) -> Finding:
    if lowers:
        share, example = _lost(vocab, characters.lowercase)
        if share > UNREACHABLE:
            reason = f"about {share:.0%} of its pieces hold capitals, such as {example!r}, and text is lower-cased"
            return "do_lower_case", True, f"{reason}, so they are never used"
    elif (
        all(c in vocab for c in ascii_lowercase)
        and not any(prefix + c in vocab for c in ascii_uppercase for prefix in ("", CONTINUATION))
        and _lost(vocab, characters.lowercase)[0] == 0
    ):
        return (
            "do_lower_case",
            False,
            "it holds a to z and no capitals, and text is not lower-cased: capitals are unknown",
        )
    return None


def _accents(vocab: Mapping[str, int], strips: bool) -> Finding:
    if strips:
        share, example = _lost(vocab, _without_accents)
        if share > UNREACHABLE:
            reason = f"about {share:.0%} of its pieces hold accents or Hangul syllables, such as {example!r}"
            return "strip_accents", True, f"{reason}, and text is decomposed and stripped of accents"
    elif "ᄀ" in vocab and CONTINUATION + "ᅡ" in vocab and "가" not in vocab:
        return (
            "strip_accents",
            False,
            "it spells Hangul in letters (jamo), and text keeps its syllables, which are unknown",
        )
    return None


def _without_accents(text: str) -> str:
    return text if text.isascii() else drop_accents(decompose(AlignedText.of(text))).text


def _chinese(vocab: Mapping[str, int], splits: bool) -> Finding:
    """Single ideographs after "##" are no evidence: Google's Chinese vocabulary has thousands that are never used."""
    sample = _sample(vocab)
    ideographs = [piece for piece in sample if not piece.isascii() and characters.CHINESE.search(piece)]
    several = [piece for piece in ideographs if len(piece) > 1]
    if splits and len(several) > UNREACHABLE * len(sample):
        reason = f"about {len(several) / len(sample):.0%} of its pieces hold several ideographs, such as {several[0]!r}"
        return "tokenize_chinese_chars", True, f"{reason}, and each is made a word of its own"
    alone = not splits and not several and len(ideographs) > OTHER_KIND * len(sample)
    if alone and not any(characters.CHINESE.search(token) for token in vocab if token.startswith(CONTINUATION)):
        reason = "it holds ideographs alone, and text keeps them together: words of several are unknown"
        return "tokenize_chinese_chars", False, reason
    return None


def _lost(vocab: Mapping[str, int], rule: Callable[[str], str]) -> tuple[float, str]:
    """The share of pieces that ``rule`` changes, so that no text can produce them, and an example."""
    sample = _sample(vocab)
    changed = [piece for piece in sample if rule(piece) != piece]
    return len(changed) / max(1, len(sample)), max(changed, key=len, default="")


def _sample(vocab: Mapping[str, int]) -> list[str]:
    """Evenly spaced pieces without their "##"; the rules do not apply to tokens in brackets."""
    tokens = islice(vocab, 0, None, len(vocab) // SAMPLE or 1)
    return [token.removeprefix(CONTINUATION) for token in tokens if not token.startswith(("[", "<"))]
