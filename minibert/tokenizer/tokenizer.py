"""BertTokenizer: the arguments and results of transformers' BertTokenizer, name for name.

A text is encoded in encoder.py (read basic.py and wordpiece.py for the rules), truncated in windows.py and laid out in
encoding.py; vocabulary.py holds the ids and the special tokens.  Start with ``__call__``.
"""

import copy
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from minibert.errors import TokenizerError
from minibert.schema import Kind, check_settings, list_of, optional
from minibert.source import Checkpoint, Source, as_path, take_where
from minibert.tokenizer import agreement, decoding, older_arguments
from minibert.tokenizer.added_tokens import AddedToken
from minibert.tokenizer.basic import BasicTokenizer
from minibert.tokenizer.batch_encoding import BatchEncoding, pad_rows
from minibert.tokenizer.encoder import TextEncoder, TokenizedText
from minibert.tokenizer.encoding import SIMPLE_COLUMNS, RowBuilder, columns_of
from minibert.tokenizer.files import (
    CONFIG_SCHEMA,
    EXTRA,
    SETTINGS,
    TOKEN,
    VOCAB_FILE,
    TokenizerFiles,
    config_of,
    load_settings,
    open_tokenizer_files,
    read_vocab,
    tokenizer_files,
    vocab_text,
    write_files,
)
from minibert.tokenizer.request import (
    CALL,
    NO_LIMIT,
    Request,
    as_examples,
    as_ids,
    check_call,
    check_side,
    check_switch,
)
from minibert.tokenizer.vocabulary import SPECIAL_TOKEN_NAMES, SpecialTokens, Vocabulary
from minibert.tokenizer.windows import Frame, TokenRow, lay_out
from minibert.tokenizer.wordpiece import WordPiece

CLASS_NAMES = ("BertTokenizer", "BertTokenizerFast")
PREFIX = optional(Kind(lambda x: isinstance(x, str) and "/" not in x, "a text without '/'"))
logger = logging.getLogger(__name__)

TokenOrTokens = str | AddedToken | Sequence[str | AddedToken]


def _named(name: str) -> tuple[property, property]:
    """A special token and its id as attributes; both may be set."""

    def token(self: "BertTokenizer") -> Any:
        return self._special[name]

    def set_token(self: "BertTokenizer", value: str | AddedToken | None) -> None:
        self._special[name] = value

    def token_id(self: "BertTokenizer") -> Any:
        return self._special.id(name)

    def set_id(self: "BertTokenizer", value: int | None) -> None:
        self._special.set_id(name, value)

    return property(token, set_token), property(token_id, set_id)


class BertTokenizer:
    """Text to BERT's inputs and back.  Safe to call from many threads once tokens are no longer being added.

    ``vocab`` is a vocabulary file or a dictionary of tokens and ids; ``from_pretrained`` reads all settings too.
    """

    unk_token, unk_token_id = _named("unk_token")
    sep_token, sep_token_id = _named("sep_token")
    pad_token, pad_token_id = _named("pad_token")
    cls_token, cls_token_id = _named("cls_token")
    mask_token, mask_token_id = _named("mask_token")
    bos_token, bos_token_id = _named("bos_token")
    eos_token, eos_token_id = _named("eos_token")

    is_fast = True  # general code asks for it before it asks for offsets and word_ids
    for_other_pipelines: "type[BertTokenizer] | None" = None  # library.py sets it
    pad_token_type_id = 0

    encode_plus = older_arguments.encode_plus
    batch_encode_plus = older_arguments.batch_encode_plus

    convert_ids_to_tokens = decoding.convert_ids_to_tokens
    convert_tokens_to_ids = decoding.convert_tokens_to_ids
    convert_tokens_to_string = decoding.convert_tokens_to_string
    decode = decoding.decode
    batch_decode = decoding.batch_decode
    _join = staticmethod(decoding.join_tokens)

    def __init__(
        self,
        vocab: Source | Mapping[str, int] | None = None,
        do_lower_case: bool | None = None,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken | None = "[SEP]",
        pad_token: str | AddedToken | None = "[PAD]",
        cls_token: str | AddedToken | None = "[CLS]",
        mask_token: str | AddedToken | None = "[MASK]",
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        *,
        vocab_file: Source | None = None,
        model_max_length: float | None = None,
        padding_side: str = "right",
        truncation_side: str = "right",
        model_input_names: Sequence[str] = ("input_ids", "token_type_ids", "attention_mask"),
        clean_up_tokenization_spaces: bool = False,
        split_special_tokens: bool = False,
        extra_special_tokens: Any = None,
        additional_special_tokens: Any = None,
        added_tokens_decoder: Mapping[Any, Any] | None = None,
        bos_token: str | AddedToken | None = None,
        eos_token: str | AddedToken | None = None,
        name_or_path: str = "",
        origin: str = "The vocabulary",
        never_split: Sequence[str] | None = None,
        do_basic_tokenize: bool = True,
        max_len: float | None = None,
        **older: Any,
    ) -> None:
        settings = {name: value for name, value in locals().items() if name in SETTINGS}
        if do_lower_case is None:  # not given: True, as in transformers; checked against the vocabulary below
            settings["do_lower_case"] = True
        schema = {**CONFIG_SCHEMA, "unk_token": TOKEN}
        check_settings({**settings, "max_len": max_len}, schema, type(self).__name__, TokenizerError)
        if not do_basic_tokenize:
            raise TokenizerError(
                "do_basic_tokenize=False is not known here: text is always cleaned and cut into words. Cut it yourself "
                "and pass is_split_into_words=True, or search the vocabulary with minibert.tokenizer.WordPiece."
            )
        older_arguments.refuse(type(self).__name__, older, (*SETTINGS, "vocab"))
        vocab = vocab_file if vocab is None else vocab
        if not isinstance(vocab, Mapping | str | os.PathLike):
            got = "" if vocab is None else f", and got {vocab!r:.80}"
            raise TokenizerError(
                f"A tokenizer needs a vocabulary{got}: BertTokenizer('vocab.txt') or from_pretrained(folder)."
            )
        if not isinstance(vocab, Mapping):
            origin, vocab = str(vocab), read_vocab(as_path(vocab))
        self.do_lower_case = do_lower_case is not False
        self.strip_accents = strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        vocabulary = Vocabulary(vocab, str(_as_token(unk_token)), origin)
        agreement.check_pieces(vocab, origin)
        limit = max_len if model_max_length is None else model_max_length
        self._set_up(vocabulary, origin, **{**settings, "model_max_length": limit, "name_or_path": name_or_path})
        self._keep_whole(never_split or ())
        if do_lower_case is None:
            agreement.check_rules(vocab, self._basic, frozenset(), origin)

    def _set_up(self, vocabulary: Vocabulary, origin: str, **settings: Any) -> None:
        """Take the settings and tokens that do not depend on how text becomes pieces; then ``_build``."""
        limit = settings["model_max_length"]
        self.model_max_length = NO_LIMIT if limit is None else int(limit)
        self.padding_side = settings["padding_side"]
        self.truncation_side = settings["truncation_side"]
        self.model_input_names = list(settings["model_input_names"])
        self.clean_up_tokenization_spaces = settings["clean_up_tokenization_spaces"]
        self.split_special_tokens = settings["split_special_tokens"]
        self.name_or_path = settings["name_or_path"]
        self._warned_about_length = self._warned_about_rows = False
        named = {name: _as_token(settings[name]) for name in SPECIAL_TOKEN_NAMES}
        extra = settings["extra_special_tokens"] or settings["additional_special_tokens"] or ()
        extra = [AddedToken.of(t, special=True) for t in (extra.values() if isinstance(extra, dict) else extra)]
        self._vocabulary = vocabulary
        self._special = SpecialTokens(vocabulary, named, extra)
        stored = {int(i): AddedToken.of(token) for i, token in (settings["added_tokens_decoder"] or {}).items()}
        vocabulary.add_stored(stored, self._special, origin)
        self._build()

    def _keep_whole(self, never_split: Sequence[str]) -> None:
        """``never_split`` of the slow tokenizers: words that are neither lower-cased nor split at punctuation."""
        for token in never_split:
            if self._vocabulary.token_to_id(token) is None:
                raise TokenizerError(
                    f"never_split names {token!r}, which the vocabulary does not hold, so it would be unknown. Add it "
                    "with tokenizer.add_tokens, then call model.resize_token_embeddings(len(tokenizer))."
                )
        if never_split:
            self.add_tokens([AddedToken(token, single_word=True, normalized=False) for token in never_split])

    def _build(self) -> None:
        """Make the encoder for the present rules and tokens."""
        basic = BasicTokenizer(self.do_lower_case, self.strip_accents, self.tokenize_chinese_chars)
        self._basic = basic
        wordpiece = WordPiece(self._vocabulary.base, self._vocabulary.unk_id)
        self._encoder = TextEncoder(basic, wordpiece, self._vocabulary)

    @classmethod
    def from_pretrained(cls, source: Source, **settings: Any) -> "BertTokenizer":
        """Load from ``source``: a folder with vocab.txt or tokenizer.json, such a file, or a name on the hub.

        A tokenizer.json with another pipeline than BERT's is run by the ``tokenizers`` library, see library.py.
        ``settings`` are arguments of the class, which take precedence over the files, and those of
        ``minibert.source.Where`` (``revision`` …).  Raises TokenizerError for a vocabulary that cannot be used,
        CheckpointError for a source that does not exist.
        """
        checkpoint = Checkpoint.open(source, **take_where(settings))
        class_name = settings.pop("tokenizer_class", None)
        if class_name is not None and not (isinstance(class_name, str) and class_name in CLASS_NAMES):
            raise TokenizerError(f"tokenizer_class={class_name!r:.80} is not known; this is 'BertTokenizer'.")
        files = open_tokenizer_files(checkpoint)
        if files.other_pipeline is not None and cls.for_other_pipelines is not None:
            return cls.for_other_pipelines.of_files(files, settings, str(source))
        if class_name is None:
            agreement.check_class(files.config, files.model_config, files.origin)
        return cls.of_files(files, settings, str(source))

    @classmethod
    def of_files(cls, files: TokenizerFiles, explicit: Mapping[str, Any], name: str) -> "BertTokenizer":
        """The tokenizer of ``files``; ``explicit`` are settings that precede theirs, ``name`` the source."""
        check_settings(files.config, {"unk_token": TOKEN}, f"{files.origin}: tokenizer_config.json", TokenizerError)
        agreement.check_older_settings(files.config, explicit.keys(), files.origin)
        arguments = load_settings(files, explicit)
        arguments.setdefault("name_or_path", name)
        arguments.setdefault("do_lower_case", True)
        tokenizer = cls(files.vocab, origin=files.origin, **arguments)
        agreement.check_rules(files.vocab, tokenizer._basic, explicit.keys(), files.origin)
        agreement.check_size(len(tokenizer), files.model_config, files.origin)
        return tokenizer

    @property
    def pipeline(self) -> str | None:
        """The tokenizer.json that the ``tokenizers`` library runs; None where BERT's rules in this room apply."""
        return None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_encoder"]  # it holds caches; another process fills its own
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._build()

    def __copy__(self) -> "BertTokenizer":
        return copy.deepcopy(self)  # if it shared the vocabulary, tokens added to one would change the other

    def __repr__(self) -> str:
        limit = "none" if self.model_max_length >= NO_LIMIT else self.model_max_length
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"do_lower_case={self.do_lower_case}, strip_accents={self.strip_accents}, "
            f"tokenize_chinese_chars={self.tokenize_chinese_chars}, model_max_length={limit}, "
            f"padding_side={self.padding_side!r}, truncation_side={self.truncation_side!r}, "
            f"special_tokens={self.special_tokens_map})"
        )

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        add_special_tokens: bool = True,
        padding: Any = False,
        truncation: Any = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        split_special_tokens: bool | None = None,
        **older: Any,
    ) -> BatchEncoding:
        """Tokenize a text, a pair, or a batch of either, into lists or (B, T) int64 tensors.

        ``padding``: False, True or "longest", "max_length".  ``truncation``: False, True or "longest_first",
        "only_first", "only_second"; to ``max_length`` or the model's.  ``return_overflowing_tokens`` returns the
        truncated tokens in further rows, which share ``stride`` tokens.  ``is_split_into_words``: texts are lists of
        words.  Offsets count characters of the text as given.  ``older``: arguments of older releases
        (``pad_to_max_length=True``), see older_arguments.py.  Raises TokenizerError.
        """
        call = locals()
        if older:
            today = older_arguments.renamed(older, {name: call[name] for name in CALL})
            return self(text, text_pair, text_target, text_pair_target, **today)
        check_call(call)
        if text is None and text_target is None:
            raise TokenizerError("There is nothing to tokenize: give text, or text_target for labels.")
        requested = {
            "token_type_ids": self._returns("token_type_ids", return_token_type_ids),
            "attention_mask": self._returns("attention_mask", return_attention_mask),
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
            "length": return_length,
            "overflow_to_sample_mapping": return_overflowing_tokens,
        }
        request = Request.of(padding, truncation, max_length, pad_to_multiple_of, self.model_max_length, verbose)
        if text is None:
            text, text_pair, text_target = text_target, text_pair_target, None
        examples, is_batch = as_examples(text, text_pair, is_split_into_words)
        if request.padding != "do_not_pad":
            self._pad_id()  # raises if there is no padding token
        side = check_side("padding_side", self.padding_side if padding_side is None else padding_side)
        builder = self._row_builder(request, stride, add_special_tokens, split_special_tokens, side)
        fields = {name for name, is_requested in requested.items() if is_requested}
        if fields <= SIMPLE_COLUMNS:
            batch = BatchEncoding(builder.columns(examples, fields), lambda: builder.rows(examples))
        else:
            batch = BatchEncoding(*columns_of(builder.rows(examples), fields))
        if verbose and request.max_length is None:
            self._warn_about_length(batch.data["input_ids"])
        batch.convert_to_tensors(return_tensors)
        if not is_batch and return_tensors is None and not return_overflowing_tokens:
            batch.data = {name: v[0] if isinstance(v[0], list) else v for name, v in batch.data.items()}
        if text_target is not None:
            for_labels = {name: call[name] for name in CALL if not name.startswith("return_") and name != "stride"}
            labels = self(text_target, text_pair_target, return_tensors=return_tensors, **for_labels)
            batch["labels"] = labels["input_ids"]
        return batch

    def token_rows(
        self, texts: Sequence[Any], max_length: int, stride: int | None = None
    ) -> tuple[list[TokenRow], list[int], int]:
        """Texts, or pairs of them, as rows of at most ``max_length`` tokens without padding; not in transformers.

        Longer texts are truncated as with ``truncation=True``.  With a ``stride`` they are read in windows that share
        so many tokens, as with ``return_overflowing_tokens=True``.  Returns the rows, for each row the index of its
        text, and how many texts were truncated.  Raises TokenizerError.
        """
        check_call({"max_length": max_length, "stride": 0 if stride is None else stride})
        request = Request.of(False, True, max_length, None, self.model_max_length)
        examples, _ = as_examples(list(texts) if isinstance(texts, tuple) else texts, None, False)
        rows: list[TokenRow] = []
        owners: list[int] = []
        truncated = 0
        builder = self._row_builder(request, stride or 0)
        for index, (row, overflow) in enumerate(builder.token_rows(examples, overflows=stride is not None)):
            rows += [row, *(overflow or ())]
            owners += [index] * (len(rows) - len(owners))
            truncated += stride is None and overflow is not None
        return rows, owners, truncated

    def tokens_with_offsets(self, text: str) -> TokenizedText:
        """The tokens of a text without [CLS] and [SEP]: ids, tokens, offsets, word ids; not in transformers.

        Raises TokenizerError if ``text`` is not a str.
        """
        if not isinstance(text, str):
            raise TokenizerError(f"{text!r:.80} is not text; expected a str.")
        return self._encoder.with_offsets(text, self.split_special_tokens)

    def _row_builder(
        self,
        request: Request,
        stride: int,
        add_special: bool = True,
        split_special_tokens: bool | None = None,
        padding_side: str = "right",
    ) -> RowBuilder:
        builder = RowBuilder(
            encoder=self._encoder,
            frame=self.frame,
            request=request,
            add_special=add_special,
            stride=stride,
            split_special_tokens=self.split_special_tokens if split_special_tokens is None else split_special_tokens,
            truncation_side=check_side("truncation_side", self.truncation_side),
            padding_side=padding_side,
        )
        builder.check()
        return builder

    def _returns(self, name: str, requested: bool | None) -> bool:
        return name in self.model_input_names if requested is None else requested

    def _pad_id(self) -> int:
        pad_id: int | None = self.pad_token_id
        if pad_id is None:
            raise TokenizerError("Padding needs a padding token, and none is set: tokenizer.pad_token = '[PAD]'.")
        return pad_id

    def _warn_about_length(self, rows: Sequence[Sequence[int]]) -> None:
        longest = max(map(len, rows))
        if longest > self.model_max_length and not self._warned_about_length:
            self._warned_about_length = True
            logger.warning(
                "A row has %d tokens, the model takes %d: running it will fail or give wrong results. "
                "Pass truncation=True to cut it. (Said once.)",
                longest,
                self.model_max_length,
            )

    def encode(self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **arguments: Any) -> Any:
        """The ids of ``self(text, …)``."""
        return self(text, text_pair, add_special_tokens=add_special_tokens, **arguments)["input_ids"]

    def tokenize(self, text: Any, pair: Any = None, add_special_tokens: bool = False, **arguments: Any) -> list[str]:
        """The tokens of a text as strings: ``"Café"`` → ``["cafe"]``."""
        if isinstance(text, list | tuple) and not arguments.get("is_split_into_words"):
            raise TokenizerError(
                f"tokenize takes one text, and got a {type(text).__name__} of {len(text)}; call it for each, or pass "
                "is_split_into_words=True for a list of words."
            )
        return self(text, pair, add_special_tokens=add_special_tokens, **arguments).tokens()

    def pad(
        self,
        encoded_inputs: Any,
        padding: Any = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pad rows that are already tokenized, as a data collator does; unknown fields pass through unchanged."""
        side = check_side("padding_side", self.padding_side if padding_side is None else padding_side)
        lengths = {"max_length": max_length, "pad_to_multiple_of": pad_to_multiple_of}
        check_call({**lengths, "return_attention_mask": return_attention_mask, "verbose": verbose})
        request = Request.of(padding, None, max_length, pad_to_multiple_of, self.model_max_length, verbose)
        return pad_rows(
            encoded_inputs,
            request,
            self._pad_id(),
            side,
            return_attention_mask=return_attention_mask,
            mask_by_default="attention_mask" in self.model_input_names,
            return_tensors=return_tensors,
        )

    def __len__(self) -> int:
        """The number of tokens, added ones included; the embedding table needs as many rows."""
        return len(self._vocabulary)

    def __bool__(self) -> bool:
        return True

    @property
    def vocab_size(self) -> int:
        """The number of tokens of the vocabulary file, without added ones."""
        return len(self._vocabulary.base)

    def get_vocab(self) -> dict[str, int]:
        """Every token with its id, as a new dictionary."""
        return self._vocabulary.as_dict()

    vocab = property(get_vocab)

    def get_added_vocab(self) -> dict[str, int]:
        """The tokens that stay whole, special ones included, with their ids."""
        return {token.content: token_id for token_id, token in sorted(self._vocabulary.added.items())}

    added_tokens_encoder = property(get_added_vocab)

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The tokens that stay whole, by id."""
        return dict(sorted(self._vocabulary.added.items()))

    @property
    def extra_special_tokens(self) -> list[str]:
        """Special tokens without a name."""
        return list(map(str, self._special.extra))

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """Named special tokens that are set: ``{"cls_token": "[CLS]", …}``."""
        return self._special.by_name

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once, named ones first."""
        return list(dict.fromkeys(map(str, self._special.tokens())))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of ``all_special_tokens``."""
        ids: list[int] = self.convert_tokens_to_ids(self.all_special_tokens)
        return ids

    @property
    def max_len_single_sentence(self) -> int:
        """How many tokens of a single text fit, with [CLS] and [SEP]."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """How many tokens of two texts together fit, with [CLS] and two [SEP]."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def add_tokens(self, new_tokens: TokenOrTokens, special_tokens: bool = False) -> int:
        """Keep tokens whole, with new ids at the end if the vocabulary lacks them; returns how many are new.

        The model needs a row for each new id: call ``model.resize_token_embeddings(len(tokenizer))``.
        """
        tokens = (
            [new_tokens] if isinstance(new_tokens, str | AddedToken) or hasattr(new_tokens, "content") else new_tokens
        )
        if tokens is not None and not isinstance(tokens, list | tuple | set | frozenset | Mapping):
            raise TokenizerError(f"{tokens!r:.80} are not tokens; expected a text, an AddedToken, or a list of them.")
        is_special = check_switch("special_tokens", special_tokens)
        added = [AddedToken.of(token, special=is_special) for token in tokens or ()]
        if is_special:
            added = [token.as_special() for token in added]
        size = len(self)
        count = self._vocabulary.add(added)
        self._encoder = self._encoder.after_adding(self._vocabulary)
        if len(self) > size and not self._warned_about_rows:
            self._warned_about_rows = True
            logger.warning(
                "The tokenizer grew from %d to %d tokens, and the model has no rows for the new ones: call "
                "model.resize_token_embeddings(len(tokenizer)). (Said once.)",
                size,
                len(self),
            )
        return count

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_extra_special_tokens: bool = True
    ) -> int:
        """Name special tokens: ``{"mask_token": "<mask>", "extra_special_tokens": ["<e>"]}``; adds missing ones.

        Returns how many are new; if there are any, call ``model.resize_token_embeddings(len(tokenizer))``.
        """
        if not isinstance(special_tokens_dict, Mapping):
            raise TokenizerError(
                f"{special_tokens_dict!r:.80} is not a dictionary; expected {{'mask_token': '<mask>'}}."
            )
        kinds = dict.fromkeys(SPECIAL_TOKEN_NAMES, TOKEN) | dict.fromkeys(EXTRA, list_of(TOKEN))
        check_settings(special_tokens_dict, kinds, "add_special_tokens", TokenizerError)
        replaces = check_switch("replace_extra_special_tokens", replace_extra_special_tokens)
        for name in special_tokens_dict:
            if name not in kinds:
                names = ", ".join((*SPECIAL_TOKEN_NAMES, "extra_special_tokens"))
                raise TokenizerError(f"{name!r} is not a special token's name; use one of {names}.")
        tokens = self._special.update(special_tokens_dict, replaces)
        return self.add_tokens(tokens, special_tokens=True)

    @property
    def frame(self) -> Frame:
        """The special tokens of a row's layout; ``frame.row(ids)`` lays out a row."""
        return self._special.frame()

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """2 for [CLS] text [SEP], 3 with a second text and its [SEP]."""
        return self.frame.count(check_switch("pair", pair))

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 for special tokens, else 0: by id in a finished row, or by position in the row that texts would make."""
        if not check_switch("already_has_special_tokens", already_has_special_tokens):
            ids = [token_ids_0] if token_ids_1 is None else [token_ids_0, token_ids_1]
            texts = [[0] * len(as_ids(row)) for row in ids]
            return lay_out([[1] * len(gap) for gap in self.frame.gaps(len(texts) == 2)], texts)
        if token_ids_1 is not None:
            raise TokenizerError(
                "A finished row (already_has_special_tokens=True) has no second list of ids beside it."
            )
        special = set(self.all_special_ids)
        return [int(token_id in special) for token_id in as_ids(token_ids_0)]

    def save_vocabulary(self, save_directory: Source, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write vocab.txt alone; returns its path."""
        check_settings(
            {"filename_prefix": filename_prefix}, {"filename_prefix": PREFIX}, "save_vocabulary", TokenizerError
        )
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        return write_files(save_directory, {prefix + VOCAB_FILE: vocab_text(self._vocabulary.base)})

    def save_pretrained(self, save_directory: Source, **older: Any) -> tuple[str, ...]:
        """Write vocab.txt, tokenizer_config.json and tokenizer.json; returns their paths.

        The ``tokenizers`` library, transformers and ``from_pretrained`` load the identical tokenizer from them.
        """
        older_arguments.refuse("save_pretrained", older, ["save_directory"])
        config = config_of(self, "BertTokenizer", "do_lower_case", "strip_accents", "tokenize_chinese_chars")
        return write_files(save_directory, tokenizer_files(config, self._vocabulary, self._basic, self._special))


def _as_token(value: Any) -> str | AddedToken | None:
    return value if value is None or isinstance(value, str) else AddedToken.of(value, special=True)
