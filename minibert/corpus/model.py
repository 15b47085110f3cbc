"""The model of a corpus: what the manifest says of it, and the embedder that computes with the same bits.

Start with :func:`describe_model`, and with :func:`embedder_for`, which loads a model that was described or refuses
another.
"""

import copy
import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from minibert.corpus.folder import FILE
from minibert.embedding import Embedder
from minibert.embedding.backends.weights import processor_facts, settings_of, weights_digest
from minibert.errors import CheckpointError, InputError
from minibert.hub import commit_of
from minibert.model import BertModel
from minibert.source import Checkpoint, Source, is_demo

logger = logging.getLogger("minibert.corpus")
ENCODING: dict[str, Any] = {
    "pooling": None, "layers": "last", "weights": None, "normalize": None, "include_special_tokens": True,
    "long": "truncate", "stride": 64, "prompt": None, "prompt_name": None, "truncate_dim": None,
}  # fmt: skip


def describe_model(embedder: Embedder) -> dict[str, Any]:
    """The model: its source, and checksums of everything that it computes with.

    ``steps_sha256``, ``include_prompt`` and ``query_prompt``, which a search in the corpus uses, are there only for a
    sentence-transformers model that has them.
    """
    source, revision = origin_of(embedder.model)
    query_prompt = embedder.find_prompt(None, "query" if embedder.prompts["query"] else None)
    description = {
        "source": source,
        "revision": revision,
        "sha256": weights_digest(embedder.model, settings_of(embedder.model)),
        "dtype": str(embedder.model.dtype).removeprefix("torch."),
        "max_length": embedder.max_length,
        "tokenizer_sha256": tokenizer_digest(embedder),
        "backend": embedder.backend.name,
    }
    if embedder.backend.name != "torch":
        description["backend_version"] = embedder.backend.versions[embedder.backend.name]
    if len(embedder.steps):
        description["steps_sha256"] = weights_digest(embedder.steps, repr(embedder.steps))
    if not embedder.include_prompt:
        description["include_prompt"] = False
    return description | ({"query_prompt": query_prompt} if query_prompt else {})


def origin_of(model: BertModel) -> tuple[str | None, str | None]:
    """Where the weights came from: a path on this disk, or a name on the hub with its commit.

    Both are None for a model that was made in memory, or from a state dict.
    """
    report = model.load_report
    if report is None or not report.files:
        return None, None
    if is_demo(report.source):
        return report.source, None
    try:
        checkpoint = Checkpoint.open(report.source)
    except CheckpointError:  # moved since it was loaded
        return report.source, None
    if checkpoint.folder is None:
        return report.source, commit_of(Path(report.files[0]))
    return str(Path(report.source).expanduser().resolve()), None


def tokenizer_digest(embedder: Embedder) -> str:
    """The SHA-256 of the vocabulary and of the settings that determine how a text becomes ids."""
    tokenizer = embedder.tokenizer
    added = {number: token.to_json() for number, token in tokenizer.added_tokens_decoder.items()}
    switches = (tokenizer.do_lower_case, tokenizer.strip_accents, tokenizer.tokenize_chinese_chars)
    sides = (tokenizer.split_special_tokens, tokenizer.truncation_side)
    content = [sorted(tokenizer.get_vocab().items()), added, switches, sides, tokenizer.special_tokens_map]
    if tokenizer.pipeline is not None:  # of another kind, with rules and scores of its own
        content.append(tokenizer.pipeline)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def embedder_for(
    manifest: dict[str, Any], place: object, model: Source | Embedder | None, device: str | None = None
) -> Embedder:
    """The embedder that made the corpus; raises InputError for any other.  ``device``: where one is loaded to."""
    recorded = manifest["model"]
    embedder = model if isinstance(model, Embedder) else load(recorded, place, model, device)
    own = describe_model(embedder)
    decisive = ("sha256", "tokenizer_sha256", "dtype", "max_length", "steps_sha256", "include_prompt")
    if differing := [name for name in decisive if own.get(name) != recorded.get(name)]:
        listed = ", ".join(f"{name} {recorded.get(name)} there, {own.get(name)} here" for name in differing)
        raise InputError(
            f"{place} was made by another model ({recorded['source']}): {listed}. Vectors of two models cannot be "
            "compared."
        )
    return embedder


def load(recorded: dict[str, Any], place: object, model: Source | None, device: str | None) -> Embedder:
    """The model that the manifest names, or ``model`` with the manifest's settings."""
    settings = {"dtype": recorded["dtype"], "max_length": recorded["max_length"], "device": device}
    if model is not None:
        return Embedder.from_pretrained(model, **settings)
    if recorded["source"] is None:
        raise InputError(f"{place}/{FILE} names no model: it was only in memory. Give it (--model).")
    if recorded["revision"] is not None:
        settings["revision"] = recorded["revision"]
    try:
        return Embedder.from_pretrained(recorded["source"], **settings)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} {place}/{FILE} names it; if it lies elsewhere now, give it (--model)."
        ) from error


def resolve(embedder: Embedder, encoding: dict[str, Any]) -> dict[str, Any]:
    """The arguments for encode, with the embedder's own defaults for those that are missing."""
    if unknown := sorted(set(encoding) - set(ENCODING)):
        raise InputError(f"embed_corpus has no argument {unknown[0]!r}; encode's are {', '.join(ENCODING)}.")
    settings = {**ENCODING, **encoding}
    prompt, name = settings.pop("prompt"), settings.pop("prompt_name")
    if prompt is None and name is None and embedder.prompts["document"]:
        name = "document"
    prompt = embedder.find_prompt(prompt, name)
    if prompt or embedder.default_prompt_name is not None:
        settings["prompt"] = prompt
    if settings["pooling"] is None:
        settings["pooling"] = embedder.pooling
    if settings["truncate_dim"] is None:
        settings["truncate_dim"] = embedder.truncate_dim
    if settings["truncate_dim"] is None:
        del settings["truncate_dim"]
        if settings["normalize"] is None:  # else None is kept: unit length before the vectors are cut
            settings["normalize"] = embedder.normalize
    return settings


def prepared(embedder: Embedder) -> Embedder:
    """A copy that gives a text the same bits in every shard: optimize() rounds a batch of one text otherwise."""
    embedder = copy.copy(embedder)
    embedder.transposed = None
    return embedder


def follow_backend(embedder: Embedder, name: str, place: object, settings: dict[str, Any]) -> None:
    """Compute with the backend ``name``, and with a graph that gives the layers which the settings need.

    ``place``: of the corpus that was begun with it, for the message.
    """
    numbers = embedder.choose(settings["pooling"], settings["layers"], settings["weights"])[1].numbers
    if name != embedder.backend.name:
        logger.log(
            logging.INFO if embedder.asked_backend == "torch" else logging.WARNING,
            "%s was begun with the backend %s, so it goes on with that and not with %s.",
            place,
            name,
            embedder.backend.name,
        )
        embedder.use_backend(name, numbers)
    elif embedder.runtime is not None and not embedder.runtime.fits(numbers):
        embedder.use_backend(name, numbers)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads in the block; the last bits of a vector may depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def processor_of(embedder: Embedder) -> str:
    """The kind of processor that computes, on which last bits may depend: its name, and a hash of what it can do."""
    if embedder.device.type == "cuda":
        return torch.cuda.get_device_name(embedder.device)
    facts = processor_facts()
    return ", ".join(fact for fact in (facts["processor"], facts["machine"], facts["flags"]) if fact)
