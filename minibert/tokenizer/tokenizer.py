"""BertTokenizer: the calling convention people know, over the rooms that do the work.

Text is encoded in encoder.py (read basic.py and wordpiece.py for the rules), cut in truncation.py, laid out in
layout.py for rows.py and encoding.py; here the arguments and results are those of transformers' BertTokenizer, name for
name.  Look first at ``__call__``.  Vocabulary and special tokens stand in the base class, vocabulary_methods.py.
"""

import logging
from collections.abc import Sequence
from typing import Any

from minibert.errors import TokenizerError
from minibert.source import Checkpoint, Source, take_where
from minibert.tokenizer import agreement, older_arguments
from minibert.tokenizer.batch_encoding import BatchEncoding, Filler, pad_rows
from minibert.tokenizer.encoder import Detail
from minibert.tokenizer.encoding import SIMPLE_COLUMNS, Plan, columns_of
from minibert.tokenizer.files import load_settings, open_tokenizer_files
from minibert.tokenizer.request import Request, check_call, check_side, examples
from minibert.tokenizer.vocabulary_methods import VocabularyMethods
from minibert.tokenizer.windows import TokenRow

logger = logging.getLogger(__name__)


class BertTokenizer(older_arguments.OlderCalls, VocabularyMethods):
    """Text to BERT's inputs and back.  Safe to call from many threads once tokens are no longer being added.

    ``vocab`` is a vocabulary file or a dictionary of tokens and ids; ``from_pretrained`` reads all settings too.
    """

    @classmethod
    def from_pretrained(cls, source: Source, **settings: Any) -> "BertTokenizer":
        """Load from ``source``: a folder with vocab.txt or tokenizer.json, such a file, or a name on the hub.

        ``settings`` are arguments of the class, which win over what the files say, and those of
        ``minibert.source.Where`` (``revision`` …).  Raises TokenizerError for a vocabulary that cannot be used,
        CheckpointError for a source that does not exist.
        """
        checkpoint = Checkpoint.open(source, **take_where(settings))
        named = settings.pop("tokenizer_class", None)
        if named is not None and not (isinstance(named, str) and named in ("BertTokenizer", "BertTokenizerFast")):
            raise TokenizerError(f"tokenizer_class={named!r:.80} is not known; this is 'BertTokenizer'.")
        files = open_tokenizer_files(checkpoint)
        if named is None:
            agreement.check_class(files.config, files.model_config, files.origin)
        agreement.check_older_settings(files.config, settings.keys(), files.origin)
        arguments = load_settings(files, settings)
        arguments.setdefault("name_or_path", str(source))
        arguments.setdefault("do_lower_case", True)
        tokenizer = cls(files.vocab, origin=files.origin, **arguments)
        agreement.check_rules(files.vocab, tokenizer._basic, settings.keys(), files.origin)
        agreement.check_size(len(tokenizer), files.model_config, files.origin)
        return tokenizer

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
        "only_first", "only_second"; to ``max_length`` or the model's.  ``return_overflowing_tokens``
        returns what was cut as further rows, which share ``stride`` tokens.  ``is_split_into_words``: texts are
        lists of words.  Offsets count characters of the text as given.  ``older``: arguments of earlier
        releases (``pad_to_max_length=True``), see older_arguments.py.  Raises TokenizerError.
        """
        call = {
            "add_special_tokens": add_special_tokens,
            "padding": padding,
            "truncation": truncation,
            "max_length": max_length,
            "stride": stride,
            "is_split_into_words": is_split_into_words,
            "pad_to_multiple_of": pad_to_multiple_of,
            "padding_side": padding_side,
            "return_tensors": return_tensors,
            "return_token_type_ids": return_token_type_ids,
            "return_attention_mask": return_attention_mask,
            "return_overflowing_tokens": return_overflowing_tokens,
            "return_special_tokens_mask": return_special_tokens_mask,
            "return_offsets_mapping": return_offsets_mapping,
            "return_length": return_length,
            "verbose": verbose,
            "split_special_tokens": split_special_tokens,
        }
        if older:
            return self(text, text_pair, text_target, text_pair_target, **older_arguments.renamed(older, call))
        check_call(call)
        if text is None and text_target is None:
            raise TokenizerError("There is nothing to tokenize: give text, or text_target for labels.")
        fields = {
            "token_type_ids": self._wanted("token_type_ids", return_token_type_ids),
            "attention_mask": self._wanted("attention_mask", return_attention_mask),
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
            "length": return_length,
            "overflow_to_sample_mapping": return_overflowing_tokens,
        }
        request = Request.of(padding, truncation, max_length, pad_to_multiple_of, self.model_max_length, verbose)
        if text is None:
            text, text_pair, text_target = text_target, text_pair_target, None
        given, is_batch = examples(text, text_pair, is_split_into_words)
        if request.padding != "do_not_pad":
            self._pad_id()  # refuses when there is no padding token
        side = check_side("padding_side", self.padding_side if padding_side is None else padding_side)
        plan = self._plan(request, stride, add_special_tokens, split_special_tokens, side)
        wanted = {name for name, is_wanted in fields.items() if is_wanted}
        if wanted <= SIMPLE_COLUMNS:
            batch = BatchEncoding(plan.columns(given, wanted), lambda: plan.rows(given))
        else:
            batch = BatchEncoding(*columns_of(plan.rows(given), wanted))
        if verbose and request.max_length is None:
            self._warn_about_length(batch.data["input_ids"])
        batch.convert_to_tensors(return_tensors)
        if not is_batch and return_tensors is None and not return_overflowing_tokens:
            batch.data = {name: v[0] if isinstance(v[0], list) else v for name, v in batch.data.items()}
        if text_target is not None:
            for_labels = {
                name: value for name, value in call.items() if not name.startswith("return_") and name != "stride"
            }
            labels = self(text_target, text_pair_target, return_tensors=return_tensors, **for_labels)
            batch["labels"] = labels["input_ids"]
        return batch

    def token_rows(
        self, texts: Sequence[Any], max_length: int, stride: int | None = None
    ) -> tuple[list[TokenRow], list[int], int]:
        """Texts, or pairs of them, as rows of at most ``max_length`` tokens without padding; minibert's own.

        Longer ones are cut as ``truncation=True`` cuts them; or with a ``stride`` read in windows that share so many
        tokens, as with ``return_overflowing_tokens=True``.  Returns the rows, for each the number of its text, and how
        many texts were cut.  Raises TokenizerError.
        """
        check_call({"max_length": max_length, "stride": 0 if stride is None else stride})
        request = Request.of(False, True, max_length, None, self.model_max_length)
        given, _ = examples(list(texts) if isinstance(texts, tuple) else texts, None, False)
        rows: list[TokenRow] = []
        owners: list[int] = []
        cut = 0
        plan = self._plan(request, stride or 0)
        for number, (row, rest) in enumerate(plan.token_rows(given, overflows=stride is not None)):
            rows += [row, *(rest or ())]
            owners += [number] * (len(rows) - len(owners))
            cut += stride is None and rest is not None
        return rows, owners, cut

    def detail(self, text: str) -> Detail:
        """The tokens of a text alone: ids, offsets in characters, the number of each token's word; minibert's own.

        Raises TokenizerError for what is no text.
        """
        if not isinstance(text, str):
            raise TokenizerError(f"{text!r:.80} is no text; expected a str.")
        return self._encoder.detail(text, self.split_special_tokens)

    def _plan(
        self,
        request: Request,
        stride: int,
        add_special: bool = True,
        split_special_tokens: bool | None = None,
        padding_side: str = "right",
    ) -> Plan:
        plan = Plan(
            encoder=self._encoder,
            frame=self.frame,
            request=request,
            add_special=add_special,
            stride=stride,
            split_special_tokens=self.split_special_tokens if split_special_tokens is None else split_special_tokens,
            truncation_side=check_side("truncation_side", self.truncation_side),
            padding_side=padding_side,
        )
        plan.check()
        return plan

    def _wanted(self, name: str, asked: bool | None) -> bool:
        return name in self.model_input_names if asked is None else asked

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
        """Only the ids of ``self(text, …)``."""
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
        """Pad rows that were tokenized before, as a data collator does; unknown fields pass through unchanged."""
        side = check_side("padding_side", self.padding_side if padding_side is None else padding_side)
        lengths = {"max_length": max_length, "pad_to_multiple_of": pad_to_multiple_of}
        check_call({**lengths, "return_attention_mask": return_attention_mask, "verbose": verbose})
        request = Request.of(padding, None, max_length, pad_to_multiple_of, self.model_max_length, verbose)
        filler = Filler(
            self._pad_id(), side, self._wanted("attention_mask", return_attention_mask), return_attention_mask is True
        )
        return pad_rows(encoded_inputs, request, filler, return_tensors)
