"""``backend="auto"``: which runtime is the fastest for this model on this machine?  Measured once, then kept.

Every runtime that is installed and whose graph is proven takes turns with torch: on texts of mixed length, and on a
short one alone.  A runtime is chosen where it is faster than torch by more than ``MARGIN``, by both together (the
geometric mean of the two ratios).
"""

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from minibert.embedding.backends.backend import Backend, Report, check_model, facts_of, model_digest, open_backend
from minibert.embedding.backends.cache import build_entry, entry_path, read_entry
from minibert.embedding.backends.onnxruntime_backend import OnnxRuntime
from minibert.embedding.backends.openvino_backend import OpenVino
from minibert.embedding.backends.runtime import Runtime
from minibert.errors import InputError
from minibert.model import BertModel
from minibert.tokenizer.windows import TokenRow

logger = logging.getLogger(__name__)
BACKENDS: dict[str, type[Runtime]] = {kind.name: kind for kind in (OnnxRuntime, OpenVino)}
NAMES = ("auto", "torch", *BACKENDS)

MARGIN = 1.05  # how much faster than torch a runtime must be
ROUNDS = 3
SECONDS = 0.5  # for one run of the mixed texts, about
SHORT = 16  # tokens of the single text
CALLS = 10  # of the single text in a round

Run = Callable[[list[TokenRow]], None]  # computes the hidden states of rows, and forgets them
TORCH = Report("torch", {"torch": torch.__version__}, f"torch {torch.__version__}: the model itself.")


@dataclass(frozen=True)
class Measured:
    """Seconds of one backend."""

    texts: float
    single: float


def check_backend(name: Any) -> None:
    """Raise InputError for a name that is no backend's, and MissingExtraError for one that is not installed."""
    if not isinstance(name, str) or name not in NAMES:
        raise InputError(f"{name!r} is no backend; there are {', '.join(NAMES)}.")
    if name in BACKENDS:
        BACKENDS[name].require()


def set_up(
    name: str,
    model: BertModel,
    layers: tuple[int, ...],
    max_length: int,
    texts: Sequence[TokenRow],
    run_with: Callable[[Backend | None, list[TokenRow]], None],
) -> tuple[Backend | None, Report]:
    """The backend with that name, None for torch, and the report on it.

    ``texts`` as in :func:`open_backend`, whose errors it raises; ``run_with`` runs rows with a backend, for ``auto``.
    """
    check_backend(name)
    if name == "torch":
        return None, TORCH
    if name != "auto":
        named = open_backend(BACKENDS[name], model, layers, max_length, texts, model_digest(model))
        return named, named.report()
    chosen, backend, why = fastest(model, layers, max_length, texts, run_with)
    logger.info("%s", why)
    report = TORCH if backend is None else backend.report()
    return backend, Report(chosen, report.versions, f"{report.sentence} {why}")


def fastest(
    model: BertModel,
    layers: tuple[int, ...],
    max_length: int,
    texts: Sequence[TokenRow],
    run_with: Callable[[Backend | None, list[TokenRow]], None],
) -> tuple[str, Backend | None, str]:
    """What ``auto`` means here: the name, the backend, and why; measured now, or as it was when last measured."""
    kinds = [kind for kind in BACKENDS.values() if kind.installed()]
    try:
        for kind in kinds:
            check_model(kind, model)
    except InputError:
        return "torch", None, "auto chose torch: the others compute on the CPU in float32 alone."
    if not kinds:
        return "torch", None, "auto chose torch: neither onnxruntime (extra onnx) nor openvino is installed."
    digest = model_digest(model)

    def opened(kind: type[Runtime]) -> Backend:
        return open_backend(kind, model, layers, max_length, texts, digest)

    facts = {kind.name: facts_of(kind, digest, layers) for kind in kinds} | {"threads": torch.get_num_threads()}
    path = entry_path("auto", facts)
    kept = read_entry(path, facts)
    if kept is not None:
        name, why = kept["chosen"], kept["why"]
        return name, None if name == "torch" else opened(BACKENDS[name]), f"{why} Measured before, and kept."
    candidates: dict[str, Backend | None] = {"torch": None}
    left_out = []
    for kind in kinds:
        try:
            candidates[kind.name] = opened(kind)
        except InputError as error:
            left_out.append(f" {kind.name} is left out: {error}")
    runs: dict[str, Run] = {name: partial(run_with, backend) for name, backend in candidates.items()}
    times = measure(runs, model, max_length)
    name, why = choose(times)
    why += "".join(left_out)
    shown = {"chosen": name, "why": why, "seconds": {name: asdict(own) for name, own in times.items()}}
    build_entry(path, facts, lambda _: shown)
    return name, candidates[name], why


def mixed_rows(model: BertModel, max_length: int, tokens: int) -> list[TokenRow]:
    """Rows of 4 to 200 tokens, most of them short, with about ``tokens`` tokens in all; drawn with a fixed seed."""
    draw = torch.Generator().manual_seed(0)
    rows: list[TokenRow] = []
    while sum(map(len, rows)) < tokens:
        length = int(4 * 50 ** torch.rand(1, generator=draw).item())
        length = min(length, max_length, model.config.max_position_embeddings)
        ids = torch.randint(model.config.vocab_size, (length,), generator=draw).tolist()
        rows.append(TokenRow(ids, length))
    return rows


def measure(runs: Mapping[str, Run], model: BertModel, max_length: int) -> dict[str, Measured]:
    """The backends take turns; the smallest time of each counts, the least disturbed one."""
    single = mixed_rows(model, max_length, 1)[:1]
    single = [TokenRow((single[0].ids * SHORT)[: min(SHORT, max_length)], min(SHORT, max_length))]
    some = mixed_rows(model, max_length, 1000)
    first = seconds(partial(runs["torch"], some))
    tokens = int(min(max(1000 * SECONDS / first, 2000), 40000))
    rows = mixed_rows(model, max_length, tokens)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for number in range(ROUNDS + 1):
        for name, run in runs.items():
            texts = seconds(partial(run, rows))
            run(single)
            alone = statistics.median(seconds(partial(run, single)) for _ in range(CALLS))
            if number:  # the first round is the warm-up
                taken[name].append((texts, alone))
    return {name: Measured(*map(min, zip(*times, strict=True))) for name, times in taken.items()}


def seconds(work: Callable[[], Any]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def gain(times: Mapping[str, Measured], name: str) -> float:
    """How much faster than torch a backend is, by both measures together."""
    torch_, own = times["torch"], times[name]
    return float((torch_.texts / own.texts * torch_.single / own.single) ** 0.5)


def choose(times: Mapping[str, Measured]) -> tuple[str, str]:
    """The backend to take, and a sentence that says why."""
    best = max(times, key=lambda name: gain(times, name))
    if gain(times, best) < MARGIN:
        best = "torch"
    others = [
        f"{name} has {times['torch'].texts / own.texts:.2f} times torch's speed on texts of mixed length and "
        f"{times['torch'].single / own.single:.2f} times on one of {SHORT} tokens"
        for name, own in times.items()
        if name != "torch"
    ]
    return best, f"auto chose {best}: {'; '.join(others)}."
