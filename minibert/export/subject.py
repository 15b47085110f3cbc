"""What is exported: a checkpoint's model in float32, its tokenizer, and where both come from."""

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from minibert.auto import load_architecture
from minibert.checkpoint import open_weights
from minibert.checksum import file_digest
from minibert.convert import VOCABULARY
from minibert.embedding import Embedder
from minibert.errors import InputError
from minibert.export.right import OUTPUTS, Run, right_values
from minibert.export.sentence import Sentence
from minibert.graphs import AllPoints, GraphModule, HiddenStates, Logits
from minibert.model import BertModel
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Checkpoint, Source
from minibert.tokenizer import BertTokenizer

Exported = Source | BertPreTrainedModel | Embedder


@dataclass
class Subject:
    """A model to export, and what its graph is compared with."""

    name: str  # the source as it was typed, or the class of a model from memory
    output: str  # one of OUTPUTS
    model: BertPreTrainedModel  # float32, eager attention, eval mode; never changed
    tokenizer: BertTokenizer | None
    embedder: Embedder | None  # how a sentence's vector is made, where that is known
    sha256: dict[str, str]  # file of weights → digest; "weights" of a model from memory
    notes: list[str]

    @property
    def architecture(self) -> str:
        """The name of the model's class."""
        return type(self.model).__name__

    def module(self) -> GraphModule:
        """What the graph computes."""
        if self.output == "sentence":
            assert self.embedder is not None
            return Sentence(self.embedder)
        modules: dict[str, Callable[[BertPreTrainedModel], GraphModule]] = {
            "hidden_states": HiddenStates, "logits": Logits, "all-points": AllPoints,
        }  # fmt: skip
        return modules[self.output](self.model)

    def right_values(self) -> Run:
        """What the graph has to give."""
        return right_values(self.model, self.output, self.embedder)


def open_subject(
    source: Exported, output: str, *, head: str | None = None, for_loaders: bool = False, **settings: Any
) -> Subject:
    """Load what ``source`` names, for one of OUTPUTS.

    Args:
        source: of a checkpoint; or a model or an Embedder, which is copied.
        output: one of OUTPUTS.
        head: the class of the model, for ``logits`` and ``all-points``; default the checkpoint's.
        for_loaders: whether a folder is written, with the tokenizer, and for hidden states the embedder's settings.
        settings: of a sentence's vector, arguments of Embedder (``pooling=``, ``normalize=``, ``truncate_dim=``), which
            override the checkpoint's.

    Raises InputError for arguments that do not go together, and whatever loading raises.
    """
    if output not in OUTPUTS:
        raise InputError(f"{output!r} is no output of an export; there are {', '.join(OUTPUTS)}.")
    settings = {name: value for name, value in settings.items() if value is not None}
    makes_vectors = output == "sentence" or (for_loaders and output == "hidden_states")
    if settings and not makes_vectors:
        names = [f"{name} (--{name.replace('_', '-')})" for name in settings]
        verb = "makes" if len(names) == 1 else "make"
        raise InputError(
            f"{' and '.join(names)} {verb} the vector of a sentence: give output='sentence' (--output sentence), too."
        )
    if head is not None and (
        output not in ("logits", "all-points") or isinstance(source, BertPreTrainedModel | Embedder)
    ):
        raise InputError(
            "head (--head) is the class of a checkpoint's model; it goes with --output logits or all-points."
        )
    if isinstance(source, Embedder):
        return _of_embedder(source, output, settings)
    if isinstance(source, BertPreTrainedModel):
        if output == "sentence":
            raise InputError("A sentence's vector is made by a model and its settings: give an Embedder, or a folder.")
        if for_loaders:
            raise InputError("A folder for loaders holds a tokenizer, too: give an Embedder, or a checkpoint.")
        model = as_reference(source)
        return Subject(type(source).__name__, output, model, None, None, {"weights": digest_of(model)}, [])
    checkpoint = Checkpoint.open(source)
    if makes_vectors:
        embedder = Embedder.from_pretrained(checkpoint, **settings)
        poolings, chosen = embedder.choose(embedder.pooling, "last", None)
        width, kept = embedder.pooled_width(poolings, chosen), settings.get("truncate_dim")
        if kept is not None and kept > width:
            raise InputError(
                f"truncate_dim (--truncate-dim) is {kept}, and the vectors of {checkpoint} have {width} numbers; give "
                f"at most {width}."
            )
        subject = _of_embedder(embedder, output, {}, name=str(checkpoint), files=files_of(checkpoint))
        subject.notes += head_remark(embedder.model) if for_loaders else []
        return subject
    loaded: BertPreTrainedModel
    if output == "hidden_states":
        loaded = BertModel.from_pretrained(checkpoint)
    else:
        loaded = load_architecture(checkpoint, architecture=head)
    tokenizer = BertTokenizer.from_pretrained(checkpoint) if any(map(checkpoint.find, VOCABULARY)) else None
    if for_loaders and tokenizer is None:
        raise InputError(f"{checkpoint} brings no vocabulary, which a folder for loaders holds. Export a file instead.")
    notes = remarks(checkpoint, loaded, output)
    return Subject(str(checkpoint), output, as_reference(loaded), tokenizer, None, files_of(checkpoint), notes)


def _of_embedder(
    embedder: Embedder, output: str, settings: dict[str, Any], name: str = "", files: dict[str, str] | None = None
) -> Subject:
    """What an Embedder is made of; its model has no head."""
    if settings:
        raise InputError(f"An Embedder brings its own settings; leave {' and '.join(settings)} out, or change it.")
    if output == "logits":
        raise InputError("An Embedder has no head, so it has no logits; export its hidden states or its sentence.")
    copied = copy.copy(embedder)
    copied.model = as_reference(embedder.model)
    copied.steps = copy.deepcopy(embedder.steps).float().cpu().eval()
    digests = {"weights": digest_of(copied.model)} if files is None else files
    notes = []
    if output == "sentence" and any(embedder.prompts.values()):
        notes.append("the prompts of the checkpoint are text and stay outside of the graph: put them before each text")
    return Subject(name or "Embedder", output, copied.model, embedder.tokenizer, copied, digests, notes)


def as_reference(model: BertPreTrainedModel) -> Any:
    """A copy in float32 on the CPU, with attention written out and the feed-forward in one piece."""
    copied = copy.deepcopy(model).float().cpu().eval().requires_grad_(False)
    copied.config.attn_implementation = "eager"
    return copied


def remarks(checkpoint: Checkpoint, model: BertPreTrainedModel, output: str) -> list[str]:
    """What somebody may have expected in the file and does not find there."""
    if output != "hidden_states":
        return []
    notes = []
    if checkpoint.at("modules.json") is not None:
        notes.append(
            "the checkpoint makes sentence vectors, and this file gives hidden states: pool them outside, or export "
            "with --output sentence"
        )
    return notes + head_remark(model)


def head_remark(model: BertPreTrainedModel) -> list[str]:
    """That the checkpoint has a head, where it has one that the model leaves out."""
    report = model.load_report
    if report is not None and any("classifier" in t.name or "qa_outputs" in t.name for t in report.unused):
        return ["the checkpoint has a head, which is not in this file: --output logits exports it"]
    return []


def files_of(checkpoint: Checkpoint) -> dict[str, str]:
    """The SHA-256 of each file of weights, by its name."""
    return {path.name: file_digest(path) for path in open_weights(checkpoint).files if Path(path).is_file()}


def digest_of(model: torch.nn.Module) -> str:
    """The SHA-256 of a model's tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
