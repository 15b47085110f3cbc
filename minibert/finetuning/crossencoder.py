"""Cross-encoders: how sentence-transformers prepares the texts and activates the logits of a classification head.

Its ``CrossEncoder`` passes the logits through an activation that is named in one of three places: in
``config_sentence_transformers.json`` (release 5.2 and later), in config.json as ``sentence_transformers.activation_fn``
(4.0 and later), or there as ``sbert_ce_default_activation_function``.  Where none names it, one label gets a sigmoid,
and several labels none.  Nothing that a file names is imported: activations.py has the table.
"""

from typing import Any, NamedTuple

from torch import Tensor

from minibert.activations import ACTIVATIONS, name_in, path_of
from minibert.config import BertConfig
from minibert.errors import CheckpointError, InputError
from minibert.files import read_json
from minibert.schema import FLAG, NAME, SIZE, TEXT, Kind, check_settings, object_of, optional, shown
from minibert.source import Checkpoint

PROBABILITIES = ("Sigmoid", "Softmax")  # activations whose values are probabilities
NEW, OLD = "sentence_transformers", "sbert_ce_default_activation_function"  # keys of config.json
MODEL_TYPE = "CrossEncoder"
SETTINGS: dict[str, Kind] = {  # config_sentence_transformers.json
    "activation_fn": optional(NAME),
    "prompts": object_of(optional(TEXT)),
    "default_prompt_name": optional(NAME),
}
LOADING = ("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs")
TRANSFORMER: dict[str, Kind] = {  # sentence_bert_config.json
    "max_seq_length": optional(SIZE),
    "do_lower_case": optional(FLAG),
    "transformer_task": optional(NAME),
    **dict.fromkeys(LOADING, optional(Kind(lambda x: isinstance(x, dict), "an object of settings"))),
}


class CrossEncoder(NamedTuple):
    """How sentence-transformers reads a checkpoint with a classification head."""

    activation: str  # a name of ACTIVATIONS
    prompt: str | None = None  # put before the text, of a pair before the first
    max_length: int | None = None  # tokens per row, where it is set outside of the tokenizer
    lower_case: bool = False  # whether texts are lower-cased, whatever the tokenizer does

    def choices(self) -> dict[str, Any]:
        """The same as fields of a task."""
        fields = {"activation": self.activation, "prompt": self.prompt, "max_length": self.max_length}
        return {name: value for name, value in fields.items() if value is not None}


def activation_settings(name: str) -> dict[str, Any]:
    """The fields of a config.json that name the activation for sentence-transformers, also before release 4.0."""
    return {NEW: {"activation_fn": path_of(name)}, OLD: path_of(name)}


def without_activation(settings: dict[str, Any]) -> dict[str, Any]:
    """The fields of a config without those of :func:`activation_settings`, which are about another head."""
    return {name: value for name, value in settings.items() if name not in (NEW, OLD)}


def activation_in(config: BertConfig) -> str | None:
    """The activation that a config names or implies; None where the config is not a cross-encoder's.

    For one label without a ``problem_type`` it is a sigmoid, as in sentence-transformers and transformers' pipeline.
    For regression without a named activation it is None: the number is the logit.
    """
    new, old = getattr(config, NEW, None), getattr(config, OLD, None)
    check_settings({NEW: new}, {NEW: optional(Kind(lambda x: isinstance(x, dict), "an object"))}, "config.json")
    check_settings({OLD: old}, {OLD: optional(NAME)}, "config.json")
    if new is not None and "activation_fn" in new:
        check_settings(new, {"activation_fn": optional(NAME)}, f"config.json, {NEW}")
        named = new["activation_fn"]
    else:
        named = old
    if named is not None:
        return activation_named(named, f"config.json ({OLD if named is old else f'{NEW}.activation_fn'})")
    if new is None and (config.problem_type == "regression" or config.num_labels > 1):
        return None
    return usual_activation(config)


def usual_activation(config: BertConfig) -> str:
    """The activation that sentence-transformers uses where a checkpoint names none."""
    return "Sigmoid" if config.num_labels == 1 else "Identity"


def activation_named(path: str, origin: str) -> str:
    """The name in ACTIVATIONS for the path of a class; CheckpointError for a class that is not there."""
    name = name_in(path)
    if name is None:
        raise CheckpointError(
            f"{origin} asks for the activation {shown(path)}, which minibert does not have; it has "
            f"{', '.join(f'torch.nn.{known}' for known in ACTIVATIONS)}. To choose one of these: activation=."
        )
    return name


def activate(name: str, logits: Tensor) -> Tensor:
    """Scores of logits, both (texts, labels); InputError for an unknown activation."""
    if name not in ACTIVATIONS:
        raise InputError(f"activation is {name!r}; expected one of {', '.join(ACTIVATIONS)}.")
    scores: Tensor = ACTIVATIONS[name]()(logits)
    return scores


def read_cross_encoder(checkpoint: Checkpoint, config: BertConfig) -> CrossEncoder | None:
    """The settings in sentence-transformers' own files of a checkpoint; None for a checkpoint without such files.

    Raises CheckpointError for steps and settings that are not implemented: the scores would be others.
    """
    listing = checkpoint.at("modules.json")
    path = None if listing is None else checkpoint.at("config_sentence_transformers.json")
    if listing is None or path is None:
        return None
    settings = read_json(path)
    if settings.get("model_type") != MODEL_TYPE:
        return None
    check_settings(settings, SETTINGS, path)
    steps = [step.get("type") if isinstance(step, dict) else step for step in read_json(listing, list)]
    if len(steps) != 1 or not str(steps[0]).endswith(".Transformer"):
        raise CheckpointError(
            f"{listing} lists the steps {', '.join(map(shown, steps)) or 'none'}; minibert has cross-encoders of one "
            "step, a Transformer with its classification head."
        )
    named = settings.get("activation_fn")
    activation = activation_in(config) if named is None else activation_named(named, f"{path} (activation_fn)")
    prompts, chosen = settings.get("prompts", {}), settings.get("default_prompt_name")
    if chosen is not None and chosen not in prompts:
        named = shown(list(prompts))
        raise CheckpointError(f"{path}: default_prompt_name is {shown(chosen)}, but prompts has {named}.")
    inner = read_transformer(checkpoint)
    return CrossEncoder(
        activation or usual_activation(config),
        (prompts[chosen] or None) if chosen is not None else None,
        inner.get("max_seq_length"),
        bool(inner.get("do_lower_case")),
    )


def read_transformer(checkpoint: Checkpoint) -> dict[str, Any]:
    """The settings in ``sentence_bert_config.json``; CheckpointError for one that is not implemented."""
    path = checkpoint.find("sentence_bert_config.json")
    if path is None:
        return {}
    settings: dict[str, Any] = read_json(path)
    check_settings(settings, TRANSFORMER, path)
    if (task := settings.get("transformer_task") or "sequence-classification") != "sequence-classification":
        raise CheckpointError(f"{path}: transformer_task is {shown(task)}; expected sequence-classification.")
    for name in LOADING:
        if settings.get(name):
            raise CheckpointError(f"{path}: {name} is {shown(settings[name])}; minibert has no such settings.")
    return settings
