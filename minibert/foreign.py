"""Checkpoints that minibert does not read: models of other families, files of other formats.

Configs of other families are often labelled ``bert``, and many of their tensors have BERT's names and shapes:
:func:`family_of_tensors` and :func:`family_of_settings` recognise them.  :func:`what_lies_in` is called when a
checkpoint has no readable file, so that the error message says what it has instead.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from minibert.files import is_folder, is_regular
from minibert.source import Checkpoint

# ── other families ───────────────────────────────────────────────────────────────────────────────

# Parts of tensors' names that only this family has.
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
# The first part of such names; tensors that a program stores beside a BERT say nothing about the BERT.
PLACES = frozenset(
    {"bert", "decoder", "embeddings", "embeddings_project", "encoder", "h", "layers", "model", "transformer"}
)
# Prefixes of ``embeddings.…``, where BERT has ``bert.``
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
# Prefixes of their classes' names in transformers.
CLASSES = (
    "Albert", "BartFor", "BartModel", "BigBird", "Camembert", "ConvBert", "Data2VecText", "Deberta", "DistilBert",
    "Electra", "Esm", "FNet", "Funnel", "GPT", "JinaBert", "LayoutLM", "Llama", "Longformer", "Luke", "MPNet",
    "MegatronBert", "MobileBert", "ModernBert", "Nezha", "NomicBert", "RoFormer", "Roberta", "SqueezeBert", "Splinter",
    "T5", "XLM", "XLNet",
)  # fmt: skip


def family_of_tensors(names: Iterable[str], prefix: str) -> tuple[str, str] | None:
    """Another family and the tensor that shows it, among ``names`` with the common ``prefix``; None for BERT and for
    unknown families.
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


def not_this_family(where: str, family: str, tensor: str) -> str:
    """The message about weights of another family."""
    return (
        f"{where} has the weights of {family} ({tensor}), not of BERT, whatever config.json says. minibert runs BERT "
        "only; load them with the library that made them."
    )


def is_class_of_another_family(name: str) -> bool:
    """Whether a class of transformers belongs to another family than BERT, also with a prefix ``TF`` or ``Flax``."""
    return name.removeprefix("TF").removeprefix("Flax").startswith(CLASSES)


def family_of_settings(settings: Mapping[str, Any]) -> tuple[str, str] | None:
    """Another family and the settings that show it, in a config.json that says ``bert``; None for BERT."""
    sizes = [settings.get(name) for name in ("type_vocab_size", "pad_token_id", "max_position_embeddings")]
    if sizes[:2] == [1, 1] and isinstance(sizes[2], int) and sizes[2] % 8 == 2:  # 514: positions begin at 2 there
        return "RoBERTa", f"type_vocab_size 1, pad_token_id 1 and max_position_embeddings {sizes[2]}"
    size = settings.get("embedding_size")
    if size is not None and size != settings.get("hidden_size", 768):
        return "ELECTRA or ALBERT", f"embedding_size {size} beside hidden_size {settings.get('hidden_size', 768)}"
    if settings.get("is_encoder_decoder"):
        return "an encoder with a decoder", "is_encoder_decoder true"
    return None


# ── other formats ────────────────────────────────────────────────────────────────────────────────

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".tar", ".onnx")  # formats that minibert reads
ORIGINAL = "It was exported for running; use the checkpoint that it was made from"
BY_TRANSFORMERS = (
    "transformers before version 5 converts it: BertForPreTraining.from_pretrained(FOLDER, {}=True)"
    ".save_pretrained(NEW_FOLDER), with the class that the config names"
)
# Suffixes, what such files are, what to do.
FORMATS = (
    ((".h5", ".hdf5", ".keras"), "weights of Keras (TensorFlow 2)", BY_TRANSFORMERS.format("from_tf")),
    ((".msgpack",), "weights of Flax", BY_TRANSFORMERS.format("from_flax")),
    ((".onnx_data", ".onnx.data"), "numbers of an ONNX graph", "Give the path of the .onnx file beside it"),
    ((".ort",), "a graph of onnxruntime", ORIGINAL),
    ((".gguf", ".ggml"), "weights of llama.cpp (GGUF)", ORIGINAL),
    ((".ot",), "weights of rust-bert", "Use the pytorch_model.bin or model.safetensors that it was made from"),
    (("openvino_model.bin", ".xml"), "a graph of OpenVINO", ORIGINAL),
    ((".pt2",), "a program of torch.export", ORIGINAL),
    ((".tflite", ".pb", ".mlmodel", ".mlpackage", ".engine", ".plan"), "a graph", ORIGINAL),
    ((".npz", ".npy"), "arrays of NumPy", "Save a state dict with torch.save or safetensors"),
    ((".distcp",), "a shard of a distributed torch checkpoint", "Join it: python -m torch.distributed.checkpoint."
     "format_utils dcp_to_torch FOLDER pytorch_model.bin"),
)  # fmt: skip
STARTS = (  # the first bytes of files, under any name
    (b"\x89HDF", "weights of Keras (HDF5)", BY_TRANSFORMERS.format("from_tf")),
    (b"GGUF", "weights of llama.cpp (GGUF)", ORIGINAL),
    (b"<?xml", "XML", "It is no file of weights"),
    (b"<!DOCTYPE", "a web page", "The download went to a page about the file: download the file itself"),
    (b"<html", "a web page", "The download went to a page about the file: download the file itself"),
)


def what_lies_in(checkpoint: Checkpoint) -> str:
    """What a source contains instead of a readable checkpoint; "" when that is unknown.

    The text begins with a space, to follow the sentence that says what is missing.
    """
    folder = checkpoint.bert_folder
    if folder is None:
        return what_lies_on_hub(checkpoint)
    files = files_of(folder)
    graphs = [path for path in files if path.name.endswith(".onnx")]
    if graphs and checkpoint.file not in graphs:
        return f" It holds {graphs[0].relative_to(folder)}: to read that graph, give the path of the file."
    for path in files:
        if described := what_is_by_name(path):
            return f" It holds {path.relative_to(folder)}: {described}"
    readable = [path for path in files if path.parent == folder and path.name.endswith(WEIGHTS)]
    if checkpoint.file in readable:  # that one was given
        return ""
    if readable:
        return f" It holds {readable[0].name}: if those are the weights, give the path of that file."
    return ""


def what_lies_on_hub(checkpoint: Checkpoint) -> str:
    """The same for a hub repository, from its list of files; "" if there is no list."""
    from minibert.hub import hub_names

    where = checkpoint.where
    names = hub_names(str(checkpoint), where.get("revision"), where.get("token"), where.get("local_files_only", False))
    if graphs := [name for name in names if name.endswith(".onnx")]:
        return f" It holds {graphs[0]}: to read that graph, download it and give the path of the file."
    for name in names:
        if described := what_is_by_name(Path(name)):
            return f" It holds {name}: {described}"
    return ""


def files_of(folder: Path) -> list[Path]:
    """The files in ``folder`` and its subfolders, at most a thousand; none if it cannot be listed."""
    try:
        inner = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")][:1000]
        deeper = [path for one in inner if is_folder(one) for path in sorted(one.iterdir())[:100]]
        return [path for path in (*inner, *deeper) if is_regular(path)][:1000]
    except OSError:
        return []


def what_is_by_name(path: Path) -> str:
    """What a file is by its name, and what to do; "" for an unknown name."""
    name = path.name.lower()
    return next((not_read(what, advice) for suffixes, what, advice in FORMATS if name.endswith(suffixes)), "")


def what_is(path: Path) -> str:
    """What a file is by its name or its first bytes, and what to do; "" when that is unknown."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError:
        start = b""
    by_start = (not_read(what, advice) for mark, what, advice in STARTS if start.startswith(mark))
    return what_is_by_name(path) or next(by_start, "") or under_a_wrong_name(path, start)


def under_a_wrong_name(path: Path, start: bytes) -> str:
    """What to do with weights of a readable format under the name of another; "" for others."""
    if start.startswith((b"PK\x03\x04", b"\x80\x02")) and path.suffix == ".safetensors":
        return "a file of torch.save under another name. Rename it to pytorch_model.bin."
    if start[8:10] == b'{"' and path.suffix != ".safetensors":
        return "a safetensors file under another name. Rename it to model.safetensors."
    return ""


def not_read(what: str, advice: str) -> str:
    """The middle and the end of a sentence about a file."""
    return f"{what}, which minibert does not read. {advice}."
