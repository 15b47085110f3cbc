"""What every model here can do besides computing: be initialised, loaded, saved, asked about itself.

No arithmetic of BERT stands here; that is model.py and heads.py.
"""

from typing import TYPE_CHECKING, Any, Self, TypeVar

import torch
from torch import nn

from minibert.config import BertConfig
from minibert.errors import ConfigError
from minibert.outputs import ModelOutput
from minibert.points import Observable
from minibert.source import Source

if TYPE_CHECKING:
    from minibert.checkpoint import LoadReport
    from minibert.lens.points import Points

Output = TypeVar("Output", bound=ModelOutput)


class BertPreTrainedModel(Observable):
    """The base of BertModel and of every head."""

    base_model_prefix = "bert"
    returns_record = True
    config: BertConfig
    load_report: "LoadReport | None" = None

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        config.validate()
        self.config = config

    def post_init(self) -> None:
        """Called at the end of every constructor: random weights, tied tensors."""
        if self.device.type != "meta":  # tensors without memory: a file is about to fill them
            self.apply(self._init_weights)
        self.tie_weights()

    def _init_weights(self, module: nn.Module) -> None:
        """Google's initialisation (modeling.py): normal with initializer_range, biases 0, LayerNorm the identity."""
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx].detach())
        if isinstance(module, nn.Linear | nn.LayerNorm) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)

    def tie_weights(self) -> None:
        """Make tensors that are one tensor one tensor; a model without such has nothing to do."""

    def tied_names(self) -> dict[str, str]:
        """Which parameter names are another's: ``{"…decoder.weight": "…word_embeddings.weight"}``."""
        return {}

    @classmethod
    def from_pretrained(cls, source: Source | None = None, **settings: Any) -> Self:
        """A model with the weights of ``source``, in eval mode; see :func:`minibert.checkpoint.load_pretrained`."""
        from minibert.checkpoint import load_pretrained

        return load_pretrained(cls, source, **settings)

    @classmethod
    def from_config(cls, config: BertConfig) -> Self:
        """A model with random weights."""
        return cls(config)

    def save_pretrained(self, folder: Source, *, dtype: torch.dtype | None = None) -> None:
        """Write config.json and model.safetensors; see :func:`minibert.checkpoint.save_pretrained`."""
        from minibert.checkpoint import save_pretrained

        save_pretrained(self, folder, dtype=dtype)

    def __repr__(self) -> str:
        return printed_tree(self)

    @property
    def base_model(self) -> nn.Module:
        """The BertModel inside a head; a BertModel itself."""
        inner = getattr(self, self.base_model_prefix, self)
        assert isinstance(inner, nn.Module)
        return inner

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings."""
        return self.base_model.get_submodule("embeddings.word_embeddings")

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The kind of number the parameters are."""
        return next(self.parameters()).dtype

    def num_parameters(self, only_trainable: bool = False) -> int:
        """How many numbers the model has; tied tensors count once."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not only_trainable)

    def points(self) -> "Points":
        """Every value inside that has a name, in the order of computation; see :class:`minibert.lens.points.Point`."""
        from minibert.lens.points import points_of

        return points_of(self)

    def set_attn_implementation(self, name: str) -> None:
        """Choose ``"eager"`` (written out) or ``"sdpa"`` (fused) for the calls to come."""
        if name not in ("eager", "sdpa"):
            raise ConfigError(f"attn_implementation is {name!r}; choose 'eager' or 'sdpa'.")
        self.config.attn_implementation = name

    def as_asked(self, outputs: Output, return_dict: bool | None) -> Output | tuple[Any, ...]:
        """``outputs`` as a record, or as a plain tuple when ``return_dict`` (default: the config's) is False."""
        outputs = self.point_fields(outputs)
        return outputs if (self.config.return_dict if return_dict is None else return_dict) else outputs.to_tuple()


def printed_tree(module: nn.Module) -> str:
    """The module tree as torch printed it when BERT came out, every layer written out.

    Newer releases of torch fold equal layers into ``(0-11): 12 x BertLayer`` and add a word to LayerNorm; a tree
    that stays the same can be compared with a published one, letter for letter.
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
