"""Models that are taken for BERT and are none: told by the names of their tensors, their classes, their settings.

Their configs are often labelled ``bert``, or copied from one; many of their tensors even have BERT's names and shapes.
Start with :func:`family_of_tensors`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

# Part of a tensor's name that only this family has.
TENSORS = (
    (".q_lin.", "DistilBERT"),
    ("albert_layer_groups.", "ALBERT"),
    ("embedding_hidden_mapping_in.", "ALBERT"),
    ("embeddings_project.", "ELECTRA"),
    ("task_type_embeddings.", "ERNIE"),
    ("rel_embeddings.", "DeBERTa"),
    (".attention.self.in_proj.", "DeBERTa"),
    ("relative_attention_bias.", "MPNet or T5"),
    (".query_global.", "Longformer"),
    ("x_position_embeddings.", "LayoutLM"),
    ("key_conv_attn_layer.", "ConvBERT"),
    (".bottleneck.", "MobileBERT"),
    (".fourier.", "FNet"),
    ("embed_positions.", "RoFormer or BART"),
    ("Wqkv.", "ModernBERT, MosaicBERT or NomicBERT"),
    (".rel_attn.", "XLNet"),
    (".attn.c_attn.", "GPT-2"),
    (".self_attn.q_proj.", "a decoder such as Llama, or BART"),
    ("patch_embeddings.", "a vision transformer"),
)
# Where such tensors lie; what a program of its own keeps beside a BERT says nothing about the BERT.
PLACES = frozenset(
    {"bert", "decoder", "embeddings", "embeddings_project", "encoder", "h", "layers", "model", "transformer"}
)
# What stands before ``embeddings.…`` where BERT has ``bert.``
PREFIXES = {
    "albert": "ALBERT",
    "camembert": "CamemBERT (RoBERTa)",
    "convbert": "ConvBERT",
    "data2vec_text": "data2vec",
    "deberta": "DeBERTa",
    "distilbert": "DistilBERT",
    "electra": "ELECTRA",
    "ernie": "ERNIE",
    "esm": "ESM",
    "layoutlm": "LayoutLM",
    "longformer": "Longformer",
    "mobilebert": "MobileBERT",
    "mpnet": "MPNet",
    "nezha": "NEZHA",
    "roberta": "RoBERTa",
    "roformer": "RoFormer",
    "splinter": "Splinter",
    "xlm_roberta": "XLM-RoBERTa (RoBERTa)",
}
# How the names of their classes begin in transformers.
CLASSES = (
    "Albert", "BartFor", "BartModel", "BigBird", "Camembert", "ConvBert", "Data2VecText", "Deberta", "DistilBert",
    "Electra", "Esm", "FNet", "Funnel", "GPT", "JinaBert", "LayoutLM", "Llama", "Longformer", "Luke", "MPNet",
    "MegatronBert", "MobileBert", "ModernBert", "Nezha", "NomicBert", "RoFormer", "Roberta", "SqueezeBert", "Splinter",
    "T5", "XLM", "XLNet",
)  # fmt: skip


def family_of_tensors(names: Iterable[str], prefix: str) -> tuple[str, str] | None:
    """A family and the name that gives it away, among ``names`` with the common ``prefix``; None for BERT's, and for
    what is unknown.
    """
    last = prefix.rstrip("./").replace("/", ".").rpartition(".")[2].lower()
    for name in names:
        inside = name.removeprefix(prefix)
        if last in PREFIXES and inside != name:
            return PREFIXES[last], name
        if inside.partition(".")[0] in PLACES:
            for part, family in TENSORS:
                if part in f".{inside}":
                    return family, name
    return None


def is_class_of_another_family(name: str) -> bool:
    """Whether a class of transformers is another family's than BERT's; ``TF`` and ``Flax`` in front do not count."""
    return name.removeprefix("TF").removeprefix("Flax").startswith(CLASSES)


def family_of_settings(settings: Mapping[str, Any]) -> tuple[str, str] | None:
    """A family and the settings that give it away, in a config.json that says ``bert``; None for nothing suspicious."""
    sizes = [settings.get(name) for name in ("type_vocab_size", "pad_token_id", "max_position_embeddings")]
    if sizes[:2] == [1, 1] and isinstance(sizes[2], int) and sizes[2] % 8 == 2:  # 514: positions begin at 2 there
        return "RoBERTa", f"type_vocab_size 1, pad_token_id 1 and max_position_embeddings {sizes[2]}"
    size = settings.get("embedding_size")
    if size is not None and size != settings.get("hidden_size", 768):
        return "ELECTRA or ALBERT", f"embedding_size {size} beside hidden_size {settings.get('hidden_size', 768)}"
    if settings.get("is_encoder_decoder"):
        return "an encoder with a decoder", "is_encoder_decoder true"
    return None
