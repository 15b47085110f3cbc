"""What a runtime is to the embedding engine: a file made from the model, and padded ids in, hidden states out."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

from torch import Tensor

from minibert.errors import MissingExtraError
from minibert.graphs import GraphModule

Key = TypeVar("Key")


class Padded(NamedTuple):
    """A batch for a runtime, each (B, T) int64."""

    input_ids: Tensor
    attention_mask: Tensor  # 1: token, 0: padding, which follows the tokens
    token_type_ids: Tensor


class Runtime(ABC):
    """One library with one graph in it."""

    name: ClassVar[str]  # as in backend=, and the name of the package
    extra: ClassVar[str]  # of minibert's, that brings it
    needs: ClassVar[tuple[str, ...]]  # packages without which no graph can be built
    tokens_per_batch: ClassVar[int]  # most tokens in a batch, padding included

    @classmethod
    def installed(cls) -> bool:
        """Whether its packages are there."""
        return all(util.find_spec(package) is not None for package in cls.needs)

    @classmethod
    def require(cls) -> None:
        """Raise MissingExtraError where a package is missing."""
        for package in cls.needs:
            if util.find_spec(package) is None:
                raise MissingExtraError.of(
                    f"backend={cls.name!r} needs {package}, which is not installed",
                    cls.extra,
                    "backend='torch' needs nothing.",
                )

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Those of its packages."""
        return {package: metadata.version(package) for package in cls.needs}

    @classmethod
    @abstractmethod
    def build(cls, module: GraphModule, folder: Path) -> None:
        """Write the runtime's files for ``module`` into an empty folder."""

    @abstractmethod
    def __init__(self, folder: Path, threads: int) -> None:
        """Load the files that :meth:`build` wrote."""

    @abstractmethod
    def infer(self, batch: Padded) -> list[Tensor]:
        """The graph's outputs, each (B, T, H) float32; they may be overwritten by the next call."""

    def stream(self, batches: Iterable[tuple[Key, Padded]]) -> Iterator[tuple[Key, list[Tensor]]]:
        """:meth:`infer` for many batches, in order; outputs may be overwritten as soon as the next are asked for."""
        for key, batch in batches:
            yield key, self.infer(batch)


def arrays(batch: Padded) -> list[Any]:
    """The batch as numpy arrays, without a copy."""
    return [tensor.numpy() for tensor in batch]
