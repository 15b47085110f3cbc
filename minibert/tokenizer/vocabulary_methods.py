"""The half of BertTokenizer that is about tokens rather than texts: settings, vocabulary, special tokens, decoding.

Kept apart only for length.  Names are those of transformers, old and new, so that code written for either runs.
"""

import copy
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minibert.errors import TokenizerError
from minibert.schema import Kind, check_settings, list_of, optional
from minibert.source import Source, as_path
from minibert.tokenizer import agreement, older_arguments, special_tokens
from minibert.tokenizer.added_tokens import AddedToken
from minibert.tokenizer.basic import BasicTokenizer
from minibert.tokenizer.decoding import clean_up, join_tokens
from minibert.tokenizer.encoder import TextEncoder
from minibert.tokenizer.files import (
    CONFIG_FILE,
    CONFIG_SCHEMA,
    SETTINGS,
    TOKEN,
    TOKENIZER_FILE,
    VOCAB_FILE,
    pipeline_description,
    read_vocab,
    to_json,
    vocab_text,
    write_files,
)
from minibert.tokenizer.request import NO_LIMIT, as_id, as_ids, as_lists, as_texts, check_switch
from minibert.tokenizer.special_tokens import NamedToken, NamedTokenId
from minibert.tokenizer.vocabulary import Vocabulary, checked_vocab
from minibert.tokenizer.windows import Frame, lay_out, special_count
from minibert.tokenizer.wordpiece import WordPiece

EXTRA = ("extra_special_tokens", "additional_special_tokens")
DECODING = ("skip_special_tokens", "clean_up_tokenization_spaces")
PREFIX = optional(Kind(lambda x: isinstance(x, str) and "/" not in x, "a text without '/'"))
logger = logging.getLogger(__name__)

TokenOrTokens = str | AddedToken | Sequence[str | AddedToken]


class VocabularyMethods:
    """Construction, tokens and ids; see BertTokenizer for texts."""

    unk_token, unk_token_id = NamedToken(), NamedTokenId()
    sep_token, sep_token_id = NamedToken(), NamedTokenId()
    pad_token, pad_token_id = NamedToken(), NamedTokenId()
    cls_token, cls_token_id = NamedToken(), NamedTokenId()
    mask_token, mask_token_id = NamedToken(), NamedTokenId()
    bos_token, bos_token_id = NamedToken(), NamedTokenId()
    eos_token, eos_token_id = NamedToken(), NamedTokenId()

    is_fast = True  # what general code asks before it wants offsets and word_ids
    pad_token_type_id = 0

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
        given = {name: value for name, value in locals().items() if name in SETTINGS}
        if do_lower_case is None:  # not given: true, as in transformers, with a look at the vocabulary below
            given["do_lower_case"] = True
        check_settings({**given, "max_len": max_len}, CONFIG_SCHEMA, type(self).__name__, TokenizerError)
        if not do_basic_tokenize:
            raise TokenizerError(
                "do_basic_tokenize=False is not known here: text is always cleaned and cut into words. Cut it yourself "
                "and pass is_split_into_words=True, or search the vocabulary with minibert.tokenizer.WordPiece."
            )
        older_arguments.refuse(type(self).__name__, older, (*SETTINGS, "vocab"))
        vocab = vocab_file if vocab is None else vocab
        if not isinstance(vocab, Mapping | str | os.PathLike):
            found = "" if vocab is None else f", and got {vocab!r:.80}"
            raise TokenizerError(
                f"A tokenizer needs a vocabulary{found}: BertTokenizer('vocab.txt') or from_pretrained(folder)."
            )
        if not isinstance(vocab, Mapping):
            origin, vocab = str(vocab), read_vocab(as_path(vocab))
        self.do_lower_case = do_lower_case is not False
        self.strip_accents = strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        limit = max_len if model_max_length is None else model_max_length
        self.model_max_length = NO_LIMIT if limit is None else int(limit)
        self.padding_side = padding_side
        self.truncation_side = truncation_side
        self.model_input_names = list(model_input_names)
        self.clean_up_tokenization_spaces = clean_up_tokenization_spaces
        self.split_special_tokens = split_special_tokens
        self.name_or_path = name_or_path
        self._warned_about_length = self._warned_about_rows = False
        named = (bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token)
        self._special_tokens: dict[str, str | AddedToken | None] = dict(zip(special_tokens.NAMES, named, strict=True))
        extra = extra_special_tokens or additional_special_tokens or ()
        self._extra = [AddedToken.of(t, special=True) for t in (extra.values() if isinstance(extra, dict) else extra)]
        self._vocabulary = Vocabulary(checked_vocab(vocab, str(unk_token), origin))
        agreement.check_pieces(self._vocabulary.base, origin)
        self._set_apart(added_tokens_decoder or {}, origin)
        self._keep_whole(never_split or ())
        if do_lower_case is None:
            agreement.check_rules(self._vocabulary.base, self._basic, frozenset(), origin)

    def _set_apart(self, decoder: Mapping[Any, Any], origin: str) -> None:
        """Added tokens in the order of their ids, then named and extra ones that are not among them."""
        named = [token for token in self._special_tokens.values() if token is not None]
        special = set(map(str, named))
        added = [AddedToken.of(token) for _, token in sorted(decoder.items(), key=lambda item: int(item[0]))]
        known = {token.content for token in added}
        for token in [*named, *self._extra]:
            if str(token) not in known:
                added.append(AddedToken.of(token, special=True))
                known.add(str(token))
        self._vocabulary.add(
            AddedToken(**{**token.to_json(), "special": True}) if token.content in special else token for token in added
        )
        self._build()
        moved = [(i, t) for i, t in decoder.items() if self._vocabulary.token_to_id(AddedToken.of(t).content) != int(i)]
        if moved:
            token = AddedToken.of(moved[0][1]).content
            logger.warning(
                "%s: the files give the added token %r the id %s; here, as in the tokenizers library, it gets %s, the "
                "next after the vocabulary's. Correct the ids, or the model reads another row for it.",
                origin,
                token,
                moved[0][0],
                self._vocabulary.token_to_id(token),
            )

    def _keep_whole(self, never_split: Sequence[str]) -> None:
        """The slow tokenizers' ``never_split``: words that are neither lower-cased nor cut at punctuation."""
        for token in never_split:
            if self._vocabulary.token_to_id(token) is None:
                raise TokenizerError(
                    f"never_split names {token!r}, which the vocabulary does not hold, so it would be unknown. Add it "
                    "with tokenizer.add_tokens, then call model.resize_token_embeddings(len(tokenizer))."
                )
        if never_split:
            self.add_tokens([AddedToken(token, single_word=True, normalized=False) for token in never_split])

    def _build(self) -> None:
        """The encoder of the present rules and tokens."""
        basic = BasicTokenizer(self.do_lower_case, self.strip_accents, self.tokenize_chinese_chars)
        self._basic = basic
        wordpiece = WordPiece(self._vocabulary.base, self._vocabulary.base[str(self.unk_token)])
        self._encoder = TextEncoder(basic, wordpiece, self._vocabulary)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_encoder"]  # it holds what the words of earlier texts became; another process fills its own
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._build()

    def __deepcopy__(self, memo: dict[int, Any]) -> "VocabularyMethods":
        twin = self.__class__.__new__(self.__class__)
        memo[id(self)] = twin
        twin.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return twin

    def __repr__(self) -> str:
        limit = "none" if self.model_max_length >= NO_LIMIT else self.model_max_length
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"do_lower_case={self.do_lower_case}, strip_accents={self.strip_accents}, "
            f"tokenize_chinese_chars={self.tokenize_chinese_chars}, model_max_length={limit}, "
            f"padding_side={self.padding_side!r}, truncation_side={self.truncation_side!r}, "
            f"special_tokens={self.special_tokens_map})"
        )

    def __len__(self) -> int:
        """The number of tokens, added ones included: the rows an embedding table needs."""
        return len(self._vocabulary)

    def __bool__(self) -> bool:
        return True

    @property
    def vocab_size(self) -> int:
        """The number of tokens of the vocabulary file, without added ones."""
        return len(self._vocabulary.base)

    @property
    def vocab(self) -> dict[str, int]:
        """Every token with its id, as a new dictionary."""
        return self._vocabulary.as_dict()

    def get_vocab(self) -> dict[str, int]:
        """Every token with its id, as a new dictionary."""
        return self._vocabulary.as_dict()

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
        """Special tokens that have no name."""
        return list(map(str, self._extra))

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """Named special tokens that are set: ``{"cls_token": "[CLS]", …}``."""
        return {name: str(token) for name, token in self._special_tokens.items() if token is not None}

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once, named ones first."""
        return list(dict.fromkeys([*self.special_tokens_map.values(), *self.extra_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of ``all_special_tokens``."""
        return [self._id_or_unknown(token) for token in self.all_special_tokens]

    @property
    def max_len_single_sentence(self) -> int:
        """How many tokens of one text fit beside [CLS] and [SEP]."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """How many tokens of two texts together fit beside [CLS] and two [SEP]."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def add_tokens(self, new_tokens: TokenOrTokens, special_tokens: bool = False) -> int:
        """Set tokens apart, with new ids at the end where the vocabulary lacks them; returns how many are new.

        The model then needs a row for each: call ``model.resize_token_embeddings(len(tokenizer))``.
        """
        tokens = (
            [new_tokens] if isinstance(new_tokens, str | AddedToken) or hasattr(new_tokens, "content") else new_tokens
        )
        if tokens is not None and not isinstance(tokens, list | tuple | set | frozenset | Mapping):
            raise TokenizerError(f"{tokens!r:.80} are no tokens; expected a text, an AddedToken, or a list of them.")
        is_special = check_switch("special_tokens", special_tokens)
        added = [AddedToken.of(token, special=is_special) for token in tokens or ()]
        if is_special:
            added = [AddedToken(**{**token.to_json(), "special": True}) for token in added]
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
        """Name special tokens: ``{"mask_token": "<mask>", "extra_special_tokens": ["<e>"]}``; adds what is missing.

        Where a token is new, call ``model.resize_token_embeddings(len(tokenizer))`` afterwards.
        """
        if not isinstance(special_tokens_dict, Mapping):
            raise TokenizerError(f"{special_tokens_dict!r:.80} is no dictionary; expected {{'mask_token': '<mask>'}}.")
        kinds = dict.fromkeys(special_tokens.NAMES, TOKEN) | dict.fromkeys(EXTRA, list_of(TOKEN))
        check_settings(special_tokens_dict, kinds, "add_special_tokens", TokenizerError)
        tokens: list[AddedToken] = []
        for name, value in special_tokens_dict.items():
            if name in special_tokens.NAMES:
                token = AddedToken.of(value, special=True)
                setattr(self, name, token)
                tokens.append(token)
            elif name in EXTRA:
                extra = [AddedToken.of(token, special=True) for token in value]
                replaces = check_switch("replace_extra_special_tokens", replace_extra_special_tokens)
                kept = [] if replaces and extra else self._extra
                new = [token for token in extra if token.content not in set(map(str, kept))]
                self._extra = [*kept, *new]
                tokens += new
            else:
                names = ", ".join((*special_tokens.NAMES, "extra_special_tokens"))
                raise TokenizerError(f"{name!r} is not a special token's name; use one of {names}.")
        return self.add_tokens(tokens, special_tokens=True)

    def _id_or_unknown(self, token: str) -> int:
        found = self._vocabulary.token_to_id(token)
        if found is None:
            found = self._vocabulary.base[str(self.unk_token)]
        return found

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The id of a token, or of each of several; [UNK]'s where the vocabulary has none."""
        if isinstance(tokens, str):
            return self._id_or_unknown(tokens)
        return [self._id_or_unknown(token) for token in as_texts("convert_tokens_to_ids", tokens)]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or of each of several; None for an id the vocabulary does not have."""
        ids = as_lists(ids)
        if not isinstance(ids, list):
            return self._token(ids)
        skipped = set(self.all_special_ids) if check_switch("skip_special_tokens", skip_special_tokens) else set()
        return [self._token(token_id) for token_id in ids if as_id(token_id) not in skipped]

    def _token(self, token_id: Any) -> str | None:
        return self._vocabulary.id_to_token(as_id(token_id))

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Tokens joined to text, "##" pieces without a space."""
        return join_tokens(as_texts("convert_tokens_to_string", tokens))

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **older: Any,
    ) -> Any:
        """The text of a sequence of ids, or a list of texts for a batch of them; lists and tensors alike."""
        older_arguments.refuse("decode", older, DECODING)
        skips = check_switch("skip_special_tokens", skip_special_tokens)
        cleans = check_switch("clean_up_tokenization_spaces", clean_up_tokenization_spaces)
        ids = as_lists(token_ids)
        if not isinstance(ids, list):
            ids = [ids]
        if ids and isinstance(ids[0], list):
            return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in ids]
        tokens = [token for token_id in ids if (token := self._token(token_id)) is not None]
        if skips:
            tokens = [token for token in tokens if token not in self._vocabulary.special]
        text = join_tokens(tokens)
        cleans = self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else cleans
        return clean_up(text) if cleans else text

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **older: Any,
    ) -> list[str]:
        """``decode`` of a batch; always a list."""
        rows = as_lists(sequences)
        if rows == []:
            return [""]
        texts = self.decode(rows, skip_special_tokens, clean_up_tokenization_spaces, **older)
        return [texts] if isinstance(texts, str) else texts

    @property
    def frame(self) -> Frame:
        """What stands around the texts of a row; ``frame.row(ids)`` lays one out."""
        # Numbers 2 and 3 are the ecosystem's stand-ins where a vocabulary names no [CLS] or [SEP].
        cls_id = 2 if self.cls_token_id is None else self.cls_token_id
        sep_id = 3 if self.sep_token_id is None else self.sep_token_id
        pad = (self.pad_token_id or 0, str(self.pad_token))
        return Frame((cls_id, str(self.cls_token)), (sep_id, str(self.sep_token)), pad)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """2 for [CLS] text [SEP], 3 with a second text and its [SEP]."""
        return special_count(check_switch("pair", pair))

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """[CLS] first [SEP], or [CLS] first [SEP] second [SEP], from ids."""
        second = None if token_ids_1 is None else as_ids(token_ids_1)
        return self.frame.row(as_ids(token_ids_0), second).ids

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 for special tokens: found by id in a finished row, by place in the row that the two texts would make."""
        if not check_switch("already_has_special_tokens", already_has_special_tokens):
            second = None if token_ids_1 is None else [0] * len(as_ids(token_ids_1))
            return lay_out(1, [0] * len(as_ids(token_ids_0)), 1, second, 1)
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

        The ``tokenizers`` and transformers libraries load them to the identical tokenizer; so does ``from_pretrained``.
        """
        older_arguments.refuse("save_pretrained", older, ["save_directory"])
        config = {
            "added_tokens_decoder": {str(i): token.to_json() for i, token in self.added_tokens_decoder.items()},
            "clean_up_tokenization_spaces": self.clean_up_tokenization_spaces,
            "do_lower_case": self.do_lower_case,
            "extra_special_tokens": self.extra_special_tokens,
            "model_input_names": self.model_input_names,
            "model_max_length": self.model_max_length,
            "padding_side": self.padding_side,
            "split_special_tokens": self.split_special_tokens,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": self.tokenize_chinese_chars,
            "tokenizer_class": "BertTokenizer",
            "truncation_side": self.truncation_side,
            **self.special_tokens_map,
        }
        base = self._vocabulary.base
        pipeline = pipeline_description(base, str(self.unk_token), self._vocabulary.added, self._basic, self.frame)
        contents = {VOCAB_FILE: vocab_text(base), CONFIG_FILE: to_json(config), TOKENIZER_FILE: to_json(pipeline)}
        return write_files(save_directory, contents)
