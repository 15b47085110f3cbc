"""The live page's answers: new texts, interventions and their effects, sensitivity maps.

Requests are JSON objects from a browser, so every field is validated.  A response has the form of a page's content
(content.py), with float32 in place of float16.  One request is answered at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

from minibert.errors import InputError
from minibert.explorer.content import SAMPLES, STD, TracedText, content_of_traced, trace_text
from minibert.explorer.interventions import Interventions, parse_attention, parse_heads, parse_masked, parse_noise
from minibert.explorer.packing import SENSITIVITY_LIMIT, pack
from minibert.explorer.page import page_html
from minibert.explorer.request_queue import Dropped
from minibert.explorer.sentences import PageError, Sentence
from minibert.explorer.text import Text, parts_of
from minibert.explorer.values import encoder_of, pack_run, relative_change, run
from minibert.explorer.views import next_sentence, predictions, sensitivity_maps
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer

LONGEST_TEXT = 20_000  # characters
CHARACTERS_LIVE = 24_000_000  # of all numbers of a response
CACHE_BYTES = 200_000_000  # of runs that edits start from; 512 tokens of bert-base take 390 MB

Key = tuple[Text, tuple[int, ...]]  # a text, and its masked positions


def check_length(texts: Sequence[Text]) -> None:
    """Raise PageError for a text that is longer than a page that computes takes."""
    for part in (part for text in texts for part in parts_of(text)):
        if len(part) > LONGEST_TEXT:
            raise PageError("error.too_long", length=len(part), limit=LONGEST_TEXT)


def parse_texts(texts: Any) -> list[Text]:
    """The texts of a request: one, two, or one pair, which is a list in the list."""
    if not isinstance(texts, list | tuple) or not 1 <= len(texts) <= 2:
        raise InputError("texts is a list of one or two texts.")
    if len(texts) == 1 and isinstance(texts[0], list | tuple) and len(texts[0]) == 2:
        texts = [tuple(texts[0])]
    if not all(isinstance(part, str) for text in texts for part in parts_of(text)):
        raise InputError("texts is a list of one or two texts, or of one pair of texts.")
    check_length(texts)
    return list(texts)


class Live:
    """One model with its tokenizer, and the responses to a page about it."""

    def __init__(
        self, model: BertPreTrainedModel, tokenizer: BertTokenizer, name: str, samples: int | None = None
    ) -> None:
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.samples = SAMPLES if samples is None else samples
        self._lock = Lock()
        self._measured: dict[str, Any] = {}  # how far the latest maps are, and of which page
        self._cache: dict[Key, TracedText] = {}  # of the texts on the page
        self.answers: dict[str, Callable[..., dict[str, Any]]] = {
            "runs": self.runs,
            "edits": self.edits,
            "sensitivity": self.sensitivity,
        }

    def page(self, texts: Sequence[Text]) -> str:
        """The page with its first texts."""
        return page_html(self.runs({"texts": list(texts)}))

    def answer(
        self, name: str, request: Mapping[str, Any], is_wanted: Callable[[], bool] = lambda: True
    ) -> dict[str, Any]:
        """The response of one of :attr:`answers`; InputError for an invalid request.

        A long computation asks ``is_wanted`` whether a client still waits, and otherwise ends with Dropped.
        """
        if name == "sensitivity":
            return self.sensitivity(request, is_wanted)
        return self.answers[name](request)

    def runs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """``{"texts": […], "masked": [[position, …], …]}``: the page's content, without sensitivity maps.

        ``texts``, here and below: one text, two, or one pair, ``[["A", "B"]]``.
        ``masked``, here and below: for each text the positions at which the mask token replaces the token.
        """
        with self._lock:
            traced = self._trace(request)
            content = content_of_traced(self.model, self.tokenizer, traced, name=self.name, dtype="float32")
            return content | {"live": True}

    def edits(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """``{"texts", "masked", "heads": [[layer, head]], "noise": {}, "attention": [], "run"}``: the runs with edits.

        Heads are ablated in the runs of all texts; the noise is added, and the rows of attention are set, in the run
        with number ``run``.
        """
        with self._lock:
            return {"runs": [self._edited(request, *each) for each in enumerate(self._trace(request))]}

    def _edited(self, request: Mapping[str, Any], number: int, traced: TracedText) -> dict[str, Any]:
        config, text, shown = encoder_of(self.model).config, traced.text, traced.detail.tokens
        own = request if request.get("run", 0) == number else {}
        interventions = Interventions(
            parse_heads(config, request.get("heads", [])),
            parse_noise(config, own.get("noise"), text.length),
            parse_attention(config, own.get("attention", []), text.length),
        )
        with interventions.on(self.model):
            values = run(self.model, text.inputs)
            predicted = predictions(self.model, self.tokenizer, text, shown, "float32")
        packed = pack_run(values, config, traced.detail, projection=traced.projection, dtype="float32")
        change = relative_change(values.hidden, traced.values.hidden)[:, :shown]
        packed["tensors"]["relative_change"] = pack(change, "float32")
        return packed | {"predictions": predicted, "next_sentence": next_sentence(self.model, text, values.hidden[-1])}

    def sensitivity(self, request: Mapping[str, Any], is_wanted: Callable[[], bool] = lambda: True) -> dict[str, Any]:
        """``{"text", "masked": [position, …], "heads"}``: the maps of one text, with the given heads ablated."""
        with self._lock:
            (traced,) = self._trace({"texts": [request.get("text")], "masked": [request.get("masked", [])]})
            if not self.samples or traced.text.length > SENSITIVITY_LIMIT:
                return Sentence.of("reason.too_long", limit=SENSITIVITY_LIMIT, tokens=traced.text.length).as_reason()
            interventions = Interventions(parse_heads(self.model.config, request.get("heads", [])))

            def advance(done: int, total: int) -> None:
                if not is_wanted():
                    raise Dropped
                self._measured = {"page": request.get("page"), "done": done, "total": total}

            with interventions.on(self.model):
                maps = sensitivity_maps(
                    self.model,
                    traced.text,
                    traced.detail.tokens,
                    STD,
                    self.samples,
                    dtype="float32",
                    progress=advance,
                )
            return maps | {"heads": interventions.heads}

    def progress(self, request: Mapping[str, Any]) -> dict[str, int]:
        """``{"page"}``: how many of how many runs the maps of this page took by now; it does not wait."""
        measured = self._measured
        own = measured if request.get("page") is not None and measured.get("page") == request["page"] else {}
        return {"done": own.get("done", 0), "total": own.get("total", 0)}

    def _trace(self, request: Mapping[str, Any]) -> list[TracedText]:
        """The texts of a request with their runs, from the cache where possible."""
        texts = parse_texts(request.get("texts"))
        limit = CHARACTERS_LIVE // len(texts) // 2
        keys = list(zip(texts, parse_masked(request.get("masked", [[]] * len(texts)), len(texts)), strict=True))
        traced = [
            self._cache.get((text, masked)) or trace_text(self.model, self.tokenizer, text, limit, masked)
            for text, masked in keys
        ]
        self._remember(dict(zip(keys, traced, strict=True)))
        return traced

    def _remember(self, newest: dict[Key, TracedText]) -> None:
        """Keep the newest runs in the cache, and of the older ones the latest that fit into CACHE_BYTES."""
        kept, size = dict(newest), sum(traced.values.nbytes for traced in newest.values())
        for key, traced in reversed(self._cache.items()):
            size += traced.values.nbytes
            if key not in kept and size <= CACHE_BYTES:
                kept[key] = traced
        self._cache = dict(reversed(kept.items()))
