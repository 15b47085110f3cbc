"""Hostile config.json, modules.json, and folders that are no checkpoints."""

import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from minibert import BertConfig
from tests.checkpoint.hostile import (
    Spoil,
    add,
    directory,
    in_turn,
    link,
    pipe,
    remove,
    sparse,
    void,
    write,
    write_config,
)

CONFIG = "config.json"


def config(**changes: Any) -> Spoil:
    return lambda folder: write_config(folder, changes)


def raw_field(field: str, value: str) -> Spoil:
    """A value that Python's JSON would not write."""
    return write(CONFIG, json.dumps({"model_type": "bert"})[:-1] + f', "{field}": {value}}}')


# Every field, with what belongs nowhere.
MAY_BE_NULL = ("pad_token_id", "classifier_dropout", "problem_type", "id2label", "label2id")
for known in fields(BertConfig):
    add(f"config-{known.name}-list", "safetensors", config(**{known.name: [[1]]}), CONFIG, known.name, "expected")
    if known.name != "label2id":
        add(f"config-{known.name}-object", "safetensors", config(**{known.name: {"a": 1}}), CONFIG, known.name)
    if known.name not in MAY_BE_NULL:
        add(f"config-{known.name}-null", "safetensors", config(**{known.name: None}), CONFIG, known.name, "None")

for name, field, value in (
    ("a-billion-layers", "num_hidden_layers", 10**9),
    ("1e30-layers", "num_hidden_layers", 10**30),
    ("no-layers", "num_hidden_layers", 0),
    ("a-trillion-words", "vocab_size", 10**12),
    ("size-0", "hidden_size", 0),
    ("size-minus-1", "hidden_size", -1),
    ("size-as-text", "hidden_size", "768"),
    ("size-as-fraction", "hidden_size", 8.0),
    ("size-true", "hidden_size", True),
    ("heads-that-do-not-divide", "num_attention_heads", 3),
    ("a-negative-rate", "hidden_dropout_prob", -0.1),
    ("a-negative-chunk", "chunk_size_feed_forward", -1),
    ("padding-outside", "pad_token_id", 11),
    ("padding-as-text", "pad_token_id", "0"),
    ("labels-with-words-for-numbers", "id2label", {"zero": "a"}),
    ("labels-with-huge-numbers", "id2label", {"9" * 5000: "a"}),
    ("labels-that-are-numbers", "id2label", {"0": 1}),
    ("a-million-names-for-labels", "id2label", "x" * 1_000_000),
    ("a-billion-labels", "num_labels", 10**9),
    ("minus-one-labels", "num_labels", -1),
    ("labels-as-text", "num_labels", "3"),
    ("unknown-activation", "hidden_act", "rm -rf"),
    ("decoder", "is_decoder", True),
    ("relative-positions", "position_embedding_type", "relative_key"),
    ("method-validate", "validate", None),
    ("method-to-dict", "to_dict", 1),
    ("dunder-class", "__class__", "os.system"),
    ("dunder-dict", "__dict__", {}),
    ("dunder-init", "__init__", None),
):
    file = "unknown-activation" if name == "unknown-activation" else CONFIG  # noticed by the model: names the folder
    add(f"config-{name}", "safetensors", config(**{field: value}), file, field)

for name, value in (("NaN", "NaN"), ("1e400", "1e400"), ("minus-infinity", "-Infinity"), ("5000-digits", "9" * 5000)):
    words = "cannot be read" if name == "5000-digits" else "hidden_size"
    add(f"config-size-{name}", "safetensors", raw_field("hidden_size", value), CONFIG, words)
add("config-epsilon-NaN", "safetensors", raw_field("layer_norm_eps", "NaN"), CONFIG, "layer_norm_eps", "nan")

# Config and weights that disagree.
for field, value in (
    ("hidden_size", 16),
    ("vocab_size", 12),
    ("vocab_size", 2**28 - 1),
    ("intermediate_size", 13),
    ("max_position_embeddings", 9),
    ("type_vocab_size", 3),
):
    add(f"other-{field}-{value}", "safetensors", config(**{field: value}), "model.safetensors", "has shape", str(value))
for value in (1, 3, 2**28 - 1):
    spoil = config(num_hidden_layers=value)
    add(f"other-depth-{value}", "safetensors", spoil, "model.safetensors", "has 2 layers", f"{value}.")

for name, value in (
    ("roberta", "roberta"),
    ("number", 7),
    ("null", None),
    ("list", ["bert"]),
    ("escape", "\x1b[2Jbert"),
):
    add(f"model-type-{name}", "safetensors", config(model_type=value), CONFIG, "model_type", "'bert' models only")
add("architecture-of-nothing", "safetensors", config(architectures=["BertForWar"], hidden_size=9), CONFIG, "multiple")

good = b'{"model_type": "bert"}'
for name, content, words in (
    ("empty", b"", "Expecting value"),
    ("nul-bytes", bytes(300), "cannot be read as JSON"),
    ("binary", bytes(range(256)), "cannot be read as JSON"),
    ("byte-order-mark", b"\xef\xbb\xbf" + good, "BOM"),
    ("utf-16", good.decode().encode("utf-16"), "utf-8"),
    ("half", good[:12], "cannot be read as JSON"),
    ("two-documents", good + good, "Extra data"),
    ("list", b"[1, 2]", "holds a JSON list"),
    ("text", b'"bert"', "holds a JSON str"),
    ("null", b"null", "holds a JSON NoneType"),
    ("repeated-key", b'{"hidden_size": 8, "hidden_size": 16}', "the key 'hidden_size' twice"),
    ("repeated-key-inside", b'{"id2label": {"0": "a", "0": "b"}}', "the key '0' twice"),
    ("100k-brackets", b"[" * 100_000, "nested too deep"),
    ("100k-objects", b'{"a":' * 100_000, "nested too deep"),
    ("400-brackets", b'{"a": ' + b"[" * 400 + b"]" * 400 + b"}", "are nested more than 32 deep"),
    ("3-MB-of-brackets", b'{"a": [' + b"[]," * 1_000_000 + b"[]], " + good[1:], "vocab_size|layers"),
):
    file = "model.safetensors" if name == "3-MB-of-brackets" else CONFIG  # allowed, and then it does not fit
    add(f"config-file-{name}", "safetensors", write(CONFIG, content), file, words)
add("config-file-200-MB", "safetensors", sparse(CONFIG, 200 << 20, good), CONFIG, "209,715,200 bytes")

# Things that are no files.
for name in (CONFIG, "model.safetensors"):
    add(f"{name}-a-folder", "safetensors", directory(name), name, "is a folder")
    add(f"{name}-a-pipe", "safetensors", pipe(name), name, "a pipe or a device")
    add(f"{name}-a-device", "safetensors", link(name, "/dev/zero"), name, "a pipe or a device")
    add(f"{name}-a-link-to-nothing", "safetensors", link(name, "nowhere"), name, "a link to nothing")
    add(f"{name}-a-link-to-itself", "safetensors", link(name, name), name, "a link to nothing")
add("no-config", "safetensors", remove(CONFIG), "no-config", "holds no config.json")
add("no-weights", "safetensors", remove("model.safetensors"), "no-weights", "holds no weights")
add("empty-folder", "safetensors", in_turn(remove(CONFIG), remove("model.safetensors")), "empty-folder", "no config")


# sentence-transformers folders.
def modules(content: object) -> Spoil:
    def spoil(folder: Path) -> None:
        inner = folder / "0_Transformer"
        inner.mkdir()
        for file in (CONFIG, "model.safetensors"):
            shutil.move(folder / file, inner / file)
        (folder.parent / "outside").mkdir()
        shutil.copy(inner / CONFIG, folder.parent / "outside" / CONFIG)
        (folder / "modules.json").write_text(content if isinstance(content, str) else json.dumps(content))

    return spoil


for name, path in (
    ("above", "../outside"),
    ("far-above", "../../../../../../etc"),
    ("absolute", "/etc"),
    ("nul-byte", "0_Transformer\0"),
    ("very-long", "x" * 5000),
    ("number", 7),
    ("list", ["0_Transformer"]),
    ("backslashes", "..\\outside"),
    ("escape", "\x1b]0;owned\x07"),
):
    listing = modules([{"type": "sentence_transformers.models.Transformer", "path": path}])
    words = "File name too long" if name == "very-long" else "modules.json"
    add(f"modules-path-{name}", "safetensors", listing, f"modules-path-{name}", words)
add("modules-not-json", "safetensors", modules("[{]"), "modules.json", "cannot be read as JSON")
add("modules-an-object", "safetensors", modules({}), "modules.json", "expected a list")
add("modules-empty", "safetensors", modules([]), "modules-empty", "holds no config.json")
add("modules-of-numbers", "safetensors", modules([1, None]), "modules-of-numbers", "holds no config.json")
both_wrong = in_turn(remove(CONFIG), directory("modules.json"))
add("modules-a-folder", "safetensors", both_wrong, "modules.json", "is a folder")


def linked_transformer(target: str) -> Spoil:
    def spoil(folder: Path) -> None:
        modules([{"type": "Transformer", "path": "0_Transformer"}])(folder)
        void(shutil.rmtree(folder / "0_Transformer"))
        (folder / "0_Transformer").symlink_to(target)

    return spoil


add("modules-linked-outside", "safetensors", linked_transformer("../outside"), "modules.json", "somewhere outside")
add("modules-linked-in-a-circle", "safetensors", linked_transformer("0_Transformer"), "modules.json", "outside")
