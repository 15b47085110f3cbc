"""From a checkpoint to a proven file: load, trace, write apart, run by the runtime, compare, put in place.

Start with :func:`export_model`.
"""

import importlib.metadata
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from minibert._version import __version__
from minibert.checksum import json_digest
from minibert.data.memory import Data
from minibert.destination import check_file
from minibert.errors import CheckpointError, InputError, ProofError, reason_of
from minibert.export import formats
from minibert.export.card import card
from minibert.export.folder import GRAPHS, QUANTIZED, check_new_folder, put_folder_in_place, write_settings
from minibert.export.kinds import nine_kinds
from minibert.export.proof import Measured, Proof, prove
from minibert.export.refusal import Reason, why
from minibert.export.report import ExportReport
from minibert.export.runtimes import SUFFIXES, Opened, RuntimeFailure, open_file
from minibert.export.subject import Exported, Subject, open_subject
from minibert.export.writing_int8 import Int8, check_int8, write_int8
from minibert.files import is_folder
from minibert.graphs import GraphModule, exported_program
from minibert.graphs.modules import INPUTS
from minibert.source import Source, as_path
from minibert.verify.batches import Batch

logger = logging.getLogger(__name__)
PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch": (), "openvino": ("onnx", "onnxscript", "openvino")}


def export_model(
    source: Exported,
    destination: Source,
    *,
    output: str = "hidden_states",
    format: str | None = None,
    head: str | None = None,
    pooling: Any = None,
    normalize: bool | None = None,
    truncate_dim: int | None = None,
    largest_file: int = formats.LARGEST_FILE,
    int8: bool = False,
    calibration: Data | None = None,
    calibration_column: str | None = None,
    pairs: Data | None = None,
    pair_columns: Mapping[str, str] | None = None,
    max_loss: float | None = None,
) -> ExportReport:
    """Write a model as a file for another runtime, after that runtime gave the same values.

    The file is written apart, run by its runtime on nine kinds of input, and compared with the model, which runs here
    in float32 with attention written out.  Only if every output is within 1e-5 of its largest value is the file put in
    place, with a card beside it (``FILE.md``) that holds the figures.  Batch and length are free.

    Args:
        source: of a checkpoint (a folder, a hub name …); or a model or an Embedder.
        destination: the file: ``.onnx``, ``.pt2`` (torch.export) or ``.xml`` (OpenVINO, with a ``.bin`` beside it).  Or
            a new folder, ``name/``: the layout that loaders expect (folder.py), of hidden states or logits.
        output: ``hidden_states`` (``last_hidden_state``), ``sentence`` (``sentence_embedding``, as the checkpoint or
            the Embedder pools), ``logits`` (a head's, by their names), ``all-points`` (every name of
            ``model.points()``).
        format: ``onnx``, ``torch`` or ``openvino``; default by the file's name.
        head: the class of the model, for ``logits`` and ``all-points``; default the checkpoint's.
        pooling, normalize, truncate_dim: of a sentence's vector, instead of the checkpoint's; see Embedder.  In a
            folder they are the loaders' settings.
        largest_file: bytes of weights in an ONNX file; more are written beside it, as ``FILE.onnx_data``.
        int8: write ONNX in 8 bits, weights and activations, after the float32 graph was proven (int8.py).
        calibration: texts for int8, a file or rows in memory; one in five measures the loss.  Default: the project's.
        calibration_column: which column of it holds the texts; default one with a usual name.
        pairs: scored pairs of texts, whose Spearman's correlation is measured before and after.
        pair_columns: the names of their columns: ``text``, ``pair``, ``score``; default the usual ones.
        max_loss: of int8, the most that one text in a hundred may lose, as 1 - cosine; default 0.002, see loss.py.

    Raises:
        ProofError: the file differs from the model, or int8 loses more than ``max_loss``, so there is none; ``report``
            has the proof and the reason.
        InputError, CheckpointError: for arguments, files and folders.
        MissingExtraError: for a package that is not installed.
    """
    eight_bits = check_int8(int8, output, calibration, calibration_column, pairs, pair_columns, max_loss)
    check_named(destination)
    if names_folder(destination):
        settings = {"head": head, "pooling": pooling, "normalize": normalize, "truncate_dim": truncate_dim}
        return export_folder(source, destination, output, format or "onnx", largest_file, eight_bits, **settings)
    path, kind = check_destination(destination, format)
    if eight_bits is not None and kind != "onnx":
        raise InputError(f"int8 is written as ONNX, and {path} is a file for {kind}; end its name in .onnx.")
    formats.need(kind)
    logger.info("loading %s", source if isinstance(source, str | os.PathLike) else type(source).__name__)
    subject = open_subject(source, output, head=head, pooling=pooling, normalize=normalize, truncate_dim=truncate_dim)
    with apart(path) as folder:
        report = write_and_prove(subject, folder / path.name, kind, largest_file, eight_bits)
        report.destination = path
        if not report.same:
            assert report.reason is not None
            raise ProofError(f"{path} was not written. {report.reason.sentence}", report)
        files = formats.files_beside(folder / path.name)
        report.bytes = sum(each.stat().st_size for each in files)
        beside = folder / f"{path.name}.md"
        beside.write_text(card(report, example_ids(subject)), encoding="utf-8", newline="\n")
        report.files = put_in_place([*files[:-1], beside, files[-1]], path.parent)
    return report


def export_folder(
    source: Exported,
    destination: Source,
    output: str,
    format: str,
    largest_file: int,
    eight_bits: Int8 | None = None,
    **settings: Any,
) -> ExportReport:
    """Write the folder that loaders expect, whole or not at all; ``settings`` are arguments of :func:`open_subject`."""
    if output not in ("hidden_states", "logits"):
        raise InputError(
            f"A folder is for loaders, which know hidden states and a head's logits; the output is {output}. Export a "
            f"file: -o {output}.onnx."
        )
    if format not in GRAPHS:
        raise InputError(f"No loader takes a folder of the format {format!r}; there are {', '.join(GRAPHS)}.")
    if eight_bits is not None and format != "onnx":
        raise InputError(f"int8 is written as ONNX, and the format is {format}.")
    graph_name = GRAPHS[format] if eight_bits is None else QUANTIZED
    folder = check_new_folder(destination)
    formats.need(format)
    logger.info("loading %s", source if isinstance(source, str | os.PathLike) else type(source).__name__)
    subject = open_subject(source, output, for_loaders=True, **settings)
    assert subject.tokenizer is not None
    with apart(folder) as place:
        written = place / "folder"  # the one around it is closed to others, and stays so
        graph = written / graph_name
        graph.parent.mkdir(parents=True)
        embedder = subject.embedder if output == "hidden_states" else None
        write_settings(written, subject.model, subject.tokenizer, embedder, graph_name)
        report = write_and_prove(subject, graph, format, largest_file, eight_bits)
        report.destination = folder
        if not report.same:
            assert report.reason is not None
            raise ProofError(f"{folder} was not written. {report.reason.sentence}", report)
        text = card(report, example_ids(subject), graph_name)
        (written / "README.md").write_text(text, encoding="utf-8", newline="\n")
        report.files = put_folder_in_place(written, folder)
        report.bytes = sum(path.stat().st_size for path in report.files)
    return report


def check_named(destination: Source) -> None:
    """InputError where the destination is empty, or an ending without a name."""
    if str(destination) == "":
        raise InputError("destination (-o) is empty; give the name of a file, such as model.onnx, or of a folder.")
    if not isinstance(destination, str | os.PathLike) or str(destination)[-1] in "/\\":
        return
    if (ending := as_path(destination).name).lower() in SUFFIXES.values():
        raise InputError(f"{ending} is the ending of a file without its name; give one, such as model{ending}.")


def names_folder(destination: Source) -> bool:
    """Whether this is a folder: it ends in a slash, is one, or has no ending."""
    if not isinstance(destination, str | os.PathLike) or not str(destination):
        return False  # check_destination says what is wrong
    return str(destination)[-1] in "/\\" or is_folder(as_path(destination)) or not as_path(destination).suffix


def check_destination(destination: Source, format: str | None) -> tuple[Path, str]:
    """The file to write and its format; InputError where the name and the format are not of one kind."""
    by_suffix = {suffix: name for name, suffix in SUFFIXES.items()}
    path = as_path(destination)
    if format is not None and format not in SUFFIXES:
        raise InputError(f"{format!r} is no format of an export; there are {', '.join(SUFFIXES)}.")
    named = by_suffix.get(path.suffix.lower())
    if named is None:
        wanted = SUFFIXES[format or "onnx"]
        raise InputError(
            f"{path} does not end in {', '.join(by_suffix)}; give the name of a file, such as model{wanted}, or of a "
            "folder, such as exported/."
        )
    if format not in (None, named):
        raise InputError(
            f"{path} is the name of a file for {named}, and the format is {format}: end it in {SUFFIXES[format]}."
        )
    return check_file(path, "the file to export to"), named


@contextmanager
def apart(path: Path) -> Iterator[Path]:
    """A new folder on the disk of ``path``, which is gone after the block, whatever happens in it."""
    nearest = path.absolute().parent
    while not nearest.is_dir():
        nearest = nearest.parent
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=nearest))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written ({reason_of(error)}).") from error
    try:
        yield folder
    except OSError as error:
        if isinstance(error, CheckpointError | ImportError):
            raise
        raise CheckpointError(f"{path} cannot be written ({reason_of(error)}).") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_and_prove(
    subject: Subject,
    path: Path,
    format: str,
    largest_file: int = formats.LARGEST_FILE,
    eight_bits: Int8 | None = None,
) -> ExportReport:
    """Write the graph of ``subject`` to ``path``, run it, and compare; ``reason`` is set where it differs.

    With ``eight_bits`` the file that was proven is then written anew in int8, and its loss measured.
    """
    logger.info("tracing the graph of %s, %s", subject.architecture, subject.output)
    module = subject.module()
    program = exported_program(module)
    logger.info("writing it as %s", format)
    metadata = metadata_of(subject)
    formats.write(format, module, program, path, metadata, largest_file)
    kinds = nine_kinds(subject.model.config, fitting_tokenizer(subject), module.input_axes)
    opened: Opened | None = None
    try:
        opened = open_file(format, path)
    except RuntimeFailure as failure:
        proof = unreadable(kinds, module, f"the runtime cannot read it: {failure}")
        reason: Reason | None = Reason(f"Its runtime cannot read it: {failure}.")
    else:
        numbers = {kind: number for number, kind in enumerate(kinds, start=1)}
        proof = prove(
            opened.run,
            subject.right_values(),
            kinds,
            runtime=opened.runtime,
            seen=lambda kind: logger.info("proving it on “%s” (%d of %d)", kind, numbers[kind], len(numbers)),
        )
        proof.notes += opened.notes
        reason = None
        if not proof.same:
            logger.info("it differs; looking for the first value that is wrong")
            reason = why(subject, proof, opened, kinds, path=path, format=format, program=program.module())
    loss = None
    if eight_bits is not None and reason is None:
        loss = write_int8(eight_bits, subject, path, metadata, largest_file, kinds)
        reason = None if loss.within else Reason(loss.sentence)
    return ExportReport(
        subject.name,
        subject.architecture,
        subject.output,
        format,
        path,
        dict.fromkeys(INPUTS, f"({', '.join(module.input_axes)})"),
        {name: axes_seen(proof, name, module.input_axes) for name in module.outputs},
        subject.sha256,
        versions_of(format),
        formats.opset_of(format),
        proof,
        notes=subject.notes,
        reason=reason,
        loss=loss,
    )


def fitting_tokenizer(subject: Subject) -> Any:
    """The tokenizer, unless it has ids that the model has no embedding for."""
    if subject.tokenizer is None or len(subject.tokenizer) > subject.model.config.vocab_size:
        return None
    return subject.tokenizer


def unreadable(kinds: Mapping[str, Batch], module: GraphModule, failure: str) -> Proof:
    """The proof of a file that was not run at all."""
    proof = Proof(
        "none", "largest difference", 0.0, kinds={kind: tuple(b["input_ids"].shape) for kind, b in kinds.items()}
    )
    infinite = float("inf")
    for kind in kinds:
        proof.results += [
            Measured(kind, name, (), infinite, infinite, infinite, False, failure) for name in module.outputs
        ]
    return proof


def axes_seen(proof: Proof, output: str, axes: tuple[str, ...]) -> str:
    """The axes of an output by the sizes that it had on the kinds of input."""
    shapes = [(result.shape, proof.kinds[result.kind]) for result in proof.results if result.output == output]
    if not shapes or not shapes[0][0]:
        return ""
    names = []
    for place in range(len(shapes[0][0])):
        sizes = [shape[place] for shape, _ in shapes]
        name = next((a for number, a in enumerate(axes) if sizes == [ids[number] for _, ids in shapes]), None)
        if name is None and len(set(sizes)) == 1:
            name = str(sizes[0])
        names.append(name or "batch · choices")
    return f"({', '.join(names)})"


def metadata_of(subject: Subject) -> dict[str, str]:
    """What a file says of itself."""
    return {
        "minibert_version": __version__,
        "source": subject.name,
        "source_sha256": next(iter(subject.sha256.values()))
        if len(subject.sha256) == 1
        else json_digest(subject.sha256),
        "architecture": subject.architecture,
        "output": subject.output,
    }


def versions_of(format: str) -> dict[str, str]:
    """The releases that made a file, of each package."""
    others = {name: importlib.metadata.version(name) for name in PACKAGES[format]}
    return {"minibert": __version__, "torch": torch.__version__, **others}


def example_ids(subject: Subject) -> list[list[int]] | None:
    """Two texts in the checkpoint's vocabulary for the card, padded with 0; None where that is no padding."""
    tokenizer = fitting_tokenizer(subject)
    if tokenizer is None or tokenizer.pad_token_id != 0:
        return None
    ids: list[list[int]] = tokenizer(["The sun is out.", "Yes."], padding=True)["input_ids"]
    return ids


def put_in_place(files: list[Path], folder: Path) -> list[Path]:
    """Move finished files into ``folder``, the last one last: where that is, the others are."""
    folder.mkdir(parents=True, exist_ok=True)
    placed = []
    for path in files:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        placed.append(path.replace(folder / path.name))
    return placed
