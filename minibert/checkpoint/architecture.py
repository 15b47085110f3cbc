"""Which class a checkpoint is for: what its config names, or else what its tensors can only be for."""

from typing import TYPE_CHECKING, Any

import minibert
from minibert.checkpoint.load import load_pretrained
from minibert.checkpoint.names import read_name
from minibert.checkpoint.weights import Weights, open_weights
from minibert.config import BertConfig, find_config
from minibert.errors import ConfigError
from minibert.source import Source, same_commit, take_where

if TYPE_CHECKING:
    from minibert.pretrained import BertPreTrainedModel


def load_architecture(source: Source, *, architecture: str | None = None, **settings: Any) -> "BertPreTrainedModel":
    """A model of the class ``architecture``, by default the one that fits the checkpoint, with its weights.

    Raises ConfigError for a class that is not here, and whatever :func:`load_pretrained` raises.
    """
    where = take_where(settings)
    path = find_config(source, where)
    where = same_commit(where, path)
    config = BertConfig.from_pretrained(path)
    name = architecture or named_architecture(config) or fitting_architecture(open_weights(source, where))
    if not (name.startswith("Bert") and hasattr(getattr(minibert, name, None), "from_pretrained")):
        raise ConfigError(f"{name} is no model here; there are BertModel, BertForMaskedLM and the other heads.")
    model_class: type[BertPreTrainedModel] = getattr(minibert, name)
    return load_pretrained(model_class, source, config=config, **where, **settings)


def named_architecture(config: BertConfig) -> str | None:
    """The first of the config's ``architectures`` that is here."""
    named = getattr(config, "architectures", None)
    if not isinstance(named, list):
        return None
    return next((name for name in named if name == "BertModel" or str(name).startswith("BertFor")), None)


def fitting_architecture(weights: Weights) -> str:
    """The class that uses the most of a checkpoint's tensors."""
    names = {read_name(name).ours for name in weights.names()}
    if "qa_outputs.weight" in names:
        return "BertForQuestionAnswering"
    if "classifier.weight" in names:
        return "BertForSequenceClassification" if "bert.pooler.dense.weight" in names else "BertForTokenClassification"
    predictions, relationship = (
        "cls.predictions.transform.dense.weight" in names,
        "cls.seq_relationship.weight" in names,
    )
    if predictions and relationship:
        return "BertForPreTraining"
    if predictions:
        return "BertForMaskedLM"
    return "BertForNextSentencePrediction" if relationship else "BertModel"
