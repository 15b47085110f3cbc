"""The folder that loaders expect: a graph, and beside it how texts become its inputs and its outputs vectors.

sentence-transformers (``backend="onnx"``), transformers.js, fastembed, and programs that put the ``tokenizers`` library
before onnxruntime find each setting under the name that they look for.

==========================================  =========================================================================
``onnx/model.onnx``                         the graph; ``openvino/openvino_model.xml`` and ``.bin`` are OpenVINO's
``config.json``                             the model's, as transformers writes it
``tokenizer.json``                          text to ids, whole: what the ``tokenizers`` library and transformers.js run
``tokenizer_config.json``                   ``model_max_length`` is the longest text that the vectors are made of
``special_tokens_map.json``, ``vocab.txt``  older programs ask for them
``modules.json``, ``1_Pooling/`` …          how hidden states become a vector, and the prompts: sentence-transformers'
==========================================  =========================================================================

There are no weights but the graph's.  Start with :func:`write_settings`.
"""

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path

from minibert.checkpoint.save import saved_config
from minibert.destination import check_folder
from minibert.embedding import Embedder
from minibert.embedding.pooling import TOKEN_POOLINGS
from minibert.embedding.sentence_folder import write_sentence_settings
from minibert.errors import CheckpointError, InputError, reason_of
from minibert.files import write_text
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Source
from minibert.tokenizer import BertTokenizer

GRAPHS = {"onnx": "onnx/model.onnx", "openvino": "openvino/openvino_model.xml"}  # where loaders look for them
QUANTIZED = "onnx/model_quantized.onnx"  # transformers.js: dtype "q8"
DTYPES = {GRAPHS["onnx"]: "fp32", QUANTIZED: "q8"}  # what transformers.js calls them


def check_new_folder(destination: Source) -> Path:
    """The folder to write, new or empty; CheckpointError for one that holds something, or cannot be written."""
    folder = check_folder(destination, "the folder to export to")
    if folder.is_dir() and any(folder.iterdir()):
        raise CheckpointError(
            f"{folder} is not empty, and loaders would mix its files with the export's. Give a new folder."
        )
    return folder


def write_settings(
    folder: Path,
    model: BertPreTrainedModel,
    tokenizer: BertTokenizer,
    embedder: Embedder | None = None,
    graph: str = GRAPHS["onnx"],
) -> None:
    """Write everything but the graph into ``folder``.

    Args:
        folder: where the graph is, or will be.
        model: what the graph computes; its class stands in config.json.
        tokenizer: of the model; with an ``embedder``, that one's.
        embedder: how vectors are made of the graph's hidden states; None for a head's logits.
        graph: the name of the graph in the folder.

    Raises InputError for a pooling that loaders do not have, CheckpointError where a file cannot be written.
    """
    positions = model.config.max_position_embeddings
    longest = min(tokenizer.model_max_length, positions) if embedder is None else embedder.max_length
    if embedder is not None:
        write_pooling(folder, embedder)
    config = saved_config(model).to_dict()
    if graph in DTYPES:
        config["transformers.js_config"] = {"dtype": DTYPES[graph]}
    write_text(folder / "config.json", as_json(config))
    tokenizer = copy.copy(tokenizer)
    tokenizer.model_max_length = longest
    tokenizer.save_pretrained(folder)
    write_text(folder / "special_tokens_map.json", as_json(special_tokens(tokenizer)))


def write_pooling(folder: Path, embedder: Embedder) -> None:
    """modules.json and what it names; InputError for a vector that is not made of the last hidden state's tokens."""
    poolings, layers = embedder.choose(embedder.pooling, "last", None)
    if layers.numbers != (embedder.model.config.num_hidden_layers,) or not {*poolings} <= {*TOKEN_POOLINGS}:
        raise InputError(
            f"pooling is {embedder.pooling!r}; the loaders of a folder pool the last hidden state, by "
            f"{', '.join(TOKEN_POOLINGS)}. Export the vectors themselves: --output sentence -o FILE.onnx."
        )
    write_sentence_settings(
        folder,
        width=embedder.model.config.hidden_size,
        pooling=poolings,
        max_length=embedder.max_length,
        normalize=embedder.normalize,
        prompts=embedder.prompts,
        default_prompt_name=embedder.default_prompt_name,
        include_prompt=embedder.include_prompt,
        truncate_dim=embedder.truncate_dim,
        similarity_fn_name=embedder.similarity_fn_name,
        steps=embedder.steps,
    )


def special_tokens(tokenizer: BertTokenizer) -> dict[str, object]:
    """The content of special_tokens_map.json: name → token, with its flags, since some programs add it once more."""
    added = {str(token): token.to_json() for token in tokenizer.added_tokens_decoder.values()}
    named = {name: added.get(token, token) for name, token in tokenizer.special_tokens_map.items()}
    extra = [added.get(token, token) for token in tokenizer.extra_special_tokens]
    return {**named, **({"additional_special_tokens": extra} if extra else {})}


def as_json(content: Mapping[str, object]) -> str:
    """The text of a settings file."""
    return json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def put_folder_in_place(written: Path, folder: Path) -> list[Path]:
    """Rename ``written`` to ``folder``, which is not there or empty; returns its files."""
    names = sorted(path.relative_to(written) for path in written.rglob("*") if path.is_file())
    try:
        for name in names:
            with (written / name).open("rb+") as file:
                os.fsync(file.fileno())
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.is_dir():
            folder.rmdir()
        written.rename(folder)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written ({reason_of(error)}).") from error
    return [folder / name for name in names]
