"""The content of a page as JSON: the model, one or two runs, and their comparison.

Start with :func:`content_of`; the live page (live.py) gets the same, for each new text and intervention.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibert.errors import InputError
from minibert.explorer.packing import SENSITIVITY_LIMIT, DetailLevel, choose_detail
from minibert.explorer.sentences import Sentence
from minibert.explorer.steps import describe_steps
from minibert.explorer.text import Text, TokenizedText, languages_of, tokenize
from minibert.explorer.values import Projection, RunValues, describe_model, encoder_of, pack_run, run
from minibert.explorer.views import compare, next_sentence, predictions, predictions_when_masked, sensitivity_maps
from minibert.palette import SCALES
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer

CHARACTERS = 7_700_000  # of all tensors of a page, so that the file stays under 8 MB
SAMPLES = 4  # noise samples for each position of a sensitivity map
STD = 0.1


@dataclass(frozen=True)
class TracedText:
    """One text with its run, without interventions."""

    text: TokenizedText
    values: RunValues
    detail: DetailLevel
    projection: Projection


def trace_text(
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    text: Text,
    limit: int = CHARACTERS,
    masked: tuple[int, ...] = (),
) -> TracedText:
    """Tokenize and run ``text``, with some positions masked; ``limit``: characters for its numbers in the page."""
    if model.training:
        raise InputError("The model is in training mode, where dropout changes every value: call model.eval() first.")
    tokenized = tokenize(model, tokenizer, text, masked)
    values = run(model, tokenized.inputs)
    return TracedText(
        tokenized, values, choose_detail(model.config, tokenized.length, limit), Projection.of(values.hidden)
    )


def name_of(model: BertPreTrainedModel, tokenizer: BertTokenizer) -> str:
    """What a page calls the model by default: the last part of the checkpoint's name."""
    return Path(str(tokenizer.name_or_path or type(model).__name__)).name


def content_of(
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    texts: Sequence[Text],
    *,
    name: str,
    samples: int | None = None,
    std: float = STD,
    limit: int = CHARACTERS,
) -> dict[str, Any]:
    """The content of a page of one or two ``texts``.

    ``samples``: noise samples for each position of the sensitivity maps, 0 for no maps; default 4, for long texts 0.
    """
    traced = [trace_text(model, tokenizer, text, limit // len(texts)) for text in texts]
    content = content_of_traced(model, tokenizer, traced, name=name)
    for described, one in zip(content["runs"], traced, strict=True):
        described["sensitivity"] = _sensitivity(model, one, samples, std)
        described["predictions_when_masked"] = (
            predictions_when_masked(model, tokenizer, one.text, one.detail.tokens)
            if one.text.length <= SENSITIVITY_LIMIT
            else None
        )
    return content


def content_of_traced(
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    traced: Sequence[TracedText],
    *,
    name: str,
    dtype: str = "float16",
) -> dict[str, Any]:
    """The content without sensitivity maps; ``dtype`` is that of its large tensors."""
    return {
        "live": False,
        "palette": SCALES,
        "model": model_for_page(model, tokenizer, name),
        "runs": [_described(model, tokenizer, one, dtype) for one in traced],
        "comparison": _comparison(model, traced, dtype),
    }


def model_for_page(model: BertPreTrainedModel, tokenizer: BertTokenizer, name: str) -> dict[str, Any]:
    """The model for the page: its sizes, the steps of a layer, the languages of its vocabulary, its mask token."""
    vocabulary = {"languages": languages_of(tokenizer), "mask": tokenizer.mask_token}
    return describe_model(model, name) | describe_steps(model) | vocabulary


def _described(model: BertPreTrainedModel, tokenizer: BertTokenizer, one: TracedText, dtype: str) -> dict[str, Any]:
    """The text, the values of its run, what is left out of them, and the predictions of each layer."""
    config, text = encoder_of(model).config, one.text
    omitted = one.detail.omissions(config, text.length)
    if text.full_length > text.length:
        omitted.insert(0, Sentence.of("omitted.cut", full=text.full_length, length=text.length))
    values = pack_run(one.values, config, one.detail, projection=one.projection, dtype=dtype)
    predicted = predictions(model, tokenizer, text, one.detail.tokens, dtype)
    described = text.describe() | {"omitted": [sentence.describe() for sentence in omitted]}
    follows = next_sentence(model, text, one.values.hidden[-1])
    return described | values | {"predictions": predicted, "next_sentence": follows}


def _sensitivity(model: BertPreTrainedModel, one: TracedText, samples: int | None, std: float) -> dict[str, Any]:
    """The sensitivity maps, or the reason why there are none."""
    T = one.text.length
    if samples is None:
        samples = SAMPLES if T <= SENSITIVITY_LIMIT else 0
    if not samples:
        return Sentence.of("reason.no_maps", tokens=T).as_reason()
    return sensitivity_maps(model, one.text, one.detail.tokens, std, samples)


def _comparison(model: BertPreTrainedModel, traced: Sequence[TracedText], dtype: str) -> dict[str, Any] | None:
    """The comparison of two texts; None for one."""
    if len(traced) < 2:
        return None
    first, second = traced
    texts, hidden = (first.text, second.text), (first.values.hidden, second.values.hidden)
    return compare(model, texts, hidden, (first.detail.tokens, second.detail.tokens), dtype)
