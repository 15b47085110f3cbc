"""Convert any checkpoint to a modern folder: config.json, model.safetensors, and the tokenizer's files if any.

The settings of sentence-transformers come along, so that an Embedder of the new folder gives the same vectors.
Only what the source says or its tensors show is written: a guess that stands in a file would be read as a fact.
"""

import json
import logging
import shutil
from pathlib import Path

from minibert.auto import fitting_architectures, load_architecture, named_architecture
from minibert.checkpoint.report import LoadReport
from minibert.checkpoint.save import save_pretrained
from minibert.checkpoint.tensors import Weights
from minibert.checkpoint.weights import open_weights
from minibert.config import BertConfig
from minibert.embedding.sentence_folder import copy_sentence_settings
from minibert.embedding.sentence_transformers import read_sentence_settings
from minibert.errors import CheckpointError, InputError
from minibert.files import read_json, write_text, written_whole
from minibert.lock import NAME, alone_in
from minibert.source import Checkpoint, Source, as_path

logger = logging.getLogger(__name__)

VOCABULARY = ("vocab.txt", "tokenizer.json")
SETTINGS = "tokenizer_config.json"
TOKENIZER_FILES = (*VOCABULARY, SETTINGS, "special_tokens_map.json", "added_tokens.json")


@alone_in("folder")
def convert(
    source: Source, folder: Source, head: str | None = None, *, lower_case: bool | None = None
) -> tuple[LoadReport, list[str]]:
    """Write ``source`` into ``folder``; returns what became of every tensor, and the names of the written files.

    Args:
        source: a folder, a weight file, or a hub name.
        folder: which must hold no checkpoint yet.
        head: the class to convert to, by default the one that uses most of the file's tensors.
        lower_case: whether the vocabulary is of lower-cased text, for a source that does not say.

    Raises CheckpointError when the folder already holds a checkpoint, InputError when ``head`` or ``lower_case`` is
    needed, or contradicts the source.
    """
    folder = as_path(folder)
    if (folder / "model.safetensors").exists() or (folder / "config.json").exists():
        raise CheckpointError(f"{folder} holds a checkpoint already. Choose another folder, or remove that one first.")
    checkpoint = Checkpoint.open(source)
    files = {name: path for name in TOKENIZER_FILES if (path := checkpoint.find(name)) is not None}
    settings = lower_casing(checkpoint, files, lower_case)
    config, weights = BertConfig.from_pretrained(checkpoint), open_weights(checkpoint)
    head = head or surely_fitting(config, weights)
    embeds = has_sentence_settings(checkpoint)
    model = load_architecture(checkpoint, architecture=head, state_dict=weights)
    save_pretrained(model, folder)
    for name, path in files.items():  # copied: reading and writing them would fill in defaults
        with written_whole(folder / name) as temporary:
            shutil.copyfile(path, temporary)
    if settings is not None:
        write_text(folder / SETTINGS, json.dumps(settings, ensure_ascii=False, indent=2) + "\n")
    copied = copy_sentence_settings(checkpoint, folder) if embeds else []
    assert model.load_report is not None
    return model.load_report, sorted({path.name for path in folder.iterdir() if path.is_file()} - {NAME} | {*copied})


def has_sentence_settings(checkpoint: Checkpoint) -> bool:
    """Whether the source has settings of sentence-transformers; a warning, and False, for such as are not supported."""
    try:
        return bool(read_sentence_settings(checkpoint))
    except CheckpointError as error:
        logger.warning(
            "The settings of sentence-transformers in %s are not carried over, only the BERT is: an Embedder of the "
            "new folder takes the mean of the tokens. %s",
            checkpoint,
            error,
        )
        return False


def surely_fitting(config: BertConfig, weights: Weights) -> str:
    """The class that uses most of the tensors; InputError if several do and config.json names none of them."""
    fitting, named = fitting_architectures(config, weights), named_architecture(config)
    if named in fitting:
        return named
    if len(fitting) > 1:
        raise InputError(
            f"{weights.where} has a classifier, which {' and '.join(fitting)} have, and config.json does not say which "
            "it is. Name it: --head CLASS (head=, from Python)."
        )
    return fitting[0]


def lower_casing(source: Checkpoint, files: dict[str, Path], lower_case: bool | None) -> dict[str, object] | None:
    """The tokenizer_config.json to write if ``lower_case`` adds to what the files say, else None.

    Raises InputError when the files say the opposite.
    """
    if not any(name in files for name in VOCABULARY):
        if lower_case is not None:
            raise InputError(f"{source} brings no vocabulary, so there is nothing to lower-case text for.")
        return None
    settings: dict[str, object] = read_json(files[SETTINGS]) if SETTINGS in files else {}
    stated = settings.get("do_lower_case")
    if stated is None and "tokenizer.json" in files:
        normalizer = read_json(files["tokenizer.json"]).get("normalizer")
        stated = normalizer.get("lowercase") if isinstance(normalizer, dict) else None
    if lower_case is None or stated is lower_case:
        return None
    if stated is not None:
        raise InputError(
            f"{source} says do_lower_case {stated}, and {lower_case} was asked for. Leave the choice out, or mend "
            "tokenizer_config.json."
        )
    return {**settings, "do_lower_case": lower_case}


def says_nothing_of_case(folder: Source) -> bool:
    """Whether a converted folder has a vocabulary, but no file that says whether it is of lower-cased text."""
    path = as_path(folder)
    if (path / "tokenizer.json").is_file() or not (path / "vocab.txt").is_file():
        return False
    return not (path / SETTINGS).is_file() or "do_lower_case" not in read_json(path / SETTINGS)
