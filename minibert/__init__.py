"""minibert: BERT that a person can read in an afternoon, trust to the last bit, and use on real text.

Every public name can be imported from here.  Each is loaded from its room on first use, so that ``import minibert`` is
fast and the tokenizer alone does not load torch.  Read ``model.py`` first.
"""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from minibert._version import __version__

# torch warns on import without NumPy, which minibert does not need.
warnings.filterwarnings("ignore", "Failed to initialize NumPy", UserWarning)

_ROOMS = {
    "minibert.checkpoint": ("LoadReport", "TensorRecord", "open_weights"),
    "minibert.config": ("BertConfig",),
    "minibert.corpus": (
        "CorpusReport",
        "FailedShard",
        "Hit",
        "IndexReport",
        "Plan",
        "ShardProgress",
        "ShardsReport",
        "embed_corpus",
        "embed_shards",
        "finish",
        "index_corpus",
        "nearest",
        "plan_corpus",
    ),
    "minibert.display": ("show_attention", "show_bars", "show_curves", "show_map", "show_tokens"),
    "minibert.embedding": (
        "Embedder",
        "WordSimilarity",
        "WordVector",
        "WordVectors",
        "community_detection",
        "cos_sim",
        "dequantize_embeddings",
        "dot_score",
        "embed_texts",
        "euclidean_sim",
        "manhattan_sim",
        "mean_pooling",
        "paraphrase_mining",
        "paraphrase_mining_embeddings",
        "quantize_embeddings",
        "semantic_search",
        "span_vectors",
        "word_similarity",
    ),
    "minibert.errors": (
        "CheckpointError",
        "ConfigError",
        "InputError",
        "MinibertError",
        "MissingExtraError",
        "ProofError",
        "TokenizerError",
    ),
    "minibert.explorer": ("explore",),
    "minibert.export": ("ExportReport", "export_model"),
    "minibert.mask_filling": ("fill_mask",),
    "minibert.finetuning": ("Finetuned", "Predictor", "finetune"),
    "minibert.heads": (
        "BertForMaskedLM",
        "BertForMultipleChoice",
        "BertForNextSentencePrediction",
        "BertForPreTraining",
        "BertForQuestionAnswering",
        "BertForSequenceClassification",
        "BertForTokenClassification",
    ),
    "minibert.lens": (
        "LogitLens",
        "Sensitivity",
        "Trace",
        "Walk",
        "ablate_heads",
        "draw_attention",
        "draw_sensitivity",
        "edit",
        "exact_sensitivity",
        "force_attention",
        "jacobian_block",
        "logit_lens",
        "mean_head",
        "patch",
        "sensitivity",
        "trace",
        "walk",
        "zero_head",
    ),
    "minibert.model": (
        "BertAttention",
        "BertEmbeddings",
        "BertEncoder",
        "BertIntermediate",
        "BertLayer",
        "BertModel",
        "BertOutput",
        "BertPooler",
        "BertSelfAttention",
        "BertSelfOutput",
    ),
    "minibert.outputs": (
        "BertModelOutput",
        "HeadOutput",
        "ModelOutput",
        "PreTrainingOutput",
        "QuestionAnsweringOutput",
    ),
    "minibert.pretrained": ("BertPreTrainedModel",),
    "minibert.source": ("Checkpoint",),
    "minibert.tokenizer": ("BatchEncoding", "BertTokenizer"),
    "minibert.verify": ("verify_models", "verify_tokenizer", "verify_training", "verify_values"),
}
# Names in tutorials for the same classes: here there is one model family and one tokenizer.
_ALIASES = {
    "AutoConfig": "BertConfig",
    "AutoModel": "BertModel",
    "AutoModelForMaskedLM": "BertForMaskedLM",
    "AutoModelForMultipleChoice": "BertForMultipleChoice",
    "AutoModelForNextSentencePrediction": "BertForNextSentencePrediction",
    "AutoModelForPreTraining": "BertForPreTraining",
    "AutoModelForQuestionAnswering": "BertForQuestionAnswering",
    "AutoModelForSequenceClassification": "BertForSequenceClassification",
    "AutoModelForTokenClassification": "BertForTokenClassification",
    "AutoTokenizer": "BertTokenizer",
    "BertTokenizerFast": "BertTokenizer",
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", *_ROOM_OF, *_ALIASES]


def __getattr__(name: str) -> Any:
    """Load a public name from its room (PEP 562)."""
    own = _ALIASES.get(name, name)
    if own not in _ROOM_OF and not name.startswith("_"):
        from minibert.renamed import older_name

        own = older_name("minibert", name) or own
    if own not in _ROOM_OF:
        raise AttributeError(f"module 'minibert' has no attribute {name!r}")
    with _without_collector():
        value = getattr(import_module(_ROOM_OF[own]), own)
    if name in __all__:
        globals()[name] = value
    return value


@contextmanager
def _without_collector() -> Iterator[None]:
    """Pause Python's garbage collector.

    The first room that needs torch imports it, which makes a million permanent objects.  Scanning them again and again
    takes the collector an eighth of the import time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:  # the same names for editors and type checkers
    from minibert.checkpoint import LoadReport as LoadReport
    from minibert.checkpoint import TensorRecord as TensorRecord
    from minibert.checkpoint import open_weights as open_weights
    from minibert.config import BertConfig as AutoConfig
    from minibert.config import BertConfig as BertConfig
    from minibert.corpus import *
    from minibert.display import show_attention as show_attention
    from minibert.display import show_bars as show_bars
    from minibert.display import show_curves as show_curves
    from minibert.display import show_map as show_map
    from minibert.display import show_tokens as show_tokens
    from minibert.embedding import *
    from minibert.errors import *
    from minibert.explorer import explore as explore
    from minibert.export import ExportReport as ExportReport
    from minibert.export import export_model as export_model
    from minibert.finetuning import Finetuned as Finetuned
    from minibert.finetuning import Predictor as Predictor
    from minibert.finetuning import finetune as finetune
    from minibert.heads import *
    from minibert.heads import BertForMaskedLM as AutoModelForMaskedLM
    from minibert.heads import BertForMultipleChoice as AutoModelForMultipleChoice
    from minibert.heads import BertForNextSentencePrediction as AutoModelForNextSentencePrediction
    from minibert.heads import BertForPreTraining as AutoModelForPreTraining
    from minibert.heads import BertForQuestionAnswering as AutoModelForQuestionAnswering
    from minibert.heads import BertForSequenceClassification as AutoModelForSequenceClassification
    from minibert.heads import BertForTokenClassification as AutoModelForTokenClassification
    from minibert.lens import LogitLens as LogitLens
    from minibert.lens import Sensitivity as Sensitivity
    from minibert.lens import Trace as Trace
    from minibert.lens import Walk as Walk
    from minibert.lens import ablate_heads as ablate_heads
    from minibert.lens import draw_attention as draw_attention
    from minibert.lens import draw_sensitivity as draw_sensitivity
    from minibert.lens import edit as edit
    from minibert.lens import exact_sensitivity as exact_sensitivity
    from minibert.lens import force_attention as force_attention
    from minibert.lens import jacobian_block as jacobian_block
    from minibert.lens import logit_lens as logit_lens
    from minibert.lens import mean_head as mean_head
    from minibert.lens import patch as patch
    from minibert.lens import sensitivity as sensitivity
    from minibert.lens import trace as trace
    from minibert.lens import walk as walk
    from minibert.lens import zero_head as zero_head
    from minibert.mask_filling import fill_mask as fill_mask
    from minibert.model import *
    from minibert.model import BertModel as AutoModel
    from minibert.outputs import *
    from minibert.pretrained import BertPreTrainedModel as BertPreTrainedModel
    from minibert.source import Checkpoint as Checkpoint
    from minibert.tokenizer import BatchEncoding as BatchEncoding
    from minibert.tokenizer import BertTokenizer as AutoTokenizer
    from minibert.tokenizer import BertTokenizer as BertTokenizer
    from minibert.tokenizer import BertTokenizer as BertTokenizerFast
    from minibert.verify import verify_models as verify_models
    from minibert.verify import verify_tokenizer as verify_tokenizer
    from minibert.verify import verify_training as verify_training
    from minibert.verify import verify_values as verify_values
