"""LoRA (Hu et al. 2021): the checkpoint's weights are frozen; small matrices beside some of them are trained.

The layers with matrices are those of the library peft, which trains and saves them; minibert reads and merges them by
itself (:mod:`minibert.checkpoint.adapter`).  A run writes peft's two files, with the names that peft gives the tensors
on transformers' model, so both libraries load them onto the same base.  Start with :class:`Lora`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from minibert.checkpoint.adapter import PREFIX
from minibert.checkpoint.save import saved_config, write_safetensors
from minibert.checksum import file_digest
from minibert.config import ADAPTED_CONFIG
from minibert.errors import InputError, MissingExtraError
from minibert.files import write_text
from minibert.pretrained import BertPreTrainedModel
from minibert.schema import RATE, SIZE, Kind, check_settings, is_real, list_of, optional, shown
from minibert.source import ADAPTER, Checkpoint, as_path, is_demo
from minibert.training.distributed import Processes, full_tensor

LEARNING_RATE = 5e-4  # ten times that of full fine-tuning, as in the paper (appendix D.1)
# What peft calls the tasks; it has no name for multiple choice.
TASK_TYPES = {
    "BertModel": "FEATURE_EXTRACTION", "BertForSequenceClassification": "SEQ_CLS",
    "BertForTokenClassification": "TOKEN_CLS", "BertForQuestionAnswering": "QUESTION_ANS",
}  # fmt: skip
KINDS: dict[str, Kind] = {
    "r": SIZE,
    "lora_alpha": optional(Kind(lambda x: is_real(x) and x > 0, "a number above 0")),
    "lora_dropout": Kind(lambda x: RATE.holds(x) and x < 1, "a number of at least 0, below 1"),
    "target_modules": Kind(
        lambda x: list_of(Kind(lambda y: isinstance(y, str) and bool(y), "a name")).holds(x) and len(x) > 0,
        "a list of names, such as ['query', 'value']",
    ),
}


@dataclass(frozen=True)
class Lora:
    """The choices, under the names of peft's LoraConfig."""

    r: int = 8  # the rank: rows of A, columns of B
    lora_alpha: float | None = None  # B · A is multiplied by lora_alpha / r; default r
    lora_dropout: float = 0.0  # of the inputs of A
    target_modules: Sequence[str] = ("query", "value")  # linear layers, by the last parts of their names

    def __post_init__(self) -> None:
        """Raise InputError for a choice of the wrong type."""
        check_settings(vars(self), KINDS, type(self).__name__, InputError)

    def excluded(self, whole: Iterable[str]) -> list[str] | None:
        """The modules of the parameters ``whole`` that would be targets, and get no adapter; None for none."""
        modules = {name.rpartition(".")[0] for name in whole}
        return sorted(one for one in modules if any(is_named(one, target) for target in self.target_modules)) or None

    def config(self, **more: Any) -> Any:
        """Peft's LoraConfig; raises MissingExtraError where peft is not installed."""
        try:
            import peft
        except ImportError as error:
            raise MissingExtraError.of("peft is not installed, and LoRA is trained with its layers", "lora") from error
        alpha = self.r if self.lora_alpha is None else self.lora_alpha
        targets = list(self.target_modules)
        return peft.LoraConfig(
            r=self.r, lora_alpha=alpha, lora_dropout=self.lora_dropout, target_modules=targets, **more
        )


def is_named(module: str, target: str) -> bool:
    """Whether ``target`` is the last part of a module's name, or several parts of it, as peft compares them."""
    return f".{module}".endswith(f".{target}")


def check_lora(lora: Lora | None, settings: dict[str, Any], from_scratch: bool) -> None:
    """Raise InputError for what does not go together with adapters, MissingExtraError without peft."""
    if lora is None:
        return
    if not isinstance(lora, Lora):
        raise InputError(f"lora is {shown(lora)}; expected Lora(r=8), with peft's names for its choices.")
    if settings.get("freeze") is not None:
        raise InputError(
            "freeze (--freeze) and lora (--lora) do not go together: with adapters, all weights of the checkpoint are "
            "frozen. Leave freeze out; target_modules (--lora-targets) says which layers get adapters."
        )
    if from_scratch:
        raise InputError(
            "from_scratch (--from-scratch) and lora (--lora) do not go together: adapters change what a checkpoint "
            "knows, and random weights, frozen, know nothing. Leave one of them out."
        )
    lora.config()


def add_adapters(model: BertPreTrainedModel, lora: Lora, fresh: Sequence[str] = ()) -> None:
    """Put adapters into the encoder, in place, and freeze the rest of it.

    The head and what is ``fresh`` are trained as a whole.  A is drawn from torch's generator and B is 0, so the model
    computes what it did.  Raises InputError for a target that is no linear layer of the encoder.
    """
    config = lora.config()
    from peft import inject_adapter_in_model

    base = model.base_model
    linear = [name for name, module in base.named_modules() if isinstance(module, nn.Linear)]
    for target in lora.target_modules:
        if not any(is_named(name, target) for name in linear):
            known = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in linear))
            raise InputError(f"target_modules (--lora-targets) has {target!r}; the linear layers here are {known}.")
    new = [name.removeprefix(model.encoder_prefix) for name in fresh]
    config.exclude_modules = lora.excluded(new)
    inject_adapter_in_model(config, base)  # leaves only the matrices to be trained
    for name, parameter in base.named_parameters():
        if name in new:
            parameter.requires_grad_(True)


def save_adapter(
    model: BertPreTrainedModel, lora: Lora, checkpoint: Checkpoint, folder: Path, processes: Processes
) -> None:
    """Write adapter_config.json and adapter_model.safetensors, as peft does, and the config with the labels.

    ``checkpoint``: the base, whose name the first of them holds.  Raises CheckpointError when ``folder`` cannot be
    written.
    """
    tensors: dict[str, Tensor] = {}
    whole: list[str] = []  # what is trained without an adapter
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            tensors[PREFIX + name.replace(".default.", ".")] = full_tensor(parameter)
            if ".lora_" not in name:
                whole.append(name.removeprefix(model.encoder_prefix))
    if not processes.is_main:
        return
    config = lora.config(
        base_model_name_or_path=name_of(checkpoint),
        revision=checkpoint.where.get("revision"),
        task_type=TASK_TYPES.get(type(model).__name__),
        exclude_modules=lora.excluded(whole),
        modules_to_save=sorted({name.partition(".")[0] for name in whole}) or None,
        inference_mode=True,
    )
    settings = {name: sorted(value) if isinstance(value, set) else value for name, value in config.to_dict().items()}
    write_safetensors(folder / "adapter_model.safetensors", tensors, {"format": "pt"})
    write_text(folder / ADAPTED_CONFIG, saved_config(model).to_json_string())
    write_text(folder / ADAPTER, json.dumps(settings, indent=2, sort_keys=True) + "\n")


def adapter_identity(lora: Lora | None, model: BertPreTrainedModel) -> dict[str, Any]:
    """What else must be the same when a run is resumed: the base's files, whose weights the snapshots do not hold."""
    if lora is None:
        return {}
    files = () if model.load_report is None else model.load_report.files
    choices = {**asdict(lora), "target_modules": list(lora.target_modules)}
    return {"lora": choices, "base": [file_digest(Path(path)) for path in files]}


def name_of(checkpoint: Checkpoint) -> str:
    """The name by which an adapter's base is found again: the hub's, or a whole path."""
    if checkpoint.folder is None or is_demo(checkpoint.source):
        return str(checkpoint)
    return str(as_path(checkpoint).absolute())


def check_base(checkpoint: Checkpoint) -> None:
    """Raise InputError for a checkpoint that is an adapter itself: nothing could load one on top of the other."""
    if checkpoint.base is not None:
        raise InputError(
            f"{checkpoint} is an adapter itself, which no other can change. Merge it into its base first: minibert "
            f"convert {checkpoint} -o FOLDER."
        )
