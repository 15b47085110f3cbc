"""LibraryTokenizer: a BertTokenizer whose pieces the ``tokenizers`` library makes.

Many BERTs for Korean, Japanese and several languages at once have a vocabulary of SentencePiece or of byte-pair
encoding, described by a tokenizer.json.  The library, an optional package, cuts the text; batches, rows, windows,
padding and everything else that a tokenizer does are those of the base class, so that the rest of minibert needs no
second way.  ``BertTokenizer.from_pretrained`` gives one where the pipeline is not BERT's own, as transformers'
AutoTokenizer does.  Start with :meth:`LibraryTokenizer.of_files`.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from minibert.errors import TokenizerError
from minibert.schema import check_settings
from minibert.source import Source
from minibert.tokenizer import agreement, older_arguments
from minibert.tokenizer.files import (
    CONFIG_FILE,
    CONFIG_SCHEMA,
    TOKENIZER_FILE,
    TokenizerFiles,
    config_of,
    load_settings,
    write_files,
)
from minibert.tokenizer.library_encoder import LibraryEncoder, LibraryVocabulary, load_library, parse
from minibert.tokenizer.post_processor import frame_of
from minibert.tokenizer.tokenizer import BertTokenizer
from minibert.tokenizer.vocabulary import SPECIAL_TOKEN_NAMES
from minibert.tokenizer.windows import Frame

DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(
        (*SPECIAL_TOKEN_NAMES, "extra_special_tokens", "additional_special_tokens", "added_tokens_decoder")
    ),
    "model_max_length": None,
    "padding_side": "right",
    "truncation_side": "right",
    "model_input_names": ("input_ids", "token_type_ids", "attention_mask"),
    "clean_up_tokenization_spaces": False,
    "split_special_tokens": False,
    "name_or_path": "",
}
RULES = ("do_lower_case", "strip_accents", "tokenize_chinese_chars", "do_basic_tokenize", "never_split")
# What special tokens are called, for a tokenizer.json without a tokenizer_config.json beside it.
USUAL = {"pad_token": ("<pad>", "[PAD]"), "mask_token": ("<mask>", "[MASK]")}
logger = logging.getLogger(__name__)


class LibraryTokenizer(BertTokenizer):
    """Text to BERT's inputs and back, by any pipeline of the ``tokenizers`` library; called as its base class.

    ``do_lower_case`` and ``strip_accents`` say what the pipeline does; they cannot be chosen.
    """

    _vocabulary: LibraryVocabulary

    def __init__(
        self, content: str, *, origin: str = "The tokenizer.json", reason: str = "it is to run it", **settings: Any
    ) -> None:
        """``content``: that of a tokenizer.json; ``settings``: the arguments of BertTokenizer that are no rules.

        Raises TokenizerError for a pipeline that cannot be run or settings that contradict it, MissingExtraError
        without the library, whose message gives the ``reason``.
        """
        name = type(self).__name__
        for setting in settings:
            if setting not in DEFAULTS:
                raise TokenizerError(f"{name} takes no {setting}=; the tokenizer.json decides how text becomes pieces.")
        check_settings(settings, CONFIG_SCHEMA, name, TokenizerError)
        library = parse(content, origin, reason)
        described = json.loads(library.to_str())  # as the library understood it: complete, and of the right types
        self._frame = frame = frame_of(described["post_processor"], origin)
        for special in {special for gap in (*frame.single, *frame.pair) for special in gap}:
            if library.token_to_id(special.token) != special.id:
                raise TokenizerError(
                    f"{origin}: its post_processor gives {special.token!r} the id {special.id}; in its vocabulary that "
                    f"token has {library.token_to_id(special.token)}. Correct one of them."
                )
        normalize = library.normalizer.normalize_str if library.normalizer is not None else str
        self.do_lower_case = "abc" in normalize("ABC")
        self.strip_accents = "é" not in normalize("é").casefold() and "e" in normalize("é").casefold()
        self.tokenize_chinese_chars = False
        settings = {**DEFAULTS, **_usual_tokens(described, frame), **settings}
        self._set_up(LibraryVocabulary(library, origin), origin, **settings)

    @classmethod
    def of_files(cls, files: TokenizerFiles, explicit: Mapping[str, Any], name: str) -> "LibraryTokenizer":
        """The tokenizer of ``files``; ``explicit`` are settings that precede theirs, ``name`` the source."""
        content, origin = files.tokenizer_json, files.origin
        if not content:
            raise TokenizerError(f"{origin}: there is no tokenizer.json, which says how text becomes pieces.")
        reason = files.other_pipeline or "LibraryTokenizer was asked for"
        load_library(origin, reason)
        agreement.check_means(files.config, origin)
        settings = load_settings(files, explicit)
        rules = {rule: settings.pop(rule) for rule in RULES if rule in settings}
        settings.setdefault("name_or_path", name)
        if isinstance(pad_token := (content.get("padding") or {}).get("pad_token"), str):
            settings.setdefault("pad_token", pad_token)
        tokenizer = cls(json.dumps(content, ensure_ascii=False), origin=origin, reason=reason, **settings)
        stated = {rule: explicit[rule] for rule in RULES if rule in explicit}
        if files.config.get("do_lower_case") is not None:
            stated.setdefault("do_lower_case", rules["do_lower_case"])
        tokenizer._check_rules(stated, origin)
        tokenizer._check_prefix(files, origin)
        tokenizer._check_frame(origin)
        agreement.check_size(len(tokenizer), files.model_config, origin)
        return tokenizer

    def _check_rules(self, stated: Mapping[str, Any], origin: str) -> None:
        """TokenizerError for BERT's rules that the arguments or the config state, and the pipeline does not follow."""
        for rule, value in stated.items():
            if value is not None and value != getattr(self, rule, None):
                raise TokenizerError(
                    f"{origin}: {rule} is {value!r}, and its pipeline does otherwise. How text becomes pieces is the "
                    "tokenizer.json's: leave the setting out, here and in tokenizer_config.json, or give the "
                    "tokenizer.json that the model was trained with."
                )

    @staticmethod
    def _check_prefix(files: TokenizerFiles, origin: str) -> None:
        """TokenizerError where tokenizer_config.json and a byte-level pre-tokenizer disagree about a first space."""
        step = files.tokenizer_json.get("pre_tokenizer") or {}
        stated, does = files.config.get("add_prefix_space"), step.get("add_prefix_space")
        if step.get("type") == "ByteLevel" and isinstance(stated, bool) and does is not None and stated is not does:
            raise TokenizerError(
                f"{origin}: add_prefix_space is {does} there and {stated} in tokenizer_config.json, which gives the "
                "first word of a text other pieces. Correct the one that the model was not trained with."
            )

    def _check_frame(self, origin: str) -> None:
        """Warn of a row without the special tokens that the settings name."""
        written = {special.token for gap in self._frame.single for special in gap}
        missing = [f"{n}={t!r}" for n in ("cls_token", "sep_token") if (t := getattr(self, n)) and t not in written]
        if missing:
            logger.warning(
                "%s: its post_processor writes %s into a row, and not %s, which the settings name. The post_processor "
                "counts, as in the tokenizers library.",
                origin,
                ", ".join(map(repr, sorted(written))) or "no special tokens",
                ", ".join(missing),
            )

    def _build(self) -> None:
        """Make the encoder for the present tokens."""
        self._encoder = LibraryEncoder(self._vocabulary)

    def _join(self, tokens: Iterable[str]) -> str:
        """The text of tokens, as the pipeline's decoder joins them."""
        decoder = self._vocabulary.library.decoder
        text: str = " ".join(tokens) if decoder is None else decoder.decode(list(tokens))
        return text

    @property
    def pipeline(self) -> str:
        """The tokenizer.json that the library runs, with the tokens that were added."""
        content: str = self._vocabulary.library.to_str()
        return content

    @property
    def frame(self) -> Frame:
        """The special tokens of a row's layout, from the post-processor."""
        return replace(self._frame, pad=(self.pad_token_id or 0, str(self.pad_token)))

    def save_vocabulary(self, save_directory: Source, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Refused: there is no vocab.txt."""
        raise TokenizerError("This tokenizer has no vocab.txt; save_pretrained writes all of it, as tokenizer.json.")

    def save_pretrained(self, save_directory: Source, **older: Any) -> tuple[str, ...]:
        """Write tokenizer.json and tokenizer_config.json, which transformers and ``from_pretrained`` load."""
        older_arguments.refuse("save_pretrained", older, ["save_directory"])
        config = config_of(self, "PreTrainedTokenizerFast")
        contents = {
            TOKENIZER_FILE: self._vocabulary.library.to_str(pretty=True) + "\n",
            CONFIG_FILE: json.dumps(config, ensure_ascii=False, indent=2) + "\n",
        }
        return write_files(save_directory, contents)


def _usual_tokens(described: Mapping[str, Any], frame: Frame) -> dict[str, str]:
    """The named special tokens that a tokenizer.json shows without a tokenizer_config.json."""
    tokens = {}
    begin, end = frame.single
    if begin:
        tokens["cls_token"] = begin[0].token
    if end:
        tokens["sep_token"] = end[-1].token
    added = [token["content"] for token in described["added_tokens"]]
    for name, usual in USUAL.items():
        if found := [token for token in usual if token in added]:
            tokens[name] = found[0]
    model = described["model"]
    unk_token, unk_id = model.get("unk_token"), model.get("unk_id")
    if unk_token is None and unk_id is not None:  # Unigram's
        unk_token = model["vocab"][unk_id][0]
    return tokens if unk_token is None else {**tokens, "unk_token": unk_token}


BertTokenizer.for_other_pipelines = LibraryTokenizer
