"""Which class a checkpoint is for.

It is the class that config.json names, if the weights have that head; else the class that the tensors allow.  Where
several remain, one is chosen with a warning, and the choice is never written to a file.  Start with
:func:`architecture_of`.
"""

import re
from typing import Any

from minibert import heads
from minibert.checkpoint.load import CLASSIFIER, HEAD_SIZES, load_pretrained, with_labels_of_adapter
from minibert.checkpoint.tensors import Weights
from minibert.checkpoint.weights import as_weights, open_weights
from minibert.config import BertConfig, warn_once
from minibert.errors import ConfigError
from minibert.model import BertModel
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Checkpoint, Source, take_where
from minibert.switches import take_source

PREDICTIONS, RELATIONSHIP = "cls.predictions.transform.dense.weight", "cls.seq_relationship.weight"
POOLER = "bert.pooler.dense.weight"
# The classes, and the tensors that their heads need.
HEADS = {
    "BertModel": (),
    "BertForPreTraining": (PREDICTIONS, RELATIONSHIP),
    "BertForMaskedLM": (PREDICTIONS,),
    "BertForNextSentencePrediction": (RELATIONSHIP,),
    "BertForSequenceClassification": (CLASSIFIER,),
    "BertForTokenClassification": (CLASSIFIER,),
    "BertForMultipleChoice": (CLASSIFIER,),
    "BertForQuestionAnswering": ("qa_outputs.weight",),
}
BIO = re.compile(r"[BI]-.+")


def load_architecture(
    source: Source | None = None, *, architecture: str | None = None, **settings: Any
) -> BertPreTrainedModel:
    """A model of the class ``architecture``, by default the checkpoint's, with its weights.

    Raises ConfigError for an unknown class, and whatever :func:`load_pretrained` raises.
    """
    source = take_source(source, settings)
    checkpoint = Checkpoint.open(source, **take_where(settings))
    config = BertConfig.from_pretrained(checkpoint)
    state = settings.pop("state_dict", None)
    if state is None:
        weights = open_weights(checkpoint, use_safetensors=settings.get("use_safetensors"))
    else:
        weights = as_weights(state)
    if not HEAD_SIZES & set(settings):
        config = with_labels_of_adapter(config, checkpoint, weights)
    name = architecture or architecture_of(config, weights)
    if name not in HEADS:
        raise ConfigError(f"{name} is no model here; there are {', '.join(HEADS)}.")
    model_class: type[BertPreTrainedModel] = BertModel if name == "BertModel" else getattr(heads, name)
    return load_pretrained(model_class, checkpoint, config=config, state_dict=weights, **settings)


def architecture_of(config: BertConfig, weights: Weights) -> str:
    """The class that a checkpoint is for.  Warns if config.json contradicts the weights, or if several classes fit."""
    named, fitting = named_architecture(config), fitting_architectures(config, weights)
    if named is not None and set(HEADS[named]) <= our_names(weights):
        return named
    if names := getattr(config, "architectures", None):
        reason = f"whose head {weights.where} does not hold" if named else "which is no class here"
        warn_once(f"config.json names {named or ', '.join(map(str, names))}, {reason}; it is read as {fitting[0]}.")
    elif len(fitting) > 1:
        warn_once(
            f"{weights.where} may be a {' or a '.join(fitting)}, and config.json names no architectures; it is read as "
            f"{fitting[0]}. To settle it, write the class into config.json."
        )
    return fitting[0]


def named_architecture(config: BertConfig) -> str | None:
    """The first known class in the config's ``architectures``, without a prefix ``TF`` or ``Flax``; None if none is."""
    named = (str(name).removeprefix("TF").removeprefix("Flax") for name in getattr(config, "architectures", None) or ())
    return next((name for name in named if name in HEADS), None)


def fitting_architectures(config: BertConfig, weights: Weights) -> list[str]:
    """The classes that use most of a checkpoint's tensors: one, or several that only a config can tell apart."""
    names = our_names(weights)
    if "qa_outputs.weight" in names:
        return ["BertForQuestionAnswering"]
    if CLASSIFIER in names:
        labels = [name for name in config.id2label.values() if name != "O"]
        if POOLER not in names or (labels and all(BIO.fullmatch(name) for name in labels)):
            return ["BertForTokenClassification"]
        several = ["BertForSequenceClassification", "BertForTokenClassification"]
        return [*several, "BertForMultipleChoice"] if config.num_labels == 1 else several
    heads = {PREDICTIONS, RELATIONSHIP} & names
    return [next(name for name, own in HEADS.items() if set(own) == heads)]


def our_names(weights: Weights) -> set[str]:
    """Our names of a checkpoint's tensors."""
    return {reading.ours for reading in weights.readings().values()}
