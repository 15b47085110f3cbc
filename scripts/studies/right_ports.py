"""Does verification leave right BERTs alone?  Every right one that there is, and what is said of it.

Each is run in float32 and float64, with attention written out and fused on its side where it has both, on one text and
on padded texts.  The ports of tests/verify/ports/ get minibert-demo (or --checkpoint); transformers,
sentence-transformers and the ONNX files get all-MiniLM-L6-v2.  A run under bfloat16 autocast is the one that is not
right: there, rounding to bfloat16 has to be told.

Exit code 1 when anything is said of a right one, or nothing of the rounded one.
"""

import argparse
import contextlib
import io
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from inputs import ROOT, minilm  # noqa: F401  (puts the checkout on the path)
from torch import Tensor, nn

from minibert import BertConfig, BertForPreTraining, BertModel
from minibert.errors import InputError
from minibert.verify.explanation import Explanation
from minibert.verify.onnx_runs import OnnxModel
from minibert.verify.padding import batch_with_padding_text
from minibert.verify.ports import batches_for_ports, explain_port, reference_of
from minibert.verify.search import explain_runs
from tests.verify.naming import recorded, with_few_words
from tests.verify.ports import functional, fused, numpy_port, packed
from tests.verify.ports.renamed import without_names

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
Batches = dict[str, dict[str, Tensor]]
Explain = Callable[[Batches], Explanation]


@dataclass(frozen=True)
class Right:
    """One right implementation: how to explain it on some batches."""

    name: str
    attention: str
    config: BertConfig
    explain: Explain
    rounded: bool = False  # whether it is the one that rounds to bfloat16


def ports(model: BertForPreTraining) -> Iterator[Right]:
    """The four independent ports, and a fifth: fused with attention written out."""
    config, weights = model.config, dict(model.state_dict())

    def in_numpy(batches: Batches) -> Explanation:
        run = numpy_port.build(config, weights, ())
        runs = {name: recorded(run(*(batch[role] for role in INPUTS))) for name, batch in batches.items()}
        return explain_runs(reference_of(model), batches, runs)

    def in_packed(batches: Batches) -> Explanation:
        return explain_port(model, packed.build(config, weights, ()), batches)

    yield Right("functional", "eager", config, lambda b: explain_port(model, functional.build(config, weights), b))
    yield Right("fused", "sdpa", config, lambda b: explain_port(model, fused.build(config, weights), b))
    yield Right("written", "eager", config, lambda b: explain_port(model, fused.build(config, weights, (), True), b))
    yield Right("packed", "eager", config, in_packed)
    yield Right("numpy_port, recorded", "eager", config, in_numpy)


def from_transformers(folder: Path, demo: BertForPreTraining, dtype: torch.dtype) -> Iterator[Right]:
    """BERT of transformers with its names and without, a whole pre-training model, and that under autocast."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    reference = reference_of(BertModel.from_pretrained(folder, dtype=dtype))
    whole = reference_of(demo)
    with tempfile.TemporaryDirectory() as place:
        demo.save_pretrained(place)
        for attention in ("eager", "sdpa"):

            def load(kind: str, source: Any, attention: str = attention) -> nn.Module:
                kinds: Any = getattr(transformers, kind)
                model: nn.Module = kinds.from_pretrained(source, dtype=dtype, attn_implementation=attention).eval()
                return model

            named, plain = load("BertModel", folder), without_names(load("BertModel", folder))
            heads = without_names(load("BertForPreTraining", place))
            yield Right(
                "transformers BertModel", attention, reference.config, lambda b, m=named: explain_port(reference, m, b)
            )
            yield Right(
                "the same, renamed", attention, reference.config, lambda b, m=plain: explain_port(reference, m, b)
            )
            yield Right(
                "BertForPreTraining, renamed", attention, demo.config, lambda b, m=heads: explain_port(whole, m, b)
            )
            if dtype == torch.float32:
                yield Right(
                    "the same, bfloat16 autocast",
                    attention,
                    demo.config,
                    lambda b, m=heads: explain_port(whole, autocast(m), b),
                    True,
                )


def autocast(model: nn.Module) -> Callable[..., Any]:
    """A model that is run under bfloat16 autocast."""

    def run(input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(input_ids, attention_mask, token_type_ids)

    return run


def from_sentence_transformers(folder: Path, dtype: torch.dtype) -> Iterator[Right]:
    """The model inside, the first module around it, and the whole pipeline."""
    from sentence_transformers import SentenceTransformer

    reference = reference_of(BertModel.from_pretrained(folder, dtype=dtype))
    for attention in ("eager", "sdpa"):
        keywords = {"attn_implementation": attention, "dtype": dtype}
        pipeline = SentenceTransformer(str(folder), model_kwargs=keywords, device="cpu").eval()
        inner = pipeline[0].auto_model
        yield Right(
            "sentence-transformers, inner",
            attention,
            reference.config,
            lambda b, m=inner: explain_port(reference, m, b),
        )
        plain = without_names(inner)
        yield Right("the same, renamed", attention, reference.config, lambda b, m=plain: explain_port(reference, m, b))
        yield Right(
            "the whole pipeline", attention, reference.config, lambda b, m=pipeline: explain_port(reference, m, b)
        )


class Hidden(nn.Module):
    """What is exported: last hidden states and the pooled vector."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, H), (B, H)."""
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return output.last_hidden_state, output.pooler_output


def as_onnx(folder: Path, dtype: torch.dtype, place: Path) -> Iterator[Right]:
    """The MiniLM of transformers and of minibert, exported with an example without padding and with one.

    In float64 onnxruntime has no Erf, which is told once.
    """
    import transformers

    reference = reference_of(BertModel.from_pretrained(folder, dtype=dtype))
    kinds: dict[str, Any] = {"transformers": transformers.BertModel, "minibert": BertModel}
    if dtype == torch.float64:
        kinds = {"minibert": BertModel}
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    for library, kind in kinds.items():
        for attention in ("eager", "sdpa") if dtype == torch.float32 else ("eager",):
            model = Hidden(kind.from_pretrained(folder, dtype=dtype, attn_implementation=attention).eval())
            for padding in (False, True) if dtype == torch.float32 else (True,):
                mask = torch.ones(2, 9, dtype=torch.long)
                mask[1, 6:] = 0 if padding else 1
                example = (torch.arange(18).view(2, 9) + 1000, mask, torch.zeros(2, 9, dtype=torch.long))
                path = place / f"{library}-{attention}-{padding}.onnx"
                with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                    warnings.simplefilter("ignore")
                    torch.onnx.export(
                        model, example, str(path), dynamo=True, input_names=list(INPUTS),
                        dynamic_shapes=dict.fromkeys(INPUTS, free),
                    )  # fmt: skip
                name = f"ONNX of {library}, example {'with' if padding else 'without'} padding"
                yield Right(name, attention, reference.config, lambda b, p=path: of_file(reference, p, b))
                path.unlink()


def of_file(reference: Any, path: Path, batches: Batches) -> Explanation:
    """As the command line: the file's runs, and its run of a text of nothing but padding."""
    file = OnnxModel(path)
    fitted = {name: file.fit(batch)[0] for name, batch in batches.items()}
    runs = {name: file.observe(batch) for name, batch in fitted.items()}
    widest = max(fitted.values(), key=lambda batch: len(batch["input_ids"]))
    padding_text = None
    if len(widest["input_ids"]) > 1:
        hidden = batch_with_padding_text(widest)
        padding_text = hidden, file.observe(hidden)
    return explain_runs(reference, fitted, runs, padding_text=padding_text)


def compiled(demo: BertForPreTraining) -> Iterator[Right]:
    """torch.compile of another module than minibert's, by the compiler that needs no C++."""
    weights = dict(demo.state_dict())
    for attention, written in (("sdpa", False), ("eager", True)):
        program = torch.compile(fused.build(demo.config, weights, (), written), backend="aot_eager")
        yield Right("torch.compile of fused", attention, demo.config, lambda b, m=program: explain_port(demo, m, b))


def row(right: Right, dtype: torch.dtype, batches: Batches) -> tuple[bool, str]:
    """Whether it is as it should be, and the line of the table."""
    start = time.perf_counter()
    title = f"{right.name}, {right.attention}, {str(dtype).removeprefix('torch.')}, {' + '.join(batches)}"
    try:
        explanation = right.explain(batches)
    except InputError as error:
        return dtype == torch.float64 and "NOT_IMPLEMENTED" in str(error), f"{title:95} {error}"
    seconds = time.perf_counter() - start
    counts = {status: sum(p.status == status for p in explanation.points) for status in ("found", "unseen", "absent")}
    names = [mistake.name for finding in explanation.findings for mistake in finding.mistakes[:1]]
    good = bool(names) and all("bfloat16" in name for name in names) if right.rounded else not names
    lost = len(explanation.points) - sum(counts.values())
    good &= right.rounded or lost == 0
    ulps = max((p.ulps or 0.0 for p in explanation.points), default=0.0)
    what = "no difference" if not names else "; ".join(dict.fromkeys(names))
    numbers = f"{counts['found']:4}/{counts['unseen']:2}/{counts['absent']:2} {ulps:5.1f} {seconds:5.1f} s"
    return good, f"{'' if good else 'WRONG  '}{title:95} {numbers}  {what}"


def all_of(which: str, dtype: torch.dtype, place: Path, checkpoint: str) -> Iterator[Right]:
    """The right ones of one kind."""
    demo = with_few_words(BertForPreTraining.from_pretrained(checkpoint)).to(dtype)
    if which == "ports":
        yield from ports(demo)
    elif which == "compiled":
        yield from compiled(demo)
    elif which == "transformers":
        yield from from_transformers(Path(minilm()), demo, dtype)
    elif which == "sentence-transformers":
        yield from from_sentence_transformers(Path(minilm()), dtype)
    else:
        yield from as_onnx(Path(minilm()), dtype, place)


KINDS = ("ports", "transformers", "sentence-transformers", "onnx", "compiled")


def main() -> int:
    """The table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="default: all")
    parser.add_argument("--dtype", nargs="+", choices=("float32", "float64"), default=("float32", "float64"))
    parser.add_argument("--checkpoint", default="minibert-demo", help="of the ports; default: minibert-demo")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    wrong = total = 0
    print(f"{'implementation, attention, dtype, inputs':95} found/unseen/absent, largest ulps, seconds", flush=True)
    with tempfile.TemporaryDirectory() as place:
        for which in args.only:
            for dtype in (getattr(torch, name) for name in args.dtype):
                for right in all_of(which, dtype, Path(place), args.checkpoint):
                    every = batches_for_ports(right.config)
                    for names in (["one text"], ["padded texts"], list(every)):
                        good, line = row(right, dtype, {name: every[name] for name in names})
                        total, wrong = total + 1, wrong + (not good)
                        print(line, flush=True)
    print(f"{total - wrong} of {total} as they should be")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
