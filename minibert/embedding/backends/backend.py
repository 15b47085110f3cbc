"""A runtime with the graph of one model in it, behind the two calls that the engine makes: one batch, and many.

Built once, proven once: the graph and its proof are kept under a hash of the weights, the layers, the machine and
every version that matters (:mod:`.cache`).  A model whose weights were changed since is not answered for
(:meth:`Backend.fits`).
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from minibert._version import __version__
from minibert.embedding.backends.cache import build_entry, cache_folder, entry_path, read_entry, unusable
from minibert.embedding.backends.padding import pad, unpad
from minibert.embedding.backends.proof import Proof, prove
from minibert.embedding.backends.runtime import Padded, Runtime
from minibert.embedding.backends.weights import Snapshot, processor_facts, settings_of, weights_digest
from minibert.embedding.packed import Packed
from minibert.errors import InputError, MinibertError
from minibert.graphs import HiddenStates
from minibert.model import BertModel
from minibert.tokenizer.windows import TokenRow

Key = TypeVar("Key")
FORMAT = 2  # of what is kept; another number makes every graph anew


@dataclass(frozen=True)
class Report:
    """Which backend an Embedder has, and why; printed, it is a sentence."""

    name: str  # "torch", "onnxruntime" or "openvino"
    versions: dict[str, str]  # of the packages that compute
    sentence: str

    def __str__(self) -> str:
        return self.sentence


class Backend:
    """Hidden states of ``layers`` by a runtime."""

    def __init__(self, runtime: Runtime, model: BertModel, layers: tuple[int, ...], proof: Proof, built: float) -> None:
        self.runtime, self.layers, self.proof = runtime, layers, proof
        self.snapshot = Snapshot(model)
        self.built = built  # seconds that building took now; 0.0 for a graph that was kept
        self.tokens_per_batch = runtime.tokens_per_batch

    def fits(self, numbers: Iterable[int]) -> bool:
        """Whether these hidden states are among the graph's outputs."""
        return all(number in self.layers for number in numbers)

    def hidden_states(self, packed: Packed) -> dict[int, Tensor]:
        """Those of ``layers``, each (tokens, H): as :func:`minibert.embedding.packed.packed_hidden_states`."""
        return self.unpadded(self.runtime.infer(pad(packed)), packed)

    def stream(self, batches: Iterable[tuple[Key, Packed]]) -> Iterator[tuple[Key, Packed, dict[int, Tensor]]]:
        """:meth:`hidden_states` of many batches, in order."""
        keyed: Iterator[tuple[tuple[Key, Packed], Padded]] = (((key, packed), pad(packed)) for key, packed in batches)
        for (key, packed), outputs in self.runtime.stream(keyed):
            yield key, packed, self.unpadded(outputs, packed)

    def unpadded(self, outputs: list[Tensor], packed: Packed) -> dict[int, Tensor]:
        """The runtime's outputs by the numbers of their hidden states, without padding."""
        return {layer: unpad(output, packed) for layer, output in zip(self.layers, outputs, strict=True)}

    def report(self, why: str = "") -> Report:
        """What it is, for a person."""
        name, versions = self.runtime.name, self.runtime.versions()
        how = f"built and proven in {self.built:.1f} s" if self.built else "kept from before"
        return Report(name, versions, f"{name} {versions[name]}, {how}: {self.proof}.{why and ' '}{why}")


def open_backend(
    kind: type[Runtime],
    model: BertModel,
    layers: tuple[int, ...],
    max_length: int,
    texts: Sequence[TokenRow],
    digest: str,
) -> Backend:
    """The backend for ``model`` as it is now: from the cache, or built, proven and kept.

    ``texts``: rows of :data:`minibert.embedding.backends.proof.TEXTS`; ``digest``: :func:`model_digest`.

    Raises MissingExtraError where the runtime is not installed, InputError for a model that it cannot compute and for a
    graph that differs from the model, and CheckpointError where the cache cannot be written.
    """
    kind.require()
    check_model(kind, model)
    facts = facts_of(kind, digest, layers)
    path = entry_path(kind.name, facts)
    built, threads = 0.0, torch.get_num_threads()
    kept = read_entry(path, facts)
    if kept is None:
        started = time.perf_counter()

        def build(folder: Path) -> dict[str, Any]:
            with named_failures(kind):
                kind.build(HiddenStates(model, layers), folder)
                runtime = kind(folder, threads)
                return {"proof": asdict(prove(runtime, model, layers, max_length, texts))}

        kept = build_entry(path, facts, build)
        built = time.perf_counter() - started
    with named_failures(kind):
        runtime = kind(path, threads)
    return Backend(runtime, model, layers, Proof(**kept["proof"]), built)


@contextmanager
def named_failures(kind: type[Runtime]) -> Iterator[None]:
    """A runtime's or an exporter's own exception as an InputError that says whose it is."""
    try:
        yield
    except MinibertError:
        raise
    except OSError as error:
        raise unusable(cache_folder(), error) from error
    except Exception as error:
        reason = " ".join(str(error).split("\n")[0].split())[:200] or type(error).__name__
        raise InputError(
            f"{kind.name} cannot run this model ({type(error).__name__}: {reason}). backend='torch' can."
        ) from error


def check_model(kind: type[Runtime], model: BertModel) -> None:
    """Raise InputError for a device or dtype that is not the runtime's."""
    weight = model.embeddings.word_embeddings.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        dtype = str(weight.dtype).removeprefix("torch.")
        raise InputError(
            f"backend={kind.name!r} computes on the CPU in float32; this model is {dtype} on {weight.device}. Leave "
            "device= and dtype= out, or take backend='torch'."
        )


def model_digest(model: BertModel) -> str:
    """The SHA-256 of the weights and of what else the graph is made from."""
    return weights_digest(model, repr((settings_of(model), model.config.max_position_embeddings)))


def facts_of(kind: type[Runtime], digest: str, layers: tuple[int, ...]) -> dict[str, Any]:
    """Everything that the kept graph and its proof depend on."""
    return {
        "format": FORMAT,
        "model": digest,
        "layers": list(layers),
        "versions": {"minibert": __version__, "torch": torch.__version__, **kind.versions()},
        "processor": processor_facts(),
    }
