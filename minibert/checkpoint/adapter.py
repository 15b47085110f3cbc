"""An adapter of PEFT (LoRA, Hu et al. 2021): small matrices beside the weights of a base checkpoint.

A linear layer with an adapter computes x · (W + scale · B · A)ᵀ + b, with A (r, in) and B (out, r).  The same model in
plain weights has W + scale · B · A in the place of W: so minibert reads an adapter, without the library peft.  Whatever
is saved beside the matrices, such as a head, takes the place of the base's tensor of that name.

Formats: peft's ``adapter_config.json`` and ``adapter_model.safetensors``.  A setting that would change what the numbers
mean is refused by its name, never passed over.  Start with :class:`AdapterSettings`; weights.py merges.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibert.checkpoint.names import read_name
from minibert.errors import CheckpointError
from minibert.files import LARGEST_SETTINGS, read_json
from minibert.schema import FLAG, NUMBER, Kind, check_settings, object_of, one_of, optional, shown

PREFIX = "base_model.model."  # before the names of the model that the adapter was made for
MATRICES = re.compile(r"(?P<module>.+)\.lora_(?P<which>[AB])(?:\.default)?\.weight")
SAVED = re.compile(r"\.(?:base_layer|modules_to_save(?:\.default)?|original_module)(?=\.)")
# What init_lora_weights may be: others also change the base's weights, or what the file's matrices mean.
INITIALISATIONS = (True, False, "gaussian", "eva", "orthogonal")
READ: dict[str, Kind] = {
    "peft_type": one_of("LORA"),
    "lora_alpha": NUMBER,
    "alpha_pattern": optional(object_of(NUMBER)),
    "use_rslora": FLAG,
    "init_lora_weights": one_of(*INITIALISATIONS),
}
# Settings of the training, or of what is adapted, which the tensors themselves show.
HARMLESS = {
    "auto_mapping", "base_model_name_or_path", "bias", "ensure_weight_tying", "eva_config", "exclude_modules",
    "inference_mode", "layers_pattern", "layers_to_transform", "lora_dropout", "megatron_core", "modules_to_save",
    "peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config", "target_modules",
    "task_type",
}  # fmt: skip
MERGE = (
    "With peft, it can be merged: peft.AutoPeftModel….from_pretrained(FOLDER).merge_and_unload()"
    ".save_pretrained(NEW_FOLDER)."
)


@dataclass(frozen=True)
class AdapterSettings:
    """What ``adapter_config.json`` says of the numbers in ``adapter_model.safetensors``."""

    path: Path
    alpha: float
    alpha_pattern: Mapping[str, float]  # another alpha for modules whose name ends with the key, a regular expression
    is_rank_stabilized: bool  # alpha / √r instead of alpha / r (Kalajdzievski 2023)

    @classmethod
    def read(cls, path: Path) -> "AdapterSettings":
        """The settings in ``path``; CheckpointError for another kind of adapter, naming the key."""
        content: dict[str, Any] = read_json(path, largest=LARGEST_SETTINGS)
        if (kind := content.get("peft_type")) != "LORA":
            raise CheckpointError(f"{path}: peft_type is {shown(kind)}; minibert reads adapters of LoRA only. {MERGE}")
        check_settings(content, READ, path)
        for name, value in content.items():
            if name not in READ and name not in HARMLESS and value:
                raise CheckpointError(f"{path}: {name} is {shown(value)}, which minibert does not have. {MERGE}")
        return cls(
            path, content.get("lora_alpha", 8), content.get("alpha_pattern") or {}, content.get("use_rslora", False)
        )

    def scale(self, module: str, rank: int) -> float:
        """What B · A of that module is multiplied by."""
        alpha = next((value for key, value in self.alpha_pattern.items() if self.matches(key, module)), self.alpha)
        return alpha / (math.sqrt(rank) if self.is_rank_stabilized else rank)

    def matches(self, key: str, module: str) -> bool:
        """Whether ``key`` of a pattern means ``module``, as in peft."""
        try:
            return re.fullmatch(rf"(.*\.)?({key})", module) is not None
        except re.error as error:
            raise CheckpointError(f"{self.path}: alpha_pattern has {shown(key)}, no expression ({error}).") from error


@dataclass(frozen=True)
class LowRank:
    """The two matrices of an adapted weight, by their names in the file."""

    module: str  # as the adapter calls it
    a: str  # (r, in)
    b: str  # (out, r)


def adapter_parts(names: Iterable[str], where: str) -> tuple[dict[str, LowRank], dict[str, str]]:
    """The matrices by the weight that they change, and the tensors by the one that they replace, in our names.

    Raises CheckpointError for a matrix without the other, and for a tensor of another kind of adapter.
    """
    pairs: dict[str, dict[str, str]] = {}
    replaced: dict[str, str] = {}
    for name in names:
        own = name.removeprefix(PREFIX)
        if match := MATRICES.fullmatch(own):
            pairs.setdefault(match["module"], {})[match["which"]] = name
        elif "lora_" in own or "ia3_" in own or own.startswith("prompt_"):
            raise CheckpointError(
                f"{where} holds {name}, which is no pair of matrices of a linear layer; minibert reads no other "
                f"adapters. {MERGE}"
            )
        else:
            replaced[read_name(SAVED.sub("", own)).ours] = name
    changed = {}
    for module, pair in pairs.items():
        if len(pair) != 2:
            raise CheckpointError(f"{where} holds {next(iter(pair.values()))} without the other matrix of {module}.")
        changed[read_name(f"{module}.weight").ours] = LowRank(module, pair["A"], pair["B"])
    if not changed:
        raise CheckpointError(f"{where} holds no matrices of LoRA (lora_A, lora_B).")
    return changed, replaced
