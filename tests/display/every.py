"""One of every display: of a small model whose vocabulary is out to break the page, and of what is too large."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from minibert import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    Embedder,
    logit_lens,
    sensitivity,
    show_attention,
    show_bars,
    show_curves,
    show_map,
    show_tokens,
    trace,
    walk,
    word_similarity,
)
from minibert.checkpoint import LoadReport, TensorRecord
from minibert.points import Points, encoder_points
from minibert.verify.compare import VerifyReport, compare_points
from minibert.verify.explanation import Explanation, Finding, PointFound
from minibert.verify.mistakes import Mistake
from minibert.verify.published import PublishedReport, PublishedResult
from minibert.verify.tokenizer_report import TokenizerCause, TokenizerDifference, TokenizerReport
from minibert.verify.training_report import TrainingReport, TrainingRow
from tests.explorer.conftest import FIRST, HOSTILE, NASTY, SECOND, SETTINGS, SIGNS, SPECIAL, WORDS

WIDE = "배를中文"
STYLE = "</style><style>*{color:red}</style>"
BAD = f'{HOSTILE}{STYLE}" onload="alert(1)'


@cache
def tokenizer() -> BertTokenizer:
    vocabulary = dict.fromkeys([*SPECIAL, *WORDS, *NASTY, *SIGNS, *(f"##{sign}" for sign in SIGNS)])
    made = BertTokenizer({token: number for number, token in enumerate(vocabulary)})
    made.add_tokens([HOSTILE])
    return made


@cache
def model() -> BertForMaskedLM:
    torch.manual_seed(5)
    return BertForMaskedLM(BertConfig(vocab_size=len(tokenizer()), **SETTINGS)).eval()


@cache
def inputs() -> Any:
    return tokenizer()(f"{FIRST} {WIDE} {HOSTILE}", SECOND, return_tensors="pt")


@cache
def attentions() -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        found = model()(**inputs(), output_attentions=True).attentions
    assert isinstance(found, tuple)
    return found


def random(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def masked_scores() -> Any:
    batch = tokenizer()([FIRST, "he sat"], padding=True, return_tensors="pt")
    return next(step for step in walk(model(), batch) if step.name.endswith("masked_scores"))


def embedder() -> Embedder:
    return Embedder(model().bert, tokenizer())


def load_report() -> LoadReport:
    tensors = [TensorRecord(f"layer.{n}.{BAD}", f"p.{n}", (2, 3), "F32", "") for n in range(250)]
    tensors.append(TensorRecord(BAD, None, (2,), "F16", f"no use for {BAD}"))
    return LoadReport("BertModel", BAD, (f"folder/{BAD}",), tuple(tensors), {"a": "b"}, (BAD,), {BAD: BAD}, (BAD,))


def verify_report(explained: bool) -> VerifyReport:
    names = ["embeddings", "encoder.layer.0.output", "/logits"]
    found = {name: random(2, 3) for name in names}
    results = compare_points(BAD, found, found | {"/logits": random(2, 3) + 1}, names)
    report = VerifyReport(BAD, BAD, "float32", "eager", "sdpa", results, [BAD])
    if explained:
        scale = Mistake("attention.no_scale", {}, f"q kᵀ & {BAD}")
        finding = Finding("mistake", (scale,), ["encoder.layer.0.attention.self.scores"], f"{BAD} (m.py:0)", 1.0, 9.0)
        report.explanation = Explanation([PointFound(BAD, "found", BAD, "BTH", 0.5)], [finding], [BAD], 16.0)
    return report


def tokenizer_report() -> TokenizerReport:
    part = TokenizerDifference(BAD, (BAD,), (1, 2), (BAD,))
    cause = TokenizerCause("form", BAD, part, told="form", details={"form": "ids"})
    return TokenizerReport(BAD, "ids", 0, 9, 1, part, (cause,), False, (part,), (BAD,))


def training_report() -> TrainingReport:
    return TrainingReport(("A", BAD), 1, [TrainingRow(1, "loss", 1, 0.5, 2.0, "differs")], None, [], [BAD])


EVERY: dict[str, Callable[[], Any]] = {
    "tokens": lambda: show_tokens(tokenizer(), f"{FIRST} {WIDE} {HOSTILE}", SECOND),
    "tokens of a batch": lambda: show_tokens(tokenizer(), inputs()),
    "many tokens": lambda: show_tokens(tokenizer(), "he sat " * 150),
    "attention of a head": lambda: show_attention(attentions(), inputs().tokens(), layer=1, head=2),
    "attention of a layer": lambda: show_attention(attentions(), inputs().tokens(), layer=1),
    "attention": lambda: show_attention(attentions(), inputs().tokens()),
    "attention of two tokens": lambda: show_attention(random(2, 2), [WIDE, BAD]),
    "attention of many": lambda: show_attention(random(12, 512, 512), [f"{WIDE}{n}" for n in range(512)], head=0),
    "attention of all heads of many": lambda: show_attention([random(1, 12, 128, 128)] * 12, [WIDE] * 128),
    "map": lambda: show_map(random(3, 4) - 0.5, [BAD, WIDE, "c"], ["w", WIDE, "y", BAD], label=BAD),
    "map of cosines": lambda: show_map(random(4, 4) / 5 + 0.8, [f"{n} {WIDE}" for n in range(4)]),
    "map with gaps": lambda: show_map([[1.0, float("nan")], [float("inf"), 0.0]], ["a", "b"]),
    "large map": lambda: show_map(random(100, 768), range(100)),
    "curves": lambda: show_curves({BAD: random(9), WIDE: [1, float("nan"), 0.5]}, x_label=BAD, y_label=WIDE),
    "long curves": lambda: show_curves({"loss": random(5000)}, x=[n / 10 for n in range(5000)]),
    "bars": lambda: show_bars({BAD: 0.5, WIDE: -0.25, "nothing": float("nan")}, label=BAD),
    "many bars": lambda: show_bars({str(n): n for n in range(100)}),
    "batch": lambda: tokenizer()([f"{FIRST} {HOSTILE}", WIDE], padding=True, return_tensors="pt"),
    "batch of one": lambda: tokenizer()(f"{WIDE} {HOSTILE}", return_offsets_mapping=True),
    "large batch": lambda: tokenizer()(["he sat " * 100] * 9),
    "points": lambda: model().points(),
    "many points": lambda: Points(encoder_points(12, BAD)),
    "trace": lambda: trace(model(), inputs()),
    "step": lambda: next(iter(walk(model(), inputs()))),
    "masked step": masked_scores,
    "load report": load_report,
    "verify": lambda: verify_report(False),
    "verify with findings": lambda: verify_report(True),
    "verify tokenizer": tokenizer_report,
    "verify training": training_report,
    "published": lambda: PublishedReport(BAD, [PublishedResult(BAD, BAD, BAD, 0.5, 1e-4, "DIFFERS")]),
    "words": lambda: embedder().words(f"{FIRST} {WIDE} {HOSTILE}"),
    "similarity": lambda: word_similarity(embedder(), "bank", [f"{HOSTILE} {FIRST}", f"{WIDE} {SECOND}"]),
    "sensitivity": lambda: sensitivity(model(), inputs(), samples=2, progress=False),
    "sensitivity at one point": lambda: sensitivity(
        model(), inputs(), samples=1, points="encoder.layer.2", progress=False
    ),
    "logit lens": lambda: logit_lens(model(), inputs()),
    "logit lens with pieces": lambda: logit_lens(model(), inputs()).show(tokenizer(), inputs().tokens()),
}


@cache
def every(name: str) -> Any:
    """The display of that name."""
    return EVERY[name]()
