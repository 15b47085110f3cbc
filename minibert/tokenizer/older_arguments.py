"""Arguments and two methods that tutorials for transformers 2.x to 4.x use, and its present BertTokenizer lacks.

All of them are in this file.  An older argument with the meaning of a present one is accepted; any other is refused
with the reason.  Start with ``RENAMED``.  Other methods that transformers has dropped are not here either.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from minibert.errors import TokenizerError
from minibert.tokenizer.batch_encoding import BatchEncoding
from minibert.tokenizer.request import check_switch

# Arguments of a call: the older name, and the present one that takes its value.
RENAMED = {
    "is_pretokenized": "is_split_into_words",
    "truncation_strategy": "truncation",
    "return_attention_masks": "return_attention_mask",
    "return_special_tokens_masks": "return_special_tokens_mask",
    "return_input_lengths": "return_length",
    "return_lengths": "return_length",
}
_BYTES = "it belongs to byte-level tokenizers, and BERT's words have no space in front"
REFUSED = {
    "add_prefix_space": _BYTES,
    "trim_offsets": _BYTES,
    "tokenizer_kwargs": "give the arguments by name instead",
    "boxes": "it belongs to LayoutLM",
    "word_labels": "it belongs to LayoutLM",
    "add_bos_token": "BERT's rows begin with [CLS]",
    "add_eos_token": "BERT's rows end with [SEP]",
    "tokenizer_file": "give the file itself: BertTokenizer.from_pretrained('tokenizer.json')",
    "tokenizer_object": "save it as tokenizer.json and load that file",
    "mecab_kwargs": "words are cut at spaces and punctuation here",
    "word_tokenizer_type": "words are cut at spaces and punctuation here",
    "subword_tokenizer_type": "words are spelled in WordPiece here",
    "trust_remote_code": "minibert runs no code of a checkpoint",
    "chat_template": "BERT has no chat",
    "wordpieces_prefix": "pieces inside a word begin with '##' here",
    "do_word_tokenize": "words are always cut here; tokenize them yourself and pass is_split_into_words=True",
    "return_dict": "a call always returns a dictionary; encode() returns the ids alone",
    "filename_prefix": "save_pretrained writes the names that from_pretrained looks for",
    "push_to_hub": "minibert writes to no hub",
    "legacy_format": "one format is written, which old and new releases read",
}
# These do not change the result, in transformers either, and are ignored.
WITHOUT_EFFECT = frozenset({"use_fast", "verbose", "tokenizer_type", "_from_auto", "backend", "files_loaded"})
WITHOUT_EFFECT |= {"use_source_tokenizer", "clean_text", "special_tokens_map_file", "processor_class", "config"}


def refuse(method: str, unknown: Mapping[str, Any], known: Collection[str]) -> None:
    """TokenizerError for the first of ``unknown`` that has an effect: why it is refused, or what may be meant."""
    for name, value in unknown.items():
        if name in WITHOUT_EFFECT and (name != "clean_text" or value is True):
            continue
        if name in REFUSED:
            raise TokenizerError(f"{method} takes no {name}=: {REFUSED[name]}.")
        near = get_close_matches(name, known, 1)
        hint = f" Do you mean {near[0]}=?" if near else f" It takes {', '.join(known)}."
        raise TokenizerError(f"{method} takes no {name}=.{hint}")


def renamed(older: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    """The arguments ``call`` with the values of ``older`` ones; TokenizerError for those that are refused.

    ``pad_to_max_length=True`` with a ``max_length`` has always truncated, too.
    """
    if check_switch("pad_to_max_length", older.pop("pad_to_max_length", False)) and call["padding"] is False:
        if call["max_length"] is not None and call["truncation"] is None and "truncation_strategy" not in older:
            call["truncation"] = True
        call["padding"] = "max_length"
    for name, present in RENAMED.items():
        if name in older:
            call[present] = older.pop(name)
    refuse("A call of the tokenizer", older, call)
    return call


def encode_plus(
    self: Callable[..., BatchEncoding], text: Any, text_pair: Any = None, **arguments: Any
) -> BatchEncoding:
    """The older name of calling the tokenizer with one example."""
    return self(text, text_pair, **arguments)


def batch_encode_plus(
    self: Callable[..., BatchEncoding], batch_text_or_text_pairs: Any, **arguments: Any
) -> BatchEncoding:
    """The older name of calling the tokenizer with a batch of texts or of pairs."""
    batch = batch_text_or_text_pairs
    batch = batch.tolist() if hasattr(batch, "tolist") else batch
    if not isinstance(batch, Iterable) or isinstance(batch, str | bytes | Mapping):
        raise TokenizerError(f"batch_encode_plus takes a list of texts or of pairs, and got {batch!r:.80}.")
    return self(list(batch), **arguments)
