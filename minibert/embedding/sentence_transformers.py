"""The settings of a sentence-transformers folder: steps, pooling, prompts, maximum length.

They are read as sentence-transformers 6.2 reads them, older spellings included, so that the vectors are that library's.
A setting that minibert does not support is refused with its file and key; an unknown key is ignored with a warning.
Files:

=====================================  ==============================================================================
``modules.json``                       the steps in order, each with its folder: Transformer, Pooling, Dense …
``config_sentence_transformers.json``  ``prompts``, ``default_prompt_name``, ``similarity_fn_name``, ``truncate_dim``
``sentence_bert_config.json``          of the Transformer: ``max_seq_length``, ``do_lower_case``, arguments of loading
``1_Pooling/config.json``              the names of the poolings, ``include_prompt``
``2_Dense/config.json``                sizes and activation; the weights are beside it
=====================================  ==============================================================================

Start with :func:`read_sentence_settings`.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minibert.activations import ACTIVATIONS, name_in
from minibert.embedding.pooling import TOKEN_POOLINGS
from minibert.embedding.similarity_functions import SIMILARITIES
from minibert.embedding.steps import Dense, LayerNorm, Normalize, load_step
from minibert.errors import CheckpointError
from minibert.files import read_json
from minibert.schema import (
    COUNT,
    FLAG,
    NAME,
    RATE,
    SIZE,
    TEXT,
    Kind,
    check_settings,
    either,
    list_of,
    object_of,
    one_of,
    optional,
    shown,
)
from minibert.source import Checkpoint

logger = logging.getLogger(__name__)

# The classes of releases 0.3 to 6.2; any other would be code of the repository.
STEP_CLASS = re.compile(
    r"sentence_transformers\.(?:models|base\.modules|sentence_transformer\.modules)\.(?:\w+\.)?(\w+)"
)
FOLDER = re.compile(r"[\w-]+")
# The Transformer's settings: the first of these files that exists and is not empty counts.
TRANSFORMER_FILES = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
# In the order in which their vectors are concatenated.
OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
LAST_HIDDEN_STATE = {"method": "forward", "method_output_name": "last_hidden_state"}

ANY = Kind(lambda x: True, "anything")
OBJECT = Kind(lambda x: isinstance(x, dict), "an object")
STEP_SCHEMA = {
    "idx": COUNT, "name": NAME, "type": NAME, "path": NAME,
    "kwargs": list_of(NAME),  # arguments of encode that this step takes; encode has none of them here
}  # fmt: skip
MODEL_SCHEMA = {
    "__version__": object_of(NAME),
    "model_type": one_of("SentenceTransformer"),
    "prompts": object_of(optional(TEXT)),
    "default_prompt_name": optional(NAME),
    "similarity_fn_name": optional(one_of(*SIMILARITIES)),
    "truncate_dim": optional(SIZE),
    "requirements": optional(OBJECT),  # releases of other packages
}
TRANSFORMER_SCHEMA = {
    "max_seq_length": optional(Kind(lambda x: SIZE.holds(x) and x > 1, "a whole number of at least 2, below 2^28")),
    "do_lower_case": FLAG,
    "tokenizer_name_or_path": one_of(None),
    "transformer_task": one_of("feature-extraction"),
    "modality_config": OBJECT,
    "module_output_name": optional(one_of("token_embeddings")),
    "processing_kwargs": optional(OBJECT),
    "unpad_inputs": optional(FLAG),  # changes how vectors are computed, not their values
    "query_length": one_of(None),
    "document_length": one_of(None),
    "query_expansion": one_of(None),
    "cache_dir": optional(NAME),
    **dict.fromkeys(("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs"), OBJECT),
    **dict.fromkeys(("config_args", "config_kwargs"), OBJECT),
}
# Arguments of loading that change no vector; trust_remote_code is never obeyed.
HARMLESS = dict.fromkeys(
    ("trust_remote_code", "subfolder", "token", "cache_dir", "revision", "local_files_only", "low_cpu_mem_usage"), ANY
)
TOKENIZER_ARGUMENTS = {
    **HARMLESS,
    "model_max_length": TRANSFORMER_SCHEMA["max_seq_length"],
    "padding_side": one_of("right"),
    "truncation_side": one_of("right"),
    "use_fast": FLAG,
}
MODEL_ARGUMENTS = {
    **HARMLESS,
    "attn_implementation": one_of("eager", "sdpa", "flash_attention_2"),
    "torch_dtype": optional(one_of("float32", "auto")),
    "dtype": optional(one_of("float32", "auto")),
    "add_pooling_layer": FLAG,
}
CONFIG_ARGUMENTS = {**HARMLESS, "use_cache": FLAG}
# Arguments of the tokenizer's calls.
TEXT_ARGUMENTS = {
    "max_length": TRANSFORMER_SCHEMA["max_seq_length"],
    "padding": one_of(True, "longest"),
    "truncation": one_of(True, "longest_first"),
    "return_tensors": one_of("pt"),
}
PROCESSING = {"text", "common", "audio", "image", "video", "chat_template"}
POOLING_SCHEMA = {
    **dict.fromkeys(("word_embedding_dimension", "embedding_dimension"), SIZE),
    "pooling_mode": either(
        one_of(*TOKEN_POOLINGS), Kind(lambda x: bool(x) and list_of(one_of(*TOKEN_POOLINGS)).holds(x), "a list of them")
    ),
    "include_prompt": FLAG,
    **dict.fromkeys(OLD_POOLINGS, FLAG),
}
OF_A_TEXT = optional(one_of("sentence_embedding"))  # which vectors a step reads and writes
STEP_SCHEMAS = {
    "Dense": {
        "in_features": SIZE,
        "out_features": SIZE,
        "bias": FLAG,
        "activation_function": Kind(
            lambda x: name_in(x) is not None,
            "one of torch's activations, such as torch.nn.modules.activation.Tanh",
        ),
        "use_residual": FLAG,
        "module_input_name": one_of("sentence_embedding"),
        "module_output_name": OF_A_TEXT,
    },
    "LayerNorm": {"dimension": SIZE},
    "Normalize": {"module_input_name": one_of("sentence_embedding"), "module_output_name": OF_A_TEXT},
    "Dropout": {"dropout": RATE},  # in training only
}
REQUIRED = {"Dense": ("in_features", "out_features"), "LayerNorm": ("dimension",)}


def read_sentence_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """The checkpoint's arguments of ``Embedder``, and ``do_lower_case`` of the tokenizer; empty if it has none.

    Raises CheckpointError for steps and values that minibert does not support, since the vectors would be others.
    """
    listing = checkpoint.at("modules.json")
    if listing is None:
        return {}
    steps = read_listing(listing)
    settings = {"normalize": False, **read_model_settings(checkpoint)}
    modules: list[nn.Module] = []
    for step, folder in steps:
        if step == "Transformer":
            settings |= read_transformer(checkpoint, folder)
        elif step == "Pooling":
            settings |= read_pooling(checkpoint, folder)
        elif module := make_step(checkpoint, step, folder):
            modules.append(module)
    if modules and isinstance(modules[-1], Normalize):
        settings["normalize"] = True
        modules.pop()
    return settings | {"steps": modules}


def read_listing(listing: Path) -> list[tuple[str, str]]:
    """The class and the folder of each step of ``modules.json``: Transformer, Pooling, and any others."""
    steps = []
    names = set()
    for number, step in enumerate(read_json(listing, list)):
        if not isinstance(step, dict) or not isinstance(step.get("type"), str) or not isinstance(step.get("path"), str):
            raise CheckpointError(f"{listing} lists {shown(step)}, expected a step with its type and path.")
        check_settings(step, STEP_SCHEMA, f"{listing}, step {number}")
        warn_of_unknown(step, STEP_SCHEMA, f"{listing}, step {number}")
        match = STEP_CLASS.fullmatch(step["type"])
        if match is None or match[1] not in ("Transformer", "Pooling", *STEP_SCHEMAS):
            raise CheckpointError(f"{listing} asks for a step {shown(step['type'])}, which minibert does not have.")
        if not FOLDER.fullmatch(step["path"]) and not (match[1] == "Transformer" and step["path"] == ""):
            raise CheckpointError(f"{listing} names {shown(step['path'])}, expected a step with a folder beside it.")
        if (name := step.get("name", f"step {number}")) in names:
            raise CheckpointError(f"{listing} has two steps with the name {shown(name)}, expected one.")
        names.add(name)
        steps.append((match[1], step["path"]))
    classes = [name for name, _ in steps]
    if classes == ["Transformer"]:  # a plain checkpoint, for which that library has no pooling
        return steps
    if classes[:2] != ["Transformer", "Pooling"] or {"Transformer", "Pooling"} & {*classes[2:]}:
        raise CheckpointError(
            f"{listing} has the steps {', '.join(classes) or '(none)'}; minibert expects Transformer, then Pooling, "
            f"then any of {', '.join(STEP_SCHEMAS)}."
        )
    return steps


def read_model_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """The settings of ``config_sentence_transformers.json``: prompts, similarity, truncation."""
    path = checkpoint.at("config_sentence_transformers.json")
    if path is None:
        return {}
    content = read_checked(path, MODEL_SCHEMA)
    prompts = {name: text or "" for name, text in content.get("prompts", {}).items()}
    default = content.get("default_prompt_name")
    if default is not None and default not in {"query", "document", *prompts}:
        raise CheckpointError(
            f"{path}: default_prompt_name is {shown(default)}, expected one of its prompts: "
            f"{', '.join({'query': '', 'document': '', **prompts})}."
        )
    return {
        "prompts": prompts,
        "default_prompt_name": default,
        "similarity_fn_name": content.get("similarity_fn_name") or "cosine",
        "truncate_dim": content.get("truncate_dim"),
    }


def read_transformer(checkpoint: Checkpoint, folder: str) -> dict[str, Any]:
    """``max_length`` and ``do_lower_case``, from ``sentence_bert_config.json``."""
    before = f"{folder}/" if folder else ""
    if checkpoint.at(f"{before}config.json") is None and checkpoint.base is None:
        raise CheckpointError(f"{checkpoint} lacks {before}config.json, where its modules.json says that the BERT is.")
    for name in TRANSFORMER_FILES:
        path = checkpoint.at(before + name)
        if path is not None and (content := read_checked(path, TRANSFORMER_SCHEMA)):
            break
    else:
        return {}
    arguments = {
        old: part
        for old, new, allowed in (
            ("model_args", "model_kwargs", MODEL_ARGUMENTS),
            ("tokenizer_args", "processor_kwargs", TOKENIZER_ARGUMENTS),
            ("config_args", "config_kwargs", CONFIG_ARGUMENTS),
        )
        if (part := read_arguments(path, content, (new, old), allowed)) is not None
    }
    modality = content.get("modality_config", {"text": LAST_HIDDEN_STATE})
    if modality != {"text": LAST_HIDDEN_STATE}:
        raise CheckpointError(
            f"{path}: modality_config is {shown(modality)}; minibert embeds texts, by {shown(LAST_HIDDEN_STATE)}."
        )
    longest = arguments.get("tokenizer_args", {}).get("model_max_length", content.get("max_seq_length"))
    longest = read_processing(path, content.get("processing_kwargs") or {}).get("max_length", longest)
    settings: dict[str, Any] = {} if longest is None else {"max_length": longest}
    return settings | {"do_lower_case": content.get("do_lower_case", False)}


def read_arguments(
    path: Path, content: Mapping[str, Any], names: tuple[str, str], allowed: Mapping[str, Kind]
) -> dict[str, Any] | None:
    """The arguments of loading under either of two ``names``; CheckpointError unless all are among ``allowed``."""
    present = [name for name in names if name in content]
    if len(present) == 2:
        raise CheckpointError(
            f"{path} has both {names[0]} and {names[1]}, which are one setting; expected one of them."
        )
    if not present:
        return None
    part: dict[str, Any] = content[present[0]]
    refuse_unknown(part, allowed, f"{path}, {present[0]}")
    return part


def read_processing(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """The tokenizer's arguments in ``processing_kwargs``; its other parts are about sounds and images."""
    for name, part in content.items():
        if name in PROCESSING and not isinstance(part, dict):
            raise CheckpointError(f"{path}: processing_kwargs has {name}: {shown(part)}, expected an object.")
    warn_of_unknown(content, PROCESSING, f"{path}, processing_kwargs")
    texts: dict[str, Any] = {**content.get("text", {}), **content.get("common", {})}
    refuse_unknown(texts, TEXT_ARGUMENTS, f"{path}, processing_kwargs")
    return texts


def read_pooling(checkpoint: Checkpoint, folder: str) -> dict[str, Any]:
    """``pooling``, a name or a list of names, and ``include_prompt``."""
    path = checkpoint.at(f"{folder}/config.json")
    if path is None:
        raise CheckpointError(f"{checkpoint} lacks {folder}/config.json, which its modules.json lists.")
    content = read_checked(path, POOLING_SCHEMA)
    if other := [name for name in content if name.startswith("pooling_mode_") and name not in OLD_POOLINGS]:
        raise CheckpointError(f"{path} asks for {other[0]}; minibert has {', '.join(OLD_POOLINGS)}.")
    modes = content.get("pooling_mode")  # newer releases write the names themselves
    if modes is None:
        modes = [mode for name, mode in OLD_POOLINGS.items() if content.get(name)] or "mean"
    if isinstance(modes, list) and len(modes) == 1:
        (modes,) = modes
    return {"pooling": modes, "include_prompt": content.get("include_prompt", True)}


def make_step(checkpoint: Checkpoint, name: str, folder: str) -> nn.Module | None:
    """The module of a step after the pooling, with its weights; None for Dropout."""
    path = checkpoint.at(f"{folder}/config.json")
    content = read_checked(path, STEP_SCHEMAS[name]) if path else {}
    if lacking := [key for key in REQUIRED.get(name, ()) if key not in content]:
        raise CheckpointError(f"{path or f'{checkpoint}, {folder}/config.json'} lacks {lacking[0]}.")
    if name == "Dropout":
        return None
    if name == "Normalize":
        return Normalize()
    with torch.device("meta"):  # sizes are compared with the file's before memory is allocated
        if name == "LayerNorm":
            return load_step(LayerNorm(content["dimension"]), checkpoint, folder)
        activation = name_in(content.get("activation_function", "torch.nn.Tanh"))
        assert activation is not None
        step = Dense(
            content["in_features"],
            content["out_features"],
            content.get("bias", True),
            ACTIVATIONS[activation](),
            content.get("use_residual", False),
        )
    return load_step(step, checkpoint, folder)


def read_checked(path: Path, schema: Mapping[str, Kind]) -> dict[str, Any]:
    """The settings in ``path``, checked against ``schema``."""
    content: dict[str, Any] = read_json(path)
    check_settings(content, schema, path)
    warn_of_unknown(content, schema, str(path))
    return content


def warn_of_unknown(content: Mapping[str, Any], known: Iterable[str], origin: str) -> None:
    """Log which keys are ignored."""
    if unknown := [name for name in content if name not in {*known}]:
        logger.warning("%s: %s is unknown to minibert and passed over.", origin, ", ".join(map(repr, unknown)))


def refuse_unknown(content: Mapping[str, Any], allowed: Mapping[str, Kind], origin: str) -> None:
    """Raise CheckpointError for an argument of another library that is not among ``allowed``."""
    check_settings(content, allowed, origin)
    if unknown := [name for name in content if name not in allowed]:
        raise CheckpointError(
            f"{origin}: {unknown[0]} is {shown(content[unknown[0]])}, an argument that minibert does not have. Take it "
            "out if the vectors do not depend on it."
        )
