"""BertConfig: every setting of the shape and the arithmetic of a BERT, in one flat dataclass.

The keys are those of a ``config.json`` (google-research/bert's ``bert_config.json``, as transformers extended it), so a
checkpoint's file is read and written back unchanged: unknown keys (``directionality``, ``pooler_fc_size``, …) are kept,
saved and printed like any other.  Start with the fields; those that are easy to get wrong have the reason beside them.
"""

import copy
import json
import logging
import os
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Self

from minibert.errors import CheckpointError, ConfigError
from minibert.files import LARGEST_SETTINGS, read_json, write_text
from minibert.foreign import family_of_settings, is_class_of_another_family, what_is_by_name, what_lies_in
from minibert.schema import FLAG, NAME, RATE, SIZE, Kind, check_settings, list_of, object_of, optional, shown
from minibert.source import Checkpoint, Source, as_path, take_where
from minibert.switches import take_source, take_switches

logger = logging.getLogger(__name__)

CONFIG_FILES = ("config.json", "bert_config.json")  # the second is Google's own
# Of an adapter and its base together.  Not called config.json: transformers takes a folder with that for a whole model.
ADAPTED_CONFIG = "adapted_config.json"
MOST_LABELS = 100_000  # a mistaken billion would fill the memory with names
LABELS = ("id2label", "label2id")  # null in some files, which means the default
NOT_SAVED = {"attn_implementation"}  # a property of the run, not of the checkpoint


@dataclass(init=False, repr=False)
class BertConfig:
    """The settings of a BERT: ``BertConfig(hidden_size=128, …)``.  The defaults are BERT-base's.

    Fields can be assigned (``config.num_labels = 3``); a model checks all of them when it is built (:meth:`validate`).
    """

    vocab_size: int = 30522
    hidden_size: int = 768  # H
    num_hidden_layers: int = 12  # L
    num_attention_heads: int = 12  # N; each head reads D = H / N dimensions
    intermediate_size: int = 3072  # I, four times H in every BERT that Google published
    hidden_act: str = "gelu"  # the erf form; "gelu_new" and "gelu_pytorch_tanh" are approximations that differ at 1e-3
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512  # learned, so a hard limit; KcBERT has 300
    type_vocab_size: int = 2  # segments A and B
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12  # Google trained with 1e-12; torch's default of 1e-5 shows up in the MLM logits
    pad_token_id: int | None = 0  # its embedding gets no gradient (nn.Embedding's padding_idx)
    classifier_dropout: float | None = None  # None: hidden_dropout_prob
    chunk_size_feed_forward: int = 0  # tokens per chunk: less memory, same values; 0 is all at once
    tie_word_embeddings: bool = True  # the MLM decoder is the word embedding, transposed (paper, appendix A.2)

    position_embedding_type: str = "absolute"  # the paper's; the relative variants are other models
    is_decoder: bool = False  # BERT is an encoder: a causal mask would be another model
    add_cross_attention: bool = False

    problem_type: str | None = None  # regression | single_label_classification | multi_label_classification
    id2label: dict[int, str] = field(default_factory=lambda: {0: "LABEL_0", 1: "LABEL_1"})
    label2id: dict[str, int] = field(default_factory=lambda: {"LABEL_0": 0, "LABEL_1": 1})

    output_attentions: bool = False
    output_hidden_states: bool = False
    return_dict: bool = True
    attn_implementation: str = "sdpa"  # "sdpa" is fast, "eager" is written out and returns the probabilities

    model_type = "bert"

    def __init__(self, /, **settings: Any) -> None:  # "/": a file may have a key "self"
        """Every field by keyword.  Unknown keys become attributes too; ``num_labels=n`` names n labels."""
        num_labels = settings.pop("num_labels", None)
        settings.pop("model_type", None)
        settings = {name: value for name, value in settings.items() if value is not None or name not in LABELS}
        names_alone = "id2label" in settings and "label2id" not in settings
        for known in fields(self):
            default = known.default if known.default_factory is MISSING else known.default_factory()
            setattr(self, known.name, settings.pop(known.name, default))
        for name, value in settings.items():
            if hasattr(type(self), name):  # "validate": null would switch the checks off
                raise ConfigError(f"{name!r} is no setting but a part of every config here; leave it out.")
            setattr(self, name, value)
        try:  # JSON turned the ids into strings
            named = {int(number): name for number, name in self.id2label.items()}
        except (AttributeError, ValueError, TypeError, OverflowError) as error:
            raise ConfigError(f"id2label is {self.id2label!r}; expected numbers with their names.") from error
        if len(named) < len(self.id2label):  # "1" and "01"
            raise ConfigError(f"id2label is {self.id2label!r}; expected one name for each number.")
        self.id2label = named
        if names_alone and NAMES.holds(named):
            self.label2id = {name: number for number, name in named.items()}
        if num_labels is not None and (type(num_labels) is not int or num_labels != self.num_labels):
            self.num_labels = num_labels

    @property
    def num_labels(self) -> int:
        """How many classes a classification head has: the length of ``id2label``."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        if type(count) is not int or not 1 <= count <= MOST_LABELS:
            raise ConfigError(f"num_labels is {count!r}; expected a whole number from 1 to {MOST_LABELS:,}.")
        self.id2label = {number: f"LABEL_{number}" for number in range(count)}
        self.label2id = {name: number for number, name in self.id2label.items()}

    # ── reading and writing ──────────────────────────────────────────────────────────────────────

    @classmethod
    def from_pretrained(cls, source: Source | None = None, **overrides: Any) -> Self:
        """The config of a checkpoint (folder or config file) or of a known architecture (``"bert-tiny"``).

        ``overrides`` replace settings of the file; ``revision=`` and its like are for the hub.  Raises CheckpointError
        when there is no such source, ConfigError when the file describes another or an impossible model, or two models.
        """
        source = take_source(source, overrides)
        checkpoint = Checkpoint.open(source, **take_where(overrides))
        take_switches(overrides)
        path, settings = read_settings(checkpoint)
        check_file(settings, path)
        try:
            config = cls(**{**settings, **overrides})  # this dict is not shared, so no copy is needed
            config.validate()
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        return config

    @classmethod
    def from_dict(cls, settings: dict[str, Any], **overrides: Any) -> Self:
        """A config from the content of a config.json; ConfigError when it is no dict."""
        if not isinstance(settings, dict):
            raise ConfigError(f"from_dict takes a dict of settings, by name; got a {type(settings).__name__}.")
        return cls(**{**copy.deepcopy(settings), **overrides})

    @classmethod
    def from_json_file(cls, path: Source) -> Self:
        """A config from one JSON file."""
        settings = read_json(as_path(path), largest=LARGEST_SETTINGS)
        check_file(settings, as_path(path))
        return cls.from_dict(settings)

    def to_dict(self) -> dict[str, Any]:
        """The content of a config.json, with unknown keys."""
        settings = {name: value for name, value in vars(self).items() if name not in NOT_SAVED}
        return {"model_type": self.model_type, **copy.deepcopy(settings)}

    def to_json_string(self) -> str:
        """The config.json as text."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def save_pretrained(self, folder: Source) -> None:
        """Write ``config.json`` into ``folder``, which is made if it does not exist."""
        write_text(as_path(folder) / "config.json", self.to_json_string())

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    # ── checking ─────────────────────────────────────────────────────────────────────────────────

    def validate(self) -> None:
        """Raise ConfigError, naming the field, when no BERT can be built from these settings."""
        for name, kind in SCHEMA.items():
            if not kind.holds(getattr(self, name)):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected {kind.expected}.")
        if self.position_embedding_type != "absolute":
            raise ConfigError(
                f"position_embedding_type is {self.position_embedding_type!r}; minibert has the paper's 'absolute' "
                "positions only. A checkpoint trained with relative positions is another model."
            )
        if self.is_decoder:
            raise ConfigError("is_decoder is true; minibert is the bidirectional encoder of the paper, not a decoder.")
        if self.add_cross_attention:
            raise ConfigError("add_cross_attention is true; minibert has no cross-attention: BERT is one encoder.")
        if self.attn_implementation not in ("eager", "sdpa"):
            raise ConfigError(f"attn_implementation is {self.attn_implementation!r}; choose 'eager' or 'sdpa'.")
        if self.hidden_size % self.num_attention_heads:
            raise ConfigError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}; "
                "every head needs the same number of dimensions."
            )
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ConfigError(
                f"pad_token_id is {self.pad_token_id}; the vocabulary has ids 0 to {self.vocab_size - 1}."
            )


NAMES = Kind(object_of(NAME).holds, "numbers with their names")
SCHEMA: dict[str, Kind] = {
    **dict.fromkeys(("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"), SIZE),
    **dict.fromkeys(("intermediate_size", "max_position_embeddings", "type_vocab_size"), SIZE),
    **dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), RATE),
    **dict.fromkeys(("layer_norm_eps", "initializer_range"), RATE),
    **dict.fromkeys(("tie_word_embeddings", "is_decoder", "add_cross_attention"), FLAG),
    **dict.fromkeys(("output_attentions", "output_hidden_states", "return_dict"), FLAG),
    **dict.fromkeys(("hidden_act", "position_embedding_type", "attn_implementation"), NAME),
    "problem_type": optional(NAME),
    "classifier_dropout": optional(RATE),
    "pad_token_id": Kind(lambda x: x is None or type(x) is int, "an id of the vocabulary, or null"),
    "chunk_size_feed_forward": Kind(lambda x: type(x) is int and x >= 0, "a number of tokens, or 0 for all at once"),
    "id2label": NAMES,
    "label2id": Kind(lambda x: isinstance(x, dict), "names with their numbers"),
}


# Keys of files that are no fields: they describe the checkpoint, not the arithmetic.
FILE_SCHEMA: dict[str, Kind] = {
    "architectures": optional(list_of(NAME)),
    "tokenizer_class": optional(NAME),
    "embedding_size": optional(SIZE),
    "is_encoder_decoder": optional(FLAG),
}


def check_file(settings: dict[str, Any], path: Path) -> None:
    """Raise ConfigError when the content of a config.json describes another model than BERT, or contradicts itself.

    Contradictions that other libraries ignore are logged as a warning.
    """
    model_type = settings.get("model_type", "bert")  # Google's bert_config.json names none
    if model_type != "bert":
        raise ConfigError(f"{path} says model_type {model_type!r}; minibert runs 'bert' models only.")
    check_settings(settings, FILE_SCHEMA, path, ConfigError)
    others = [name for name in settings.get("architectures") or () if is_class_of_another_family(name)]
    if others:
        raise ConfigError(
            f"{path} says model_type 'bert' and architectures {', '.join(others)}, a class of another family. One of "
            "the two is wrong; minibert runs 'bert' models only."
        )
    if family := family_of_settings(settings):
        raise ConfigError(
            f"{path} says model_type 'bert', but {family[1]}: that is {family[0]}. minibert runs 'bert' models only."
        )
    names, count = settings.get("id2label"), settings.get("num_labels")
    if isinstance(names, dict) and type(count) is int and count != len(names):
        raise ConfigError(
            f"{path} says num_labels {count} and names {len(names)} labels in id2label. Leave num_labels out, or name "
            "as many labels."
        )
    numbers = settings.get("label2id")
    if isinstance(names, dict) and isinstance(numbers, dict):
        for number, name in names.items():
            if isinstance(name, str) and name in numbers and str(numbers[name]) != str(number):
                warn_once(
                    f"{path}: id2label calls {number} {name!r}, label2id numbers it {shown(numbers[name])}. id2label "
                    "is used."
                )
                break
    if settings.get("auto_map"):
        warn_once(
            f"{path} asks for code of its own (auto_map), which is never run here: the weights are read as a plain "
            "BERT. Where that code computes something else, so does this model."
        )


@cache
def warn_once(sentence: str) -> None:
    """Log a warning, once even if a load meets it several times."""
    logger.warning("%s", sentence)


def read_settings(checkpoint: Checkpoint) -> tuple[Path, dict[str, Any]]:
    """A checkpoint's config file and its content; an ONNX file without one shows every setting of the arithmetic."""
    path = config_file(checkpoint)
    if path is not None:
        return path, read_json(path, largest=LARGEST_SETTINGS)
    if checkpoint.file is not None and (known := what_is_by_name(checkpoint.file)):
        raise CheckpointError(f"{checkpoint.file} is {known}")
    from minibert.onnx_graph import settings_of_graph  # here: it needs torch, which a config.json does not

    shown = settings_of_graph(checkpoint)
    if shown is None:
        raise CheckpointError(
            f"{os.fspath(checkpoint)} holds no config.json. Put the one that belongs to the weights beside them. "
            f"Architectures known by name are {', '.join(sorted(known_architectures()))}.{what_lies_in(checkpoint)}"
        )
    warn_once(f"{os.fspath(checkpoint)} holds no config.json: its settings are those that {shown[0]} computes with.")
    return shown


def config_file(checkpoint: Checkpoint) -> Path | None:
    """The config file of a checkpoint: a JSON file, a folder's, a known architecture's, or the hub's; None for none."""
    if checkpoint.file is not None and checkpoint.file.suffix == ".json":
        return checkpoint.file
    known = known_architectures()
    if checkpoint.folder is None and os.fspath(checkpoint) in known:
        return known[os.fspath(checkpoint)]
    try:
        for name in CONFIG_FILES:
            if path := checkpoint.own(name):
                return path
    except CheckpointError as error:  # of the hub, where a mistyped name was looked for
        if close := get_close_matches(os.fspath(checkpoint), known, n=1):
            raise CheckpointError(f"{error} Or did you mean {close[0]}, an architecture known by name?") from error
        raise
    if checkpoint.base is not None:
        return checkpoint.own(ADAPTED_CONFIG) or config_file(checkpoint.base)
    return None


def known_architectures() -> dict[str, Path]:
    """The architectures that ship with the project, by name: ``configs/NAME.json``."""
    package = Path(__file__).parent
    for folder in (package / "configs", package.parent / "configs"):  # in a wheel; in a checkout
        if folder.is_dir():
            return {path.stem: path for path in folder.glob("*.json")}
    return {}
