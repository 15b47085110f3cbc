"""Writing the files that make a checkpoint's folder one of sentence-transformers.

They are in the form of that library's older releases, which all of its releases read, and minibert
(sentence_transformers.py, which has the table of the files).  Start with :func:`write_sentence_settings`;
:func:`copy_sentence_settings` takes those of another folder as they are.
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from minibert.activations import path_of
from minibert.checkpoint.save import write_safetensors
from minibert.checkpoint.weights import open_file
from minibert.embedding.sentence_transformers import OLD_POOLINGS, TRANSFORMER_FILES, read_listing
from minibert.embedding.steps import WEIGHT_FILES, Dense, LayerNorm, Normalize
from minibert.errors import InputError
from minibert.files import read_json, write_text, written_whole
from minibert.source import Checkpoint

CLASSES = "sentence_transformers.models"


def write_sentence_settings(
    folder: Path,
    *,
    width: int,
    pooling: str | Sequence[str],
    max_length: int,
    normalize: bool = False,
    prompts: Mapping[str, str] | None = None,
    default_prompt_name: str | None = None,
    include_prompt: bool = True,
    truncate_dim: int | None = None,
    similarity_fn_name: str = "cosine",
    steps: Iterable[nn.Module] = (),
) -> None:
    """Write modules.json and the settings that it names, beside a model and its tokenizer.

    The arguments are those of :class:`~minibert.embedding.embedder.Embedder`; ``width``: the model's hidden size.
    Raises CheckpointError where a file cannot be written, InputError for a step that is none of steps.py.
    """
    modules = [*steps, *([Normalize()] if normalize else [])]
    kinds = ["Transformer", "Pooling", *(type(module).__name__ for module in modules)]
    paths = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds) if number)]
    content: dict[str, Any] = {
        "modules.json": [
            {"idx": number, "name": str(number), "path": path, "type": f"{CLASSES}.{kind}"}
            for number, (path, kind) in enumerate(zip(paths, kinds, strict=True))
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": width, **pooling_settings(pooling), "include_prompt": include_prompt,
        },
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": dict(prompts or {}),
            "default_prompt_name": default_prompt_name,
            "similarity_fn_name": similarity_fn_name,
            **({} if truncate_dim is None else {"truncate_dim": truncate_dim}),
        },
    }  # fmt: skip
    for path, module in zip(paths[2:], modules, strict=True):
        if settings := step_settings(module):
            content[f"{path}/config.json"] = settings
    for name, value in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(folder / name, json.dumps(value, ensure_ascii=False, indent=2) + "\n")
    for path, module in zip(paths[2:], modules, strict=True):
        (folder / path).mkdir(exist_ok=True)  # that of Normalize stays empty
        if state := module.state_dict():
            write_safetensors(folder / path / "model.safetensors", state, {"format": "pt"})


def step_settings(step: nn.Module) -> dict[str, Any]:
    """The config.json of a step after the pooling; empty where it has no settings."""
    if isinstance(step, Normalize):
        return {}
    if isinstance(step, LayerNorm):
        return {"dimension": step.in_features}
    if not isinstance(step, Dense):
        raise InputError(f"A {type(step).__name__} is no step of a sentence-transformers folder that minibert writes.")
    return {
        "in_features": step.in_features,
        "out_features": step.out_features,
        "bias": step.linear.bias is not None,
        "activation_function": path_of(type(step.activation).__name__),
        **({"use_residual": True} if step.use_residual else {}),  # older releases do not know the key
    }


def pooling_settings(pooling: str | Sequence[str]) -> dict[str, Any]:
    """A flag for each pooling; the names themselves where the flags, which have an order, would say another one."""
    names = [pooling] if isinstance(pooling, str) else list(pooling)
    flags = {flag: name in names for flag, name in OLD_POOLINGS.items()}
    in_order = [name for flag, name in OLD_POOLINGS.items() if flags[flag]]
    return flags if in_order == names else {"pooling_mode": names}


def copy_sentence_settings(checkpoint: Checkpoint, folder: Path) -> list[str]:
    """Copy a checkpoint's modules.json and the files that it names beside a model; returns the paths in ``folder``.

    Files of settings are copied byte for byte, but a BERT in an inner folder (``0_Transformer``) is named as lying in
    ``folder`` itself.  Weights of a step become safetensors.  Call read_sentence_settings before, which checks all.
    """
    listing = checkpoint.at("modules.json")
    if listing is None:
        return []
    files = {name: checkpoint.at(checkpoint.inner + name) for name in TRANSFORMER_FILES}
    files["config_sentence_transformers.json"] = checkpoint.at("config_sentence_transformers.json")
    for kind, path in read_listing(listing):
        if kind != "Transformer":
            (folder / path).mkdir(parents=True, exist_ok=True)  # that of Normalize may stay empty
            files[f"{path}/config.json"] = checkpoint.at(f"{path}/config.json")
            weights = [found for name in WEIGHT_FILES if (found := checkpoint.at(f"{path}/{name}"))]
            files[f"{path}/{WEIGHT_FILES[0]}"] = weights[0] if weights else None
    written = {name: path for name, path in files.items() if path is not None}
    for name, source in written.items():
        if source.name != Path(name).name:  # a pickle
            stored = open_file(source)
            state = {each: stored.tensor(each).contiguous() for each in stored.names()}
            write_safetensors(folder / name, state, {"format": "pt"})
            continue
        with written_whole(folder / name) as temporary:
            shutil.copyfile(source, temporary)
    steps = [
        step | {"path": ""} if checkpoint.inner == f"{step['path']}/" else step for step in read_json(listing, list)
    ]
    write_text(folder / "modules.json", json.dumps(steps, ensure_ascii=False, indent=2) + "\n")
    return [*written, "modules.json"]
