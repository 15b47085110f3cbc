"""What loading and saving ask of a model; ``minibert.BertPreTrainedModel`` has all of it."""

from collections.abc import Mapping
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from minibert.checkpoint.report import LoadReport
from minibert.config import BertConfig


class PretrainedModel(Protocol):
    """A torch module with a config, that knows its encoder and its tied parameters."""

    config: BertConfig
    load_report: LoadReport | None

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""

    @property
    def base_model(self) -> Any:
        """The encoder inside a head; an encoder itself."""

    def tied_names(self) -> dict[str, str]:
        """Names of tied parameters, each with the name of the parameter that it is."""

    def tie_weights(self) -> None:
        """Tie them."""

    def _init_weights(self, module: nn.Module) -> None: ...

    # of every torch.nn.Module

    def state_dict(self) -> Any:
        """The tensors by name."""

    def load_state_dict(self, state_dict: Mapping[str, Tensor], /, *, assign: bool) -> Any:
        """Take tensors by name."""

    def register_module(self, name: str, module: nn.Module | None, /) -> None:
        """Put a module, or None, in a place of the tree."""

    def get_submodule(self, target: str, /) -> nn.Module:
        """The module at a place of the tree."""

    def eval(self) -> Self:
        """Itself, without dropout."""

    def to(self, device: torch.device, /) -> Self:
        """Itself, on a device."""
