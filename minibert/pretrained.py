"""What every model can do besides computing: initialisation, loading, saving, and the methods that libraries call.

The arithmetic of BERT is in model.py and heads.py.
"""

import os
from collections.abc import Iterable
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn

from minibert.checkpoint import LoadReport, load_pretrained, save_pretrained
from minibert.config import BertConfig
from minibert.errors import ConfigError, InputError
from minibert.gradient_checkpointing import checkpoint_layers, is_checkpointed, restore_layer
from minibert.inputs import check_flag, has_values, is_traced, kind_of, whole_number
from minibert.outputs import ModelOutput
from minibert.points import Points, model_points
from minibert.resizing import new_size, resize_embedding, resized_bias, resized_decoder
from minibert.source import Source
from minibert.switches import take_source
from minibert.watch import Observable

Output = TypeVar("Output", bound=ModelOutput)


class BertPreTrainedModel(Observable):
    """The base of BertModel and of every head."""

    base_model_prefix = "bert"
    returns_record = True
    config: BertConfig
    load_report: LoadReport | None = None
    # What libraries around transformers read, by transformers' names.
    main_input_name = "input_ids"
    framework = "pt"
    supports_gradient_checkpointing = True
    _keys_to_ignore_on_save = None
    _no_split_modules = ("BertEmbeddings", "BertLayer")

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        if not isinstance(config, BertConfig):
            hint = {
                "str": f"To load a checkpoint: {type(self).__name__}.from_pretrained({config!r}).",
                "dict": "Make one of it: minibert.BertConfig.from_dict(settings).",
                "BertConfig": "Make one of it: minibert.BertConfig.from_dict(config.to_dict()).",
            }.get(type(config).__name__, "Make one: minibert.BertConfig(…).")
            raise ConfigError(f"config is a {type(config).__module__}.{type(config).__name__}, not ours. {hint}")
        config.validate()
        self.config = config
        self.name_or_path = ""  # the source of the weights; adapters record it

    def post_init(self) -> None:
        """Called at the end of every constructor: draw random weights, tie parameters."""
        if self.device.type != "meta":  # tensors without memory, which a file will replace
            self.apply(self._init_weights)
        self.tie_weights()

    def _init_weights(self, module: nn.Module) -> None:
        """Google's initialisation (modeling.py): std initializer_range, biases 0, LayerNorm the identity."""
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx].detach())
        if isinstance(module, nn.Linear | nn.LayerNorm) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)

    def tie_weights(self) -> None:
        """Tie parameters that share storage.  The base class has none."""

    def tied_names(self) -> dict[str, str]:
        """Tied parameters by name, each with its source: ``{"…decoder.weight": "…word_embeddings.weight"}``."""
        return {}

    def init_weights(self) -> None:
        """Draw all weights again, and tie parameters."""
        self.post_init()

    @classmethod
    def from_pretrained(cls, source: Source | None = None, **settings: Any) -> Self:
        """A model with the weights of ``source``, in eval mode; see :func:`minibert.checkpoint.load_pretrained`."""
        source = take_source(source, settings)
        model = load_pretrained(cls, source, **settings)
        model.name_or_path = "" if source is None else os.fspath(source)
        return model

    @classmethod
    def from_config(cls, config: BertConfig) -> Self:
        """A model with random weights."""
        return cls(config)

    def save_pretrained(self, folder: Source, *, dtype: torch.dtype | None = None, **options: Any) -> None:
        """Write config.json and model.safetensors; see :func:`minibert.checkpoint.save_pretrained`.

        Of transformers' options, ``is_main_process=False`` writes nothing, and those with the values of SAVE_OPTIONS
        (``safe_serialization=True``, ``push_to_hub=False``, …) change nothing.  Raises InputError for the others.
        """
        writes = options.pop("is_main_process", True)
        for name, value in options.items():
            if value is not None and (name not in SAVE_OPTIONS or value is not SAVE_OPTIONS[name]):
                raise InputError(
                    f"save_pretrained got {name}={value!r}. It writes the whole model, as one model.safetensors beside "
                    "config.json, and nothing else; dtype= chooses what the file keeps the numbers as."
                )
        if writes:
            save_pretrained(self, folder, dtype=dtype)

    # ── the state dict ───────────────────────────────────────────────────────────────────────────

    def state_dict(self, *arguments: Any, **options: Any) -> Any:
        """Torch's, except that the second name of a tied parameter holds a copy.

        transformers' Trainer saves models with safetensors, which refuses two names for the same memory.  The
        parameters themselves stay tied.
        """
        state = super().state_dict(*arguments, **options)
        prefix = options.get("prefix", arguments[1] if len(arguments) > 1 else "")
        first: set[int] = set()
        for name, parameter in self.named_parameters(remove_duplicate=False):
            if id(parameter) in first and prefix + name in state and not options.get("keep_vars", False):
                state[prefix + name] = state[prefix + name].clone()
            first.add(id(parameter))
        return state

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Torch's part of ``load_state_dict``, which here also takes older state dicts.

        Those up to transformers 4.30 hold the constant ``position_ids``, some also ``token_type_ids``; files hold one
        name of a tied pair.
        """
        if self.base_model is self:
            take_constants(state_dict, f"{prefix}embeddings.")
        for name, source in self.tied_names().items():
            one, other = state_dict.get(prefix + name), state_dict.get(prefix + source)
            if one is not None and other is not None:
                check_equal(prefix + name, prefix + source, one, other)
            elif one is not None or other is not None:
                state_dict[prefix + name] = state_dict[prefix + source] = other if one is None else one
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    # ── called by libraries ──────────────────────────────────────────────────────────────────────

    def __repr__(self) -> str:
        return printed_tree(self)

    @property
    def base_model(self) -> nn.Module:
        """The BertModel inside a head; a BertModel itself."""
        inner = getattr(self, self.base_model_prefix, self)
        assert isinstance(inner, nn.Module)
        return inner

    @property
    def encoder_prefix(self) -> str:
        """The prefix of the encoder's names in this model: "bert." in a head, "" in a BertModel."""
        return "" if self.base_model is self else f"{self.base_model_prefix}."

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings."""
        return self.base_model.get_submodule("embeddings.word_embeddings")

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word embeddings; call ``tie_weights`` to tie a decoder to them.

        Raises InputError for anything but a module with a ``weight``.
        """
        if not isinstance(value, nn.Module) or not isinstance(getattr(value, "weight", None), Tensor):
            raise InputError(
                f"set_input_embeddings takes a module with a weight, such as nn.Embedding; got a {kind_of(value)}."
            )
        self.base_model.get_submodule("embeddings").word_embeddings = value

    def get_output_embeddings(self) -> nn.Module | None:
        """The decoder of a head that has one; None here."""
        return None

    def set_output_embeddings(self, new_embeddings: Any) -> None:
        """Replace the decoder; InputError for a model without one."""
        raise InputError(f"{type(self).__name__} has no decoder; BertForMaskedLM and BertForPreTraining have one.")

    def get_position_embeddings(self) -> nn.Module:
        """The position embeddings."""
        return self.base_model.get_submodule("embeddings.position_embeddings")

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Module:
        """Resize the vocabulary to ``new_num_tokens`` rows: after ``tokenizer.add_tokens``, ``len(tokenizer)``.

        Rows are added or removed at the end of the word embeddings, the decoder and its bias, and
        ``config.vocab_size`` is updated.  ``pad_to_multiple_of`` rounds up.  New rows are drawn around the mean of the
        old ones, new biases of a tied decoder are 0; ``mean_resizing=False`` initialises both as in a new model.  The
        numbers are transformers', under one seed.

        Returns the word embeddings, whose parameter is the old object; an optimizer with averages of it must be
        created again.  Raises InputError for an impossible number of rows.
        """
        check_flag("mean_resizing", mean_resizing)
        embedding = self.get_input_embeddings()
        if not isinstance(embedding, nn.Embedding):
            raise InputError(f"The word embeddings are a {type(embedding).__name__}; only an nn.Embedding is resized.")
        rows = new_size(len(embedding.weight), new_num_tokens, pad_to_multiple_of)
        if new_num_tokens is None and pad_to_multiple_of is None:
            return embedding
        resize_embedding(embedding, rows, mean_resizing, self._init_weights)
        decoder = self.get_output_embeddings()
        if isinstance(decoder, nn.Linear):
            if decoder.weight is embedding.weight:
                decoder.out_features = rows
                resized_bias(decoder.bias, rows)
            elif rows != len(decoder.weight):
                self.set_output_embeddings(resized_decoder(decoder, rows, mean_resizing, self._init_weights))
        self.config.vocab_size = rows
        if embedding.padding_idx is None:
            self.config.pad_token_id = None  # its row was removed
        self.tie_weights()
        return embedding

    # ── gradient checkpointing ───────────────────────────────────────────────────────────────────

    def gradient_checkpointing_enable(
        self,
        gradient_checkpointing_kwargs: dict[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Keep only each layer's input in training, and compute its activations again in the backward pass.

        The gradients stay the same to the last bit.  ``gradient_checkpointing_kwargs`` are those of
        ``torch.utils.checkpoint.checkpoint``, default ``use_reentrant=False``; with ``every_n_layers`` only the first
        of every n layers is checkpointed.  Raises InputError for ``offload``, which minibert does not have.
        """
        check_flag("offload", offload)
        if offload:
            raise InputError("offload=True is not offered: a layer's input is kept where it was computed.")
        every_n_layers = whole_number("every_n_layers", every_n_layers)
        if every_n_layers < 1:
            raise InputError(f"every_n_layers is {every_n_layers!r}; expected a whole number of at least 1.")
        if not isinstance(gradient_checkpointing_kwargs, dict | None):
            raise InputError("gradient_checkpointing_kwargs takes a dict, such as {'use_reentrant': False}.")
        settings = {"use_reentrant": False} | (gradient_checkpointing_kwargs or {})
        checkpoint_layers(self._layers(), settings, every_n_layers)
        if settings["use_reentrant"]:  # reentrant checkpointing needs a gradient at the layer's input
            self.enable_input_require_grads()

    def gradient_checkpointing_disable(self) -> None:
        """Keep all activations again."""
        for layer in self._layers():
            restore_layer(layer)

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether some layer is checkpointed."""
        return any(is_checkpointed(layer) for layer in self._layers())

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: dict[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Transformers' newer name of :meth:`gradient_checkpointing_enable`."""
        self.gradient_checkpointing_enable(activation_checkpointing_kwargs, every_n_layers, offload)

    def activation_checkpointing_disable(self) -> None:
        """Transformers' newer name of :meth:`gradient_checkpointing_disable`."""
        self.gradient_checkpointing_disable()

    @property
    def is_activation_checkpointing(self) -> bool:
        """Transformers' newer name of :attr:`is_gradient_checkpointing`."""
        return self.is_gradient_checkpointing

    def enable_input_require_grads(self) -> None:
        """Let the word embeddings' output require gradients, for adapters on frozen weights."""
        self.disable_input_require_grads()
        self.get_input_embeddings().register_forward_hook(require_grad)

    def disable_input_require_grads(self) -> None:
        """Undo :meth:`enable_input_require_grads`."""
        hooks = self.get_input_embeddings()._forward_hooks
        for key in [key for key, hook in hooks.items() if hook is require_grad]:
            del hooks[key]

    def _layers(self) -> Iterable[nn.Module]:
        return self.base_model.get_submodule("encoder.layer").children()

    @classmethod
    def can_generate(cls) -> bool:
        """Whether the model generates text; an encoder does not."""
        return False

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        return next(self.parameters()).dtype

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """The number of parameters, tied ones counted once; ``exclude_embeddings`` leaves out nn.Embedding tables."""
        check_flag("only_trainable", only_trainable)
        check_flag("exclude_embeddings", exclude_embeddings)
        tables = {id(m.weight) for m in self.modules() if exclude_embeddings and isinstance(m, nn.Embedding)}
        counted = [p for p in self.parameters() if id(p) not in tables and (p.requires_grad or not only_trainable)]
        return sum(parameter.numel() for parameter in counted)

    def points(self) -> Points:
        """Every named value inside, in the order of computation; see :class:`minibert.points.Point`.

        A run with ``inputs_embeds`` has no ``…word_embeddings``, one without labels no ``/loss``.  Modules that were
        added to the tree are points, too; they come last.
        """
        containers = (nn.ModuleList, nn.ModuleDict)
        return model_points(
            (cls.__name__ for cls in type(self).__mro__),
            layers=len(list(self._layers())),
            activation=self.config.hidden_act,
            prefix=self.encoder_prefix,
            pooler=getattr(self.base_model, "pooler", None) is not None,
            modules=(
                name
                for name, module in self.named_modules()
                if not (isinstance(module, containers) or getattr(module, "returns_record", False))
            ),
        )

    def set_attn_implementation(self, name: str) -> None:
        """Choose ``"eager"`` (written out) or ``"sdpa"`` (fused) attention for later calls."""
        if not isinstance(name, str) or name not in ("eager", "sdpa"):
            raise ConfigError(f"attn_implementation is {name!r}; choose 'eager' or 'sdpa'.")
        self.config.attn_implementation = name

    def as_asked(self, outputs: Output, return_dict: bool | None) -> Output | tuple[Any, ...]:
        """``outputs`` as a record, or as a plain tuple when ``return_dict`` (default: the config's) is False.

        Under torch.jit.trace, which can return only tuples, the default is a tuple.
        """
        check_flag("return_dict", return_dict)
        outputs = self.point_fields(outputs)
        if return_dict is None:
            return_dict = self.config.return_dict and not is_traced()
        return outputs if return_dict else outputs.to_tuple()


# Options of transformers' save_pretrained, with the value that describes this one.
SAVE_OPTIONS: dict[str, Any] = {
    "safe_serialization": True,
    "push_to_hub": False,
    "save_peft_format": True,
    "save_original_format": True,
    "distributed_checkpoint": False,
}


def require_grad(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
    """A forward hook: the output requires gradients, even if the weights are frozen."""
    if torch.is_grad_enabled():
        output.requires_grad_(True)


def take_constants(state_dict: dict[str, Any], prefix: str) -> None:
    """Remove old buffers from a state dict; InputError unless they have the values of every BERT."""
    positions = state_dict.pop(f"{prefix}position_ids", None)
    if positions is not None:
        flat = torch.as_tensor(positions).reshape(-1)
        if has_values(flat) and not torch.equal(flat, torch.arange(len(flat), dtype=flat.dtype, device=flat.device)):
            raise InputError(f"{prefix}position_ids is not 0, 1, 2, …; minibert has no other positions.")
    segments = state_dict.pop(f"{prefix}token_type_ids", None)
    if segments is not None and torch.as_tensor(segments).any():
        raise InputError(f"{prefix}token_type_ids is not all 0, which is what a missing segment means here.")


def check_equal(name: str, source: str, one: Tensor, other: Tensor) -> None:
    """Raise InputError for a tied pair with two different values in a state dict."""
    if one is other or one.data_ptr() == other.data_ptr() or not (has_values(one) and has_values(other)):
        return
    if one.shape == other.shape and not torch.equal(one.to(other.device), other):
        raise InputError(
            f"{name} and {source} differ in this state dict, but the config says they are one tensor. If they are "
            "meant to differ, set config.tie_word_embeddings = False and make the model anew."
        )


def printed_tree(module: nn.Module) -> str:
    """The module tree as torch printed it when BERT was published, with every layer.

    Newer releases of torch fold equal layers into ``(0-11): 12 x BertLayer`` and add an argument to LayerNorm; this
    tree can be compared with a published one, letter for letter.
    """
    children = list(module.named_children())
    if isinstance(module, nn.LayerNorm):
        settings = f"{module.normalized_shape}, eps={module.eps}, elementwise_affine={module.elementwise_affine}"
    else:
        settings = module.extra_repr()
    if not children:
        return f"{type(module).__name__}({settings})"
    lines = [f"({name}): {printed_tree(child)}" for name, child in children]
    body = "\n".join(lines).replace("\n", "\n  ")
    return f"{type(module).__name__}(\n  {body}\n)"
