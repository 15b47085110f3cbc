"""From files to a model, with an account of every tensor.

Names are translated by the table (names.py); a model is built on the meta device, without memory; a plan says which
tensor becomes which parameter, and is checked as a whole; only then are tensors read.  Start with
:func:`load_pretrained`.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from minibert.checkpoint.names import Names, why_unused
from minibert.checkpoint.protocol import PretrainedModel
from minibert.checkpoint.report import LoadReport, TensorRecord
from minibert.checkpoint.tensors import Weights, all_finite, dtype_name
from minibert.checkpoint.weights import GivenWeights, as_weights, open_weights
from minibert.config import ADAPTED_CONFIG, BertConfig
from minibert.devices import find_device
from minibert.errors import CheckpointError, ConfigError, InputError
from minibert.foreign import family_of_tensors, not_this_family
from minibert.source import Checkpoint, Source, take_where
from minibert.switches import device_of, take_source, take_switches

Model = TypeVar("Model", bound=PretrainedModel)
POOLER = "pooler."
CLASSIFIER = "classifier.weight"
HEAD_SIZES = {"num_labels", "id2label"}  # settings that ask for a new head where the file's has another size
# For speed, programs round the rows of an embedding up to a multiple of these: more than the vocabulary has pieces.
MULTIPLES = (8, 16, 32, 64, 128)
ROW_PER_PIECE = (
    "embeddings.word_embeddings.weight", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias",
    "cls.predictions.bias",
)  # fmt: skip
UNMERGED = ("lora_A.", "lora_B.", ".base_layer.", ".modules_to_save.", "lora_embedding_A.", "ia3_l.")  # PEFT's names
NAMES_SHOWN = 3
SHOWN = ("layer_norm_eps", "hidden_act", "num_attention_heads")  # settings that no tensor's shape tells
SAME_FORMULA = {"gelu_pytorch_tanh": "gelu_new", "swish": "silu"}  # by two names
FLOATS = ("float32", "float64", "float16", "bfloat16")


def load_pretrained(
    model_class: Callable[..., Model],
    source: Source | None = None,
    *,
    config: BertConfig | Source | None = None,
    state_dict: Mapping[str, Tensor] | Weights | None = None,
    dtype: torch.dtype | str | None = None,
    fresh_head: bool = False,
    ignore_mismatched_sizes: bool = False,
    add_pooling_layer: bool | None = None,
    device_map: Any = None,
    use_safetensors: bool | None = None,
    **settings: Any,
) -> Model:
    """A ``model_class`` with the weights of ``source``, in eval mode.

    Args:
        model_class: BertModel or a head.
        source: a folder that holds config.json and the weights, one weight file in such a folder, or a hub name; None
            with ``config`` and ``state_dict``.
        config: used instead of the source's own; a config, or the source of one.
        state_dict: used instead of the source's weights, and copied.  Or weights that :func:`open_weights` opened: for
            one model only, since its parameters share their memory.
        dtype: of the parameters, default float32 whatever the file has; ``"auto"`` is the config's ``dtype``, and
            without one the file's.
        fresh_head: initialise the head, and the pooler if it is missing and the head reads it.
        ignore_mismatched_sizes: initialise those parameters of the head that the file lacks or has in another shape.
        add_pooling_layer: for BertModel; False leaves the pooler out.
        device_map: the one device of the model, such as ``"cuda"``, or ``"auto"``; default the CPU.
        use_safetensors: True reads no other format, False only others.
        settings: ``revision=``, ``cache_dir=``, ``local_files_only=``, ``token=`` and ``force_download=`` for the hub;
            and fields of the config to override, such as ``num_labels=3`` (which also allows a new head where the
            file has none), ``attn_implementation="eager"``, ``output_hidden_states=True``.  Further arguments of
            transformers are accepted or refused by name (minibert/switches.py).

    Raises CheckpointError when any parameter would not come from the file, or is NaN or infinite in it.
    """
    torch_dtype = settings.pop("torch_dtype", None)  # transformers' older name
    dtype = torch_dtype if dtype is None else dtype
    source = take_source(source, settings)
    where = take_where(settings)
    take_switches(settings)
    if settings.get("attn_implementation", "") is None:  # transformers' default, which is sdpa, too
        del settings["attn_implementation"]
    device = device_of(device_map)
    if source is None and (state_dict is None or config is None):
        raise InputError(
            "from_pretrained got no source; expected the path of a folder or file, or a name on the hub (owner/name); "
            "or else both config= and state_dict=."
        )
    if not isinstance(config, BertConfig | str | os.PathLike | None):
        raise ConfigError(f"config is a {type(config).__name__}; expected a minibert.BertConfig, or where one lies.")
    if source is not None and (config is None or state_dict is None):
        source = Checkpoint.open(source, **where)
    is_own = config is None
    if not isinstance(config, BertConfig):
        config = BertConfig.from_pretrained(source if config is None else Checkpoint.open(config, **where))
    unknown = [name for name in settings if name != "num_labels" and not hasattr(config, name)]
    if unknown:
        raise ConfigError(f"from_pretrained got {', '.join(unknown)}, which is no argument and no field of the config.")
    if settings:
        config = BertConfig.from_dict({**vars(config), **settings})
    arguments = {} if add_pooling_layer is None else {"add_pooling_layer": add_pooling_layer}
    if state_dict is not None:
        weights = as_weights(state_dict)
    else:
        assert source is not None
        weights = open_weights(source, use_safetensors=use_safetensors)
    names = weights.readings()
    if is_own and isinstance(source, Checkpoint) and not HEAD_SIZES & set(settings):
        config = with_labels_of_adapter(config, source, weights)
    check_names(config, weights, names)
    check_shown_settings(config, weights, settings)
    origin = weights.where if isinstance(weights, GivenWeights) else str(source)
    try:
        with torch.device("meta"), _NoInitialisation():
            model = model_class(config, **arguments)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error
    head_asked_for = fresh_head or ignore_mismatched_sizes or bool(HEAD_SIZES & set(settings))
    plan = _Plan(model, weights, names, origin, fresh_head, ignore_mismatched_sizes, may_add_head=head_asked_for)
    plan.check()
    plan.carry_out(_as_dtype(dtype, config))
    return model.eval() if device is None else model.to(find_device(device)).eval()


def with_labels_of_adapter(config: BertConfig, checkpoint: Checkpoint, weights: Weights) -> BertConfig:
    """``config``, with as many labels as the classifier has that an adapter brings without a config of its own.

    peft saves none: what is read then is the base's, which does not know the adapter's task.
    """
    if checkpoint.file is not None or checkpoint.base is None or checkpoint.own(ADAPTED_CONFIG) is not None:
        return config
    found = (name for name, reading in weights.readings().items() if reading.ours == CLASSIFIER)
    rows = next((weights.describe(name)[0][0] for name in found), config.num_labels)
    return config if rows == config.num_labels else BertConfig.from_dict({**vars(config), "num_labels": rows})


def check_names(config: BertConfig, weights: Weights, names: Names) -> None:
    """Raise CheckpointError unless the names are those of one BERT with as many layers as the config says.

    Called before the model is built: a config that claims a billion layers must cost nothing.
    """
    where = weights.where
    if family := family_of_tensors(names, names.prefix):
        raise CheckpointError(not_this_family(where, *family))
    if unmerged := [name for name in names if any(part in name for part in UNMERGED)]:
        raise CheckpointError(
            f"{where} has an adapter of PEFT beside the weights ({unmerged[0]}). Merge it before the model is saved: "
            "model.merge_and_unload().save_pretrained(FOLDER)."
        )
    if len(names.prefixes) > 1:
        raise CheckpointError(
            f"{where} holds {len(names.prefixes)} BERTs, whose names begin with {', '.join(names.prefixes[:8])}. Save "
            "the state dict of the one that is meant."
        )
    in_layers = [parts[3] for reading in names.values() if len(parts := reading.ours.split(".")) > 4
                 and parts[:3] == ["bert", "encoder", "layer"]]  # fmt: skip
    layers = set(in_layers)
    # The layers are counted: the highest number would make a billion of one tensor called layer.999999999.
    if len(layers) != config.num_hidden_layers:
        unknown = [] if layers else [name for name, reading in names.items() if not reading.ours.startswith("bert.")]
        listed = ", ".join(unknown[:NAMES_SHOWN]) + (", …" if len(unknown) > NAMES_SHOWN else "")
        raise CheckpointError(
            f"{where} has {len(layers)} layers, but config.json says num_hidden_layers {config.num_hidden_layers}. "
            + (f"Its names are not BERT's: {listed}." if unknown else "They do not belong together.")
            + weights.hint
        )
    if len(in_layers) < 8 * len(layers):  # where only a few are missing, a later message names them
        raise CheckpointError(
            f"{where} has {len(in_layers)} tensors in {len(layers)} layers, but every layer of a BERT has 16."
        )


def check_shown_settings(config: BertConfig, weights: Weights, given: Mapping[str, Any]) -> None:
    """Raise CheckpointError where the file itself shows another setting than the config has, as an ONNX graph does.

    given: settings that the caller chose, which stand.
    """
    for name in (name for name in SHOWN if name in weights.settings and name not in given):
        shown, value = weights.settings[name], getattr(config, name)
        same = math.isclose(shown, value, rel_tol=1e-3) if isinstance(shown, float) else shown == value
        if not same and shown != SAME_FORMULA.get(value):
            raise CheckpointError(
                f"{weights.where} computes with {name} {shown}, but config.json says {value}. They do not belong "
                f"together; if the graph is right, write {shown} into config.json."
            )


class _NoInitialisation(TorchFunctionMode):
    """Skip torch.nn.init: the file overwrites every number, and drawing them takes seconds.

    On the meta device it takes longer: initialising nn.Embedding there imports torch._dynamo.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _as_dtype(dtype: torch.dtype | str | None, config: BertConfig) -> torch.dtype | None:
    """The dtype of the parameters; None keeps the file's."""
    chosen: Any = torch.float32 if dtype is None else dtype
    if chosen == "auto":  # a file may be smaller than the model in memory: float16 in the file, "dtype": "float32"
        chosen = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None)
        if chosen is None:
            return None
    if isinstance(chosen, str):
        chosen = getattr(torch, chosen.removeprefix("torch."), None)
    if not isinstance(chosen, torch.dtype) or not chosen.is_floating_point:
        raise ConfigError("dtype is not a kind of number torch knows; choose float32, float64, float16, bfloat16.")
    return chosen


@dataclass
class _Plan:
    """Which tensor of the file becomes which parameter of the model."""

    model: PretrainedModel
    weights: Weights
    readings: Names  # tensor of the file: what the table makes of it
    source: str
    fresh_head: bool
    ignore_mismatched_sizes: bool
    may_add_head: bool
    taken: dict[str, str] = field(default_factory=dict)  # parameter: tensor of the file
    records: list[TensorRecord] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.where = self.weights.where
        self.is_head = self.model.base_model is not self.model
        self.shapes = {name: tuple(p.shape) for name, p in self.model.state_dict().items()}
        self.tied = self.model.tied_names()
        for name in self.weights.names():
            self.place(name)

    def place(self, name: str) -> None:
        """Decide what becomes of the tensor called ``name`` in the file."""
        reading = self.readings[name]
        parameter = reading.ours if self.is_head else reading.ours.removeprefix("bert.")
        shape, dtype = self.weights.describe(name)
        own_shape = shape[::-1] if reading.transposed else shape
        reason = self.weights.why_unused(name) or why_unused(reading.ours)
        if reason is None and parameter not in self.shapes:
            reason = self.why_not_in_model(reading.ours)
        elif reason is None and self.belongs_to_head(parameter):
            if self.fresh_head:
                reason = "a fresh head was asked for"
            elif self.ignore_mismatched_sizes and own_shape != self.shapes[parameter]:
                reason = f"it does not have shape {self.shapes[parameter]}, and ignore_mismatched_sizes was given"
        if reason is not None:
            self.records.append(TensorRecord(name, None, shape, dtype, reason))
            return
        if parameter in self.taken:
            raise CheckpointError(
                f"{self.where} has two tensors for {parameter}: {self.taken[parameter]} and {name}. "
                "Only one of them can be the model's."
            )
        self.taken[parameter] = name
        notes = [] if name == parameter else list(reading.dialects) or ["bert. prefix"]
        if self.is_padded(parameter, shape):
            notes.append(f"its first {self.shapes[parameter][0]:,} of {shape[0]:,} rows")
        self.records.append(TensorRecord(name, parameter, shape, dtype, "; ".join(notes)))

    def is_padded(self, parameter: str, shape: tuple[int, ...]) -> bool:
        """Whether a tensor has a row for every piece of the vocabulary, and more up to a multiple of MULTIPLES."""
        rows, *rest = self.shapes[parameter]
        if not parameter.endswith(ROW_PER_PIECE) or not shape or list(shape[1:]) != rest or shape[0] <= rows:
            return False
        return any(shape[0] == -(-rows // multiple) * multiple for multiple in MULTIPLES)

    def why_not_in_model(self, ours: str) -> str:
        """The reason why the model has no parameter for ``ours``."""
        if ours.startswith("bert.pooler."):
            return f"{type(self.model).__name__} has no pooler here"
        if not ours.startswith("bert."):
            return f"belongs to a head that {type(self.model).__name__} does not have"
        return "BERT has no parameter of this name"

    def belongs_to_head(self, parameter: str) -> bool:
        """Whether a parameter of the model is the head's, not the encoder's."""
        return self.is_head and not parameter.startswith("bert.")

    def check(self) -> None:
        """Raise CheckpointError unless every parameter has its tensor, of the right shape, or a reason not to."""
        self.check_shapes()
        missing = [name for name in self.shapes if name not in self.taken and self.tied_partner(name) is None]
        base = "bert." if self.is_head else ""
        pooler = [name for name in missing if name.startswith(base + POOLER)]
        if pooler and not self.is_head and len(pooler) == 2:
            self.absent["pooler"] = "the file has none, so pooler_output is None"
            missing = [name for name in missing if name not in pooler]
        if self.may_add_head:
            may_be_fresh = [name for name in missing if self.belongs_to_head(name) or name in pooler]
            self.fresh = [name for name in may_be_fresh if name not in self.tied]
            missing = [name for name in missing if name not in may_be_fresh]
        if missing:
            head_only = all(self.belongs_to_head(name) or name in pooler for name in missing)
            advice = (
                "To train a new one, pass fresh_head=True."
                if head_only
                else "Are these the weights of another architecture?"
            )
            raise CheckpointError(
                f"{self.where} lacks {len(missing)} of the {len(self.shapes)} tensors that "
                f"{type(self.model).__name__} needs, first {missing[0]} {self.shapes[missing[0]]}."
                f"{self.weights.hint} {advice}"
            )

    def tied_partner(self, name: str) -> str | None:
        """The parameter in the file to which ``name`` is tied, in either direction; None when there is none."""
        pairs = [*self.tied.items(), *((source, name) for name, source in self.tied.items())]
        return next((other for one, other in pairs if one == name and other in self.taken), None)

    def check_shapes(self) -> None:
        """Raise CheckpointError for a tensor whose shape is not its parameter's."""
        for parameter, name in self.taken.items():
            shape, dtype = self.weights.describe(name)
            if dtype not in FLOATS:
                raise CheckpointError(f"{self.where}: {name} holds {dtype}, expected floating-point weights.")
            if self.readings[name].transposed:
                shape = shape[::-1]
            if shape != self.shapes[parameter] and not self.is_padded(parameter, shape):
                advice = (
                    "To replace the head, pass fresh_head=True (or ignore_mismatched_sizes=True)."
                    if self.belongs_to_head(parameter)
                    else "config.json and the weights do not belong together."
                )
                raise CheckpointError(
                    f"{self.where}: {name} has shape {shape}, but the config asks for {self.shapes[parameter]}. "
                    f"{advice}"
                )

    def read(self, parameter: str, dtype: torch.dtype | None) -> Tensor:
        """The tensor for a parameter, in the model's layout and dtype."""
        name = self.taken[parameter]
        tensor = self.weights.tensor(name)
        if self.readings[name].transposed:
            tensor = tensor.T.contiguous()
        if self.is_padded(parameter, tuple(tensor.shape)):
            tensor = tensor[: self.shapes[parameter][0]]
        converted = tensor if dtype is None else tensor.to(dtype)
        if not (self.weights.is_finite(name) if converted is tensor else all_finite(converted)):
            raise CheckpointError(f"{self.where}: {name} {self.not_finite(tensor, converted)}")
        return converted

    @staticmethod
    def not_finite(tensor: Tensor, converted: Tensor) -> str:
        """What is wrong with a tensor that has NaN or infinite numbers, as the end of a sentence."""
        bad = ~converted.isfinite()
        first = tuple(bad.nonzero()[0].tolist())
        if tensor.isfinite().all():
            limit = f"more than {dtype_name(converted.dtype)} can"
            return f"holds {tensor[first].item():g} at {first}, {limit}. Load it with dtype=torch.float32."
        return (
            f"holds {int(bad.sum()):,} NaN or infinite numbers, first at {first}: every output would be NaN. The "
            "training that wrote it diverged, or the file is damaged; use an earlier checkpoint."
        )

    def carry_out(self, dtype: torch.dtype | None) -> None:
        """Give the model its tensors, tie what is tied, and write the report."""
        model = self.model
        if "pooler" in self.absent:
            model.register_module("pooler", None)
        state = {parameter: self.read(parameter, dtype) for parameter in self.taken}
        self.check_tied(state)
        self.check_positions()
        for name in self.fresh:  # zeros: a bias outside any module has no initialisation of its own
            state[name] = torch.zeros(self.shapes[name], dtype=dtype or torch.float32)
        for name, source in self.tied.items():
            if source not in state:
                state[source] = state[name]
            state[name] = state[source]
        model.load_state_dict(state, assign=True)
        model.tie_weights()
        for module_name in dict.fromkeys(name.rpartition(".")[0] for name in self.fresh):
            model._init_weights(model.get_submodule(module_name))
        model.load_report = LoadReport(
            model=type(model).__name__,
            source=self.source,
            files=tuple(str(path) for path in self.weights.files),
            tensors=tuple(self.records),
            tied=dict(self.tied),
            fresh=tuple(self.fresh),
            absent=self.absent,
            notes=tuple(self.notes()),
        )

    def notes(self) -> Iterator[str]:
        """Whatever is unusual about how the file was read."""
        if self.weights.holder:
            yield f"a training checkpoint: its state dict is what it holds as {self.weights.holder!r}"
        if self.weights.note:
            yield self.weights.note
        if self.readings.prefix:
            yield f"the prefix {self.readings.prefix!r} was taken off the names"
        for record in self.records:
            if record.parameter is not None and self.is_padded(record.parameter, record.shape):
                rows = self.shapes[record.parameter][0]
                yield f"{record.name} is padded to {record.shape[0]:,} rows; its first {rows:,} are the vocabulary's"

    def check_positions(self) -> None:
        """Raise CheckpointError for a saved ``position_ids`` that is not 0, 1, 2, …: that is another model."""
        for name in self.weights.names():
            if self.readings[name].ours == "bert.embeddings.position_ids":
                dtype = self.weights.describe(name)[1]
                if dtype not in ("int64", "int32", *FLOATS):
                    raise CheckpointError(f"{self.where}: {name} holds {dtype}, expected whole numbers.")
                positions = self.weights.tensor(name).reshape(-1)
                if not torch.equal(positions, torch.arange(len(positions), dtype=positions.dtype)):
                    raise CheckpointError(f"{self.where}: {name} is not 0, 1, 2, …; minibert has no other positions.")

    def check_tied(self, state: dict[str, Tensor]) -> None:
        """Raise CheckpointError when the file has both of a tied pair and they differ."""
        for name, source in self.tied.items():
            if name in state and source in state and not torch.equal(state[name], state[source]):
                raise CheckpointError(
                    f"{self.where}: {self.taken[name]} and {self.taken[source]} differ, but config.json says they "
                    "are one tensor. If they are meant to differ, set tie_word_embeddings to false in config.json."
                )
