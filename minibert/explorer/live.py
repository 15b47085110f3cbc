"""What the live page asks, and the answers: new texts, edits and what follows from them, sensitivity maps.

Questions are JSON objects from a browser, so each field is looked at before it is used.  Every answer has the form of
the file's content (content.py), with float32 in place of float16: on one machine there is room for it.  One question
is answered at a time; the machine has one model in memory and no more cores than it has.
"""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

from minibert.errors import InputError
from minibert.explorer.content import (
    SAMPLES,
    STD,
    Sample,
    content_of_samples,
    sample_of,
)
from minibert.explorer.interventions import Edits, parse_heads, parse_masked, parse_noise
from minibert.explorer.packing import SENTENCE_LIMIT
from minibert.explorer.page import page_html
from minibert.explorer.request_queue import Dropped
from minibert.explorer.values import add_edit, encoder_of, run, walk_of
from minibert.explorer.views import predictions, sensitivity_maps
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer

LONGEST_TEXT = 20_000  # characters
LETTERS_LIVE = 24_000_000  # of all numbers of an answer
REMEMBERED = 200_000_000  # bytes of runs that edits of several pages start from; 512 tokens of bert-base take 390 MB

Asked = tuple[str, tuple[int, ...]]  # a text, and which of its positions are masked


class Live:
    """One model with its tokenizer, and the page about it."""

    def __init__(
        self, model: BertPreTrainedModel, tokenizer: BertTokenizer, name: str, samples: int | None = None
    ) -> None:
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.samples = SAMPLES if samples is None else samples
        self._lock = Lock()
        self._known: dict[Asked, Sample] = {}  # of the texts that are on the page
        self.answers: dict[str, Callable[..., dict[str, Any]]] = {
            "walks": self.walks,
            "edits": self.edits,
            "sensitivity": self.sensitivity,
        }

    def page(self, texts: Sequence[str]) -> str:
        """The page with its first texts."""
        return page_html(self.walks({"texts": list(texts)}))

    def answer(
        self, question: str, given: Mapping[str, Any], wanted: Callable[[], bool] = lambda: True
    ) -> dict[str, Any]:
        """The answer to one of :attr:`answers`; InputError for a question that is none.

        ``wanted`` says whether somebody still waits; a question of many runs ends with Dropped when nobody does.
        """
        if question == "sensitivity":
            return self.sensitivity(given, wanted)
        return self.answers[question](given)

    def walks(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """``{"texts": […], "masked": [[position, …], …]}``: all about one or two texts, but for the sensitivity maps.

        ``masked``, here and below: for each text the positions where the mask token stands in place of the piece.
        """
        with self._lock:
            found = self._samples(given)
            content = content_of_samples(self.model, self.tokenizer, found, name=self.name, kind="float32")
            return content | {"live": True}

    def edits(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """``{"texts", "masked", "heads": [[layer, head], …], "noise": {…}, "walk"}``: the same runs, edited.

        Heads are missing in the run of every text; the noise is in that of number ``walk``.
        """
        with self._lock:
            return {"walks": [self._edited(given, *each) for each in enumerate(self._samples(given))]}

    def _edited(self, given: Mapping[str, Any], number: int, sample: Sample) -> dict[str, Any]:
        config = encoder_of(self.model).config
        noise = given.get("noise") if given.get("walk", 0) == number else None
        edits = Edits(parse_heads(config, given.get("heads", [])), parse_noise(config, noise, sample.reading.length))
        with edits.on(self.model):
            found = run(self.model, sample.reading.inputs)
            guesses = predictions(self.model, self.tokenizer, sample.reading, sample.detail.tokens, "float32")
        walk = walk_of(found, config, sample.detail, plane=sample.plane, kind="float32")
        return add_edit(walk, found, sample.run) | {"predictions": guesses}

    def sensitivity(self, given: Mapping[str, Any], wanted: Callable[[], bool] = lambda: True) -> dict[str, Any]:
        """``{"text", "masked": [position, …], "heads"}``: the maps of one text, without the heads that are named."""
        with self._lock:
            (sample,) = self._samples({"texts": [given.get("text")], "masked": [given.get("masked", [])]})
            if not self.samples or sample.reading.length > SENTENCE_LIMIT:
                return {
                    "reason": f"Sensitivity maps are made for up to {SENTENCE_LIMIT} tokens here; this text has "
                    f"{sample.reading.length}. minibert noise makes those of longer ones."
                }
            edits = Edits(parse_heads(self.model.config, given.get("heads", [])))

            def stop_unless_wanted(_done: int, _total: int) -> None:
                if not wanted():
                    raise Dropped

            with edits.on(self.model):
                found = sensitivity_maps(
                    self.model,
                    sample.reading,
                    sample.detail.tokens,
                    STD,
                    self.samples,
                    kind="float32",
                    progress=stop_unless_wanted,
                )
            return found | {"heads": edits.heads}

    def _samples(self, given: Mapping[str, Any]) -> list[Sample]:
        """The texts of a question, run; those that are on the page already are not run again."""
        texts = given.get("texts")
        if not isinstance(texts, list) or not 1 <= len(texts) <= 2 or not all(isinstance(t, str) for t in texts):
            raise InputError("texts is a list of one or two texts.")
        for text in texts:
            if len(text) > LONGEST_TEXT:
                raise InputError(f"A text has {len(text)} characters; the live page takes {LONGEST_TEXT} at most.")
        limit = LETTERS_LIVE // len(texts)
        asked = list(zip(texts, parse_masked(given.get("masked", [[]] * len(texts)), len(texts)), strict=True))
        found = [
            self._known.get((text, masked)) or sample_of(self.model, self.tokenizer, text, limit // 2, masked)
            for text, masked in asked
        ]
        self._remember(dict(zip(asked, found, strict=True)))
        return found

    def _remember(self, newest: dict[Asked, Sample]) -> None:
        """Keep the newest runs, and of the others the latest as far as REMEMBERED goes."""
        kept, size = dict(newest), sum(sample.run.bytes for sample in newest.values())
        for asked, sample in reversed(self._known.items()):
            size += sample.run.bytes
            if asked not in kept and size <= REMEMBERED:
                kept[asked] = sample
        self._known = dict(reversed(kept.items()))
