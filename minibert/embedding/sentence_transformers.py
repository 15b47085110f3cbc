"""The settings that a sentence-transformers folder brings: how to pool, whether to normalise, how long a text may be.

Files: ``modules.json`` lists the steps; ``1_Pooling/config.json`` names the pooling; ``sentence_bert_config.json`` the
maximum length.
"""

import re
from typing import Any

from minibert.errors import CheckpointError
from minibert.source import Source, Where, find_file, read_json

POOLING_MODES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}


def read_sentence_settings(source: Source, where: Where) -> dict[str, Any]:
    """``pooling``, ``normalize`` and ``max_length`` of ``source``, as far as it says; empty for a plain checkpoint.

    Raises CheckpointError for steps that are not here: another vector would come out.
    """
    listing = find_file(source, "modules.json", where)
    if listing is None:
        return {}
    settings: dict[str, Any] = {"normalize": False}
    for step in read_json(listing, list):
        if not isinstance(step, dict) or not re.fullmatch(r"[\w-]*", str(step.get("path", ""))):
            raise CheckpointError(f"{listing} lists {step!r}, expected a step with a folder beside it.")
        kind, path = str(step.get("type", "")).rpartition(".")[2], str(step.get("path", ""))
        if kind == "Normalize":
            settings["normalize"] = True
        elif kind == "Pooling":
            settings["pooling"] = read_pooling(source, f"{path}/config.json", where)
        elif kind != "Transformer":
            raise CheckpointError(f"{listing} asks for a step {kind!r}, which minibert does not have.")
    lengths = find_file(source, "sentence_bert_config.json", where)
    if lengths is not None and (longest := read_json(lengths).get("max_seq_length")):
        settings["max_length"] = int(longest)
    return settings


def read_pooling(source: Source, name: str, where: Where) -> str:
    """The pooling that ``1_Pooling/config.json`` names; one kind at a time."""
    path = find_file(source, name, where)
    if path is None:
        raise CheckpointError(f"{source} lacks {name}, which its modules.json lists.")
    content = read_json(path)
    modes = [mode for mode, wanted in content.items() if mode.startswith("pooling_mode_") and wanted is True]
    if isinstance(content.get("pooling_mode"), str):  # newer releases write the name itself
        return str(content["pooling_mode"])
    if len(modes) != 1 or modes[0] not in POOLING_MODES:
        raise CheckpointError(f"{path} asks for {', '.join(modes) or 'no pooling'}; minibert has mean, cls and max.")
    return POOLING_MODES[modes[0]]
