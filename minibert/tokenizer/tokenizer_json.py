"""tokenizer.json: the ``tokenizers`` library's description of a whole pipeline, written from ours.

One function, so that what minibert saves loads there to the identical tokenizer; files.py reads the other way.
"""

from collections.abc import Mapping
from typing import Any

from minibert.tokenizer.added_tokens import AddedToken
from minibert.tokenizer.basic import BasicTokenizer
from minibert.tokenizer.layout import Frame
from minibert.tokenizer.wordpiece import CONTINUATION, MAX_CHARACTERS_PER_WORD


def pipeline_description(
    vocab: Mapping[str, int], unk_token: str, added: Mapping[int, AddedToken], basic: BasicTokenizer, frame: Frame
) -> dict[str, Any]:
    """The content of tokenizer.json, without stored truncation or padding."""

    def special(token: str, type_id: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": type_id}}

    def sequence(name: str, type_id: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": type_id}}

    (cls_id, cls), (sep_id, sep) = frame.cls, frame.sep
    single = [special(cls, 0), sequence("A", 0), special(sep, 0)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": token_id, **token.to_json()} for token_id, token in sorted(added.items())],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": basic.tokenize_chinese_chars,
            "strip_accents": basic.strip_accents,
            "lowercase": basic.do_lower_case,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, sequence("B", 1), special(sep, 1)],
            "special_tokens": {
                token: {"id": token, "ids": [token_id], "tokens": [token]}
                for token, token_id in ((cls, cls_id), (sep, sep_id))
            },
        },
        "decoder": {"type": "WordPiece", "prefix": CONTINUATION, "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": unk_token,
            "continuing_subword_prefix": CONTINUATION,
            "max_input_chars_per_word": MAX_CHARACTERS_PER_WORD,
            "vocab": dict(sorted(vocab.items(), key=lambda item: item[1])),
        },
    }
