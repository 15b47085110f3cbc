"""Options of the verbs that run a model on one text, and the text as inputs of the model."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from minibert.commands.verb import add_model, load_tokenizer
from minibert.errors import InputError
from minibert.source import Checkpoint

if TYPE_CHECKING:
    from minibert.config import BertConfig
    from minibert.pretrained import BertPreTrainedModel
    from minibert.tokenizer import BatchEncoding, BertTokenizer

ONE_LAYER = "only this layer, encoder.layer.L, from 0"


def add_one_text(verb: argparse.ArgumentParser) -> None:
    """Add a text or a pair of texts, and the checkpoint."""
    verb.add_argument("text", metavar="TEXT", help="the text, in quotes")
    verb.add_argument("pair", nargs="?", metavar="TEXT", help="a second text, for a model that reads pairs")
    add_truncate(verb)
    add_model(verb)


def add_truncate(verb: argparse.ArgumentParser) -> None:
    """Add the option to cut a text that is too long."""
    verb.add_argument("--truncate", action="store_true", help="cut a text that is longer than the model reads")


def number_from_0(text: str) -> int:
    """Parse a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def load_inputs(options: argparse.Namespace) -> tuple["BertPreTrainedModel", dict[str, Any], list[str]]:
    """The model in the class of the checkpoint, its inputs, and the pieces of the text."""
    from minibert.auto import load_architecture

    options.model = Checkpoint.open(options.model)
    tokenizer, model = load_tokenizer(options.model), load_architecture(options.model)
    inputs = encode(tokenizer, model.config, options.text, options.pair, truncate=options.truncate)
    return model, dict(inputs), tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])


def encode(
    tokenizer: "BertTokenizer", config: "BertConfig", text: str, pair: str | None = None, *, truncate: bool
) -> "BatchEncoding":
    """The text, or pair, as inputs of the model, (1, T) each; a cut is reported on stderr.

    Raises InputError for a text that is longer than the model reads, unless ``truncate``.
    """
    limit = min(tokenizer.model_max_length, config.max_position_embeddings)
    inputs = tokenizer(text, pair, return_tensors="pt", verbose=False)
    length = inputs["input_ids"].shape[1]
    if length <= limit:
        return inputs
    if not truncate:
        raise InputError(
            f"The text has {length} tokens and this model reads {limit}. Give a shorter text, or --truncate to take "
            f"its first {limit}."
        )
    say_cut("the text", length, limit)
    return tokenizer(text, pair, return_tensors="pt", truncation=True, max_length=limit)


def say_cut(what: str, length: int, limit: int) -> None:
    """Report on stderr that a text was cut, if it was."""
    if length > limit:
        print(f"minibert: {what} has {length} tokens and was cut to the {limit} that this model reads", file=sys.stderr)
