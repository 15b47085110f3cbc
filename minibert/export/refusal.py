"""Why an export was refused: the sizes it is fixed to, the first value that is wrong, or what was done after them.

Start with :func:`why`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.embedding.pooling import TOKEN_POOLINGS
from minibert.errors import InputError
from minibert.export.proof import Measured, Proof
from minibert.export.right import pooled_text
from minibert.export.runtimes import Opened
from minibert.export.subject import Subject
from minibert.verify.batches import Batch
from minibert.verify.explanation import Explanation, Told, explain
from minibert.verify.onnx_runs import explain_onnx
from minibert.verify.ports import batches_for_ports, explain_port, reference_of

ROUNDED = "values.rounded"  # the mistake of a short dtype
NEAR = 1e-4  # of the largest value: that a mistake's value is theirs
LARGEST_EXPLAINED = 4096  # ids in a batch whose every value is looked at
BATCHES, LENGTHS = (1, 2, 3, 4, 5, 8), (1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128)


@dataclass
class Reason:
    """Why there is no file."""

    sentence: str
    point: str = ""  # the first value of BERT that is wrong, where it was found
    explanation: Explanation | None = None

    def explained(self) -> dict[str, Any] | None:
        """The explanation as plain values, for JSON."""
        return None if self.explanation is None else self.explanation.to_dict()


def why(
    subject: Subject,
    proof: Proof,
    opened: Opened,
    kinds: Mapping[str, Batch],
    *,
    path: Path,
    format: str,
    program: nn.Module,
) -> Reason:
    """The reason for the first difference of ``proof``.

    Args:
        opened: the file, which the proof was of.
        kinds: what it was run on.
        path: where the file is.
        program: what it was written from, as a module.
    """
    first = proof.first_difference
    assert first is not None
    if first.failure.startswith("it does not run"):
        axes = ("batch", "choices", "length") if len(opened.sizes) == 3 else ("batch", "length")
        sizes = fixed_sizes(opened, axes, kinds)
        failure = f"on “{first.kind}” {first.failure.rstrip('.')}."
        return Reason(f"The {sizes}: {failure}" if sizes else f"{failure[:1].upper()}{failure[1:]}")
    what = difference_in_words(first, proof.bound)
    explanation = _explained(subject, dict(explained_batches(subject, kinds, first.kind)), path, format, program)
    if explanation is not None and not explanation.same:
        told, point = first_finding(explanation)
        source = "" if format != "openvino" else " (in the program that the file was made from)"
        sentence = f"{what} The first value that is wrong is {point}{source}. {told.title}: {told.sentence}"
        return Reason(sentence, point, explanation)
    after = after_the_encoder(subject, first, opened, kinds[first.kind])
    if format == "openvino":
        kept = "The program that the file was made from is right; OpenVINO keeps no inner values, so no other is named."
        return Reason(f"{what} {f'It looks as if {after}.' if after else kept}", first.output, explanation)
    if after:
        return Reason(f"{what} The hidden states are right; {after}.", first.output, explanation)
    inner = "Every value inside is right where it was looked for; what differs is the output itself."
    return Reason(f"{what} {inner}" if explanation is not None else what, first.output, explanation)


def first_finding(explanation: Explanation) -> tuple[Told, str]:
    """The finding to show, and the first value that is wrong; of several there, that it was rounded explains most."""
    findings = list(zip(explanation.findings, explain(explanation), strict=True))
    point = explanation.first_difference or ""
    there = [each for each in findings if point in each[0].points] or findings
    rounded = [each for each in there if any(mistake.key == ROUNDED for mistake in each[0].mistakes)]
    return (rounded or there)[0][1], point


def difference_in_words(first: Measured, bound: float) -> str:
    """The first output that differs."""
    if first.failure:
        return f"On “{first.kind}”, {first.output}: {first.failure}."
    return (
        f"On “{first.kind}”, {first.output} differs by {first.difference:.2g}, which is {first.figure:.2g} of its "
        f"largest value; {bound:g} is allowed."
    )


def fixed_sizes(opened: Opened, axes: tuple[str, ...], kinds: Mapping[str, Batch]) -> str:
    """Which sizes a file takes only: "batch is fixed at 1"; "" where that is not what is wrong."""
    said = [f"{axis} is fixed at {size}" for axis, size in zip(axes, opened.sizes, strict=True) if size is not None]
    if said:
        return " and ".join(said)
    if len(axes) != 2:
        return ""
    runs = [(B, T) for B, T in product(BATCHES, LENGTHS) if _runs(opened, B, T)]
    for number, axis in enumerate(axes):
        sizes = {each[number] for each in runs}
        sizes = sizes - {1} or sizes  # a size of 1 is broadcast to the one that is wanted
        if len(sizes) == 1:
            said.append(f"{axis} is fixed at {sizes.pop()}")
    return " and ".join(said)


def _runs(opened: Opened, B: int, T: int) -> bool:
    ids = torch.ones(B, T, dtype=torch.long)
    try:
        found = opened.run({"input_ids": ids, "attention_mask": ids, "token_type_ids": torch.zeros_like(ids)})
    except Exception:  # of the runtime
        return False
    return all(value.shape[0] == B for value in found.values())


def explained_batches(subject: Subject, kinds: Mapping[str, Batch], kind: str) -> Iterator[tuple[str, Batch]]:
    """Batches on which mistakes show; and the one that differs, where it is small."""
    with suppress(InputError):  # a model of too few positions
        yield from batches_for_ports(subject.model.config).items()
    batch = kinds[kind]
    if batch["input_ids"].dim() == 2 and batch["input_ids"].numel() <= LARGEST_EXPLAINED:
        yield kind, batch


def _explained(
    subject: Subject, batches: Mapping[str, Batch], path: Path, format: str, program: nn.Module
) -> Explanation | None:
    """The explanation of an ONNX file; else of the program that was written.  None where it cannot be had."""
    of_choices = subject.architecture == "BertForMultipleChoice"
    reference = reference_of(subject.model)
    if subject.output == "sentence":  # a vector per text is not the pooler's, whatever it is
        weights = {name: value for name, value in reference.weights.items() if not name.startswith("pooler.")}
        reference = replace(reference, weights=weights)
    found = None
    for tried in (dict(list(batches.items())[:2]), dict(batches)):
        try:
            if format == "onnx" and not of_choices:  # the axis of choices is none that an ONNX file is fitted to
                found = explain_onnx(reference, path, tried)
            else:
                found = explain_port(reference, Positional(program, of_choices), tried)
        except InputError:  # it cannot be run as it is
            return None
        if not found.same:
            return found
    return found


class Positional(nn.Module):
    """A program that is called by position, under the names of BERT's inputs; of choices, each text is one alone."""

    def __init__(self, program: nn.Module, of_choices: bool) -> None:
        super().__init__()
        self.program, self.of_choices = program, of_choices

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        """Each argument (B, T) int64."""
        inputs = (input_ids, attention_mask, token_type_ids)
        found: tuple[Tensor, ...] = self.program(*(value[:, None] if self.of_choices else value for value in inputs))
        return found


def after_the_encoder(subject: Subject, first: Measured, opened: Opened, batch: Batch) -> str:
    """What was done otherwise with right hidden states, for a sentence's vector: the first mistake that gives it."""
    if subject.output != "sentence" or first.failure:
        return ""
    found = opened.run(batch)[first.output].double()
    for words, make in sentence_mistakes(subject):
        wrong = make(batch).double()
        if wrong.shape == found.shape and float((wrong - found).abs().max()) <= NEAR * float(found.abs().max()):
            return words
    return "what is done with them after that is not"


def sentence_mistakes(subject: Subject) -> Iterator[tuple[str, Callable[[Batch], Tensor]]]:
    """Known mistakes, in words, with the vectors that they give."""
    embedder = subject.embedder
    assert embedder is not None
    poolings, layers = embedder.choose(embedder.pooling, "last", None)
    last = (embedder.model.config.num_hidden_layers,)

    def vectors(
        *, poolings: tuple[str, ...] = poolings, masked: bool = True, only_last: bool = False,
        steps: bool = True, normalize: bool = embedder.normalize, kept: int | None = embedder.truncate_dim,
    ) -> Callable[[Batch], Tensor]:  # fmt: skip
        def make(batch: Batch) -> Tensor:
            with torch.no_grad():
                found = embedder.model(**batch, output_hidden_states=True, return_dict=True)
                states = found.hidden_states
                hidden = states[-1] if only_last else layers.combine([states[number] for number in layers.numbers])
                mask = batch["attention_mask"].bool() if masked else torch.ones_like(batch["attention_mask"]).bool()
                if poolings == ("pooler",):
                    pooled = found.pooler_output
                else:
                    pooled = torch.stack([pooled_text(h, m, poolings) for h, m in zip(hidden, mask, strict=True)])
                try:
                    made = embedder.steps(pooled) if steps else pooled
                except RuntimeError:  # of another width
                    return torch.empty(0)
                made = F.normalize(made, dim=-1) if normalize else made
                return made if kept is None else made[:, :kept]

        return make

    if poolings != ("pooler",):
        yield (
            f"the pooling ({', '.join(poolings)}) counts the padding, too: it ignores attention_mask",
            vectors(masked=False),
        )
        for name in TOKEN_POOLINGS:
            if (name,) != poolings:
                yield f"the pooling is {name}, not {', '.join(poolings)}", vectors(poolings=(name,))
                yield (
                    f"the pooling is {name} over the padding, too, not {', '.join(poolings)}",
                    vectors(poolings=(name,), masked=False),
                )
        if layers.numbers != last:
            yield "the pooling reads the last layer alone", vectors(only_last=True)
    done = "left out" if embedder.normalize else "done, and this checkpoint does not"
    yield f"the normalisation to unit length is {done}", vectors(normalize=not embedder.normalize)
    if len(embedder.steps):
        yield "the steps after the pooling are left out", vectors(steps=False)
