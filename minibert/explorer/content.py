"""All that a page knows: the model, one or two walks, what they have in common.  JSON, made of what the lens found.

Start with :func:`content_of`; the live page gets the same, made anew for what is typed and edited (live.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minibert.errors import InputError
from minibert.explorer.packing import SENTENCE_LIMIT, Detail, choose_detail
from minibert.explorer.steps import describe_steps
from minibert.explorer.text import Reading, read
from minibert.explorer.values import Plane, Run, describe_model, encoder_of, run, tokens_of, walk_of
from minibert.explorer.views import compare, predictions, predictions_when_masked, sensitivity_maps
from minibert.palette import SCALES
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer

LETTERS = 7_700_000  # of all tensors of a page, so that the file stays under 8 MB
SAMPLES = 4  # draws of noise for each position of a sensitivity map
STD = 0.1


@dataclass(frozen=True)
class Sample:
    """One text with its run, unedited."""

    reading: Reading
    run: Run
    detail: Detail
    plane: Plane


def sample_of(
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    text: str,
    limit: int = LETTERS,
    masked: tuple[int, ...] = (),
) -> Sample:
    """Tokenize and run ``text``, some positions masked; ``limit``: letters that its numbers may take in the page."""
    if model.training:
        raise InputError("The model is in training mode, where dropout changes every value: call model.eval() first.")
    reading = read(model, tokenizer, text, masked)
    detail = choose_detail(model.config, reading.length, limit)
    found = run(model, reading.inputs)
    return Sample(reading, found, detail, Plane.of(found.hidden))


def content_of(
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    texts: Sequence[str],
    *,
    name: str,
    samples: int | None = None,
    std: float = STD,
    limit: int = LETTERS,
) -> dict[str, Any]:
    """What the page of one or two ``texts`` holds.

    ``samples``: draws of noise for each position of the sensitivity maps, 0 for none; default 4, for long texts 0.
    """
    found = [sample_of(model, tokenizer, text, limit // len(texts)) for text in texts]
    content = content_of_samples(model, tokenizer, found, name=name)
    for walk, sample in zip(content["walks"], found, strict=True):
        walk["sensitivity"] = sensitivity_of(model, sample, samples, std)
        walk["predictions_when_masked"] = masked_of(model, tokenizer, sample)
    return content


def content_of_samples(
    model: BertPreTrainedModel, tokenizer: BertTokenizer, found: Sequence[Sample], *, name: str, kind: str = "float16"
) -> dict[str, Any]:
    """The content without sensitivity maps; ``kind`` is that of its large tensors."""
    return {
        "live": False,
        "palette": SCALES,
        "model": describe_model(model, name) | describe_steps(model),
        "walks": [described_walk(model, tokenizer, sample, kind) for sample in found],
        "comparison": comparison_of(model, found, kind),
    }


def described_walk(
    model: BertPreTrainedModel, tokenizer: BertTokenizer, sample: Sample, kind: str = "float16"
) -> dict[str, Any]:
    """The text, its walk, and what each layer would predict."""
    config, shown = encoder_of(model).config, sample.detail.tokens
    walk = walk_of(sample.run, config, sample.detail, plane=sample.plane, kind=kind)
    about = tokens_of(sample.reading, sample.detail, config)
    return about | walk | {"predictions": predictions(model, tokenizer, sample.reading, shown, kind)}


def sensitivity_of(model: BertPreTrainedModel, sample: Sample, samples: int | None, std: float) -> dict[str, Any]:
    """The maps, or why there are none."""
    T, shown = sample.reading.length, sample.detail.tokens
    if samples is None:
        samples = SAMPLES if SENTENCE_LIMIT >= T else 0
    if not samples:
        return {"reason": f"Sensitivity maps were not made for these {T} tokens; ask for them with --samples 4."}
    return sensitivity_maps(model, sample.reading, shown, std, samples)


def masked_of(model: BertPreTrainedModel, tokenizer: BertTokenizer, sample: Sample) -> dict[str, Any] | None:
    """What each layer would predict at each token if it alone were masked; None where that cannot be made."""
    if sample.reading.length > SENTENCE_LIMIT:
        return None
    return predictions_when_masked(model, tokenizer, sample.reading, sample.detail.tokens)


def comparison_of(model: BertPreTrainedModel, found: Sequence[Sample], kind: str) -> dict[str, Any] | None:
    """What two texts have in common; None for one."""
    if len(found) < 2:
        return None
    first, second = found
    readings, hidden = (first.reading, second.reading), (first.run.hidden, second.run.hidden)
    return compare(model, readings, hidden, (first.detail.tokens, second.detail.tokens), kind)
