"""The files of a tokenizer, in and out: vocab.txt, tokenizer.json, tokenizer_config.json and their older companions.

Google shipped vocab.txt, one token a line, the line number its id.  Others added tokenizer_config.json (settings),
special_tokens_map.json and added_tokens.json, then tokenizer.json (everything).  Who wins where they disagree is
transformers' order: explicit arguments, tokenizer_config.json, special_tokens_map.json, tokenizer.json, defaults;
and tokenizer.json's vocabulary over vocab.txt.  Look first at ``load_settings``.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minibert.errors import TokenizerError
from minibert.source import (
    LARGEST_SETTINGS,
    Source,
    Where,
    find_file,
    is_file,
    local_file,
    read_json,
    same_commit,
    write_text,
)
from minibert.tokenizer.added_tokens import AddedToken
from minibert.tokenizer.characters import is_white_space
from minibert.tokenizer.special_tokens import NAMES
from minibert.tokenizer.wordpiece import CONTINUATION, MAX_CHARACTERS_PER_WORD

VOCAB_FILE, TOKENIZER_FILE, CONFIG_FILE = "vocab.txt", "tokenizer.json", "tokenizer_config.json"
# Rust's line.trim_end(), which the library reads vocab.txt with.
_WHITE_SPACE = "".join(filter(is_white_space, map(chr, range(0x3001))))
_TRAILING_SPACE = re.compile(f"[{_WHITE_SPACE.replace(chr(10), '')}]$", re.MULTILINE)


@dataclass
class TokenizerFiles:
    """What was found: the vocabulary and the raw content of each settings file, empty where there is none."""

    origin: str
    vocab: dict[str, int]
    config: dict[str, Any] = field(default_factory=dict)
    special_tokens_map: dict[str, Any] = field(default_factory=dict)
    added_tokens: dict[str, int] = field(default_factory=dict)
    tokenizer_json: dict[str, Any] = field(default_factory=dict)


def open_tokenizer_files(source: Source, where: Where | None = None) -> TokenizerFiles:
    """Read a tokenizer from ``source``: a folder, a name on the hub, a vocab.txt or a tokenizer.json.

    ``where`` says which revision and so on, see ``minibert.source``.  Raises TokenizerError when there is no
    vocabulary or it cannot be read, CheckpointError when there is no such source.
    """
    path = local_file(source)
    if path is not None and path.name.endswith(TOKENIZER_FILE):
        content = read_json(path)
        return TokenizerFiles(str(path), _vocab_of(content, path), tokenizer_json=content)
    if path is not None and path.suffix == ".txt":
        return TokenizerFiles(str(path), read_vocab(path))

    tokenizer_file = find_file(source, TOKENIZER_FILE, where)
    if tokenizer_file:
        where = same_commit(where or {}, tokenizer_file)
    vocab_file = find_file(source, VOCAB_FILE, where)
    if vocab_file:
        where = same_commit(where or {}, vocab_file)

    def content_of(name: str) -> dict[str, Any]:
        found = find_file(source, name, where)
        return read_json(found, largest=LARGEST_SETTINGS) if found else {}

    files = TokenizerFiles(
        origin=str(tokenizer_file or vocab_file or source),
        vocab={},
        config=content_of(CONFIG_FILE),
        special_tokens_map=content_of("special_tokens_map.json"),
        added_tokens=content_of("added_tokens.json"),
    )
    if tokenizer_file:
        files.tokenizer_json = read_json(tokenizer_file)
        files.vocab = _vocab_of(files.tokenizer_json, tokenizer_file)
    elif vocab_file:
        files.vocab = read_vocab(vocab_file)
    else:
        raise TokenizerError(
            f"{os.fspath(source)!r} holds neither {VOCAB_FILE} nor {TOKENIZER_FILE}, so there is no vocabulary to "
            "tokenize with. Put the model's vocab.txt beside its weights, or give its path: BertTokenizer('vocab.txt')."
        )
    return files


def read_vocab(path: Source) -> dict[str, int]:
    """vocab.txt: one token a line, its id the line's number from 0; if a token comes twice, the last line counts."""
    try:
        is_file(Path(path))  # refuses pipes and devices, which may never end
        content = Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise TokenizerError(
            f"{os.fspath(path)} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}. "
            "A BERT vocabulary is UTF-8 text; this may be another file, or one saved in another encoding."
        ) from error
    except OSError as error:
        raise TokenizerError(f"The vocabulary {os.fspath(path)} cannot be read: {error.strerror or error}.") from error
    lines = content.split("\n")
    if not lines[-1]:
        lines.pop()
    if _TRAILING_SPACE.search(content):
        lines = [line.rstrip(_WHITE_SPACE) for line in lines]
    return dict(zip(lines, range(len(lines)), strict=True))


def _vocab_of(content: Mapping[str, Any], path: Path) -> dict[str, int]:
    """The vocabulary of a tokenizer.json, after making sure that it describes BERT's pipeline and no other."""
    model = content.get("model") or {}
    vocab = model.get("vocab")
    kind = model.get("type", "WordPiece" if isinstance(vocab, dict) and "merges" not in model else None)
    _expect(kind == "WordPiece" and isinstance(vocab, dict), path, "model", kind, "WordPiece with a vocabulary")
    prefix = model.get("continuing_subword_prefix", CONTINUATION)
    _expect(prefix == CONTINUATION, path, "continuing_subword_prefix", prefix, CONTINUATION)
    longest = model.get("max_input_chars_per_word", MAX_CHARACTERS_PER_WORD)
    _expect(longest == MAX_CHARACTERS_PER_WORD, path, "max_input_chars_per_word", longest, MAX_CHARACTERS_PER_WORD)
    normalizer = _normalizer(content)
    named = normalizer.get("type")
    _expect(named == "BertNormalizer", path, "normalizer", named, "BertNormalizer")
    _expect(normalizer.get("clean_text", True) is True, path, "normalizer's clean_text", False, "true")
    splitter = (content.get("pre_tokenizer") or {}).get("type")
    _expect(splitter == "BertPreTokenizer", path, "pre_tokenizer", splitter, "BertPreTokenizer")
    frame = content.get("post_processor") or {"type": "BertProcessing"}
    _expect(_is_bert_frame(frame), path, "post_processor", frame.get("type"), "[CLS] A [SEP] B [SEP], segments 0 and 1")
    assert isinstance(vocab, dict)
    return vocab


def _expect(holds: bool, path: Path, part: str, found: object, wanted: object) -> None:
    if not holds:
        raise TokenizerError(
            f"{path} is not a BERT tokenizer: its {part} is {found!r}, expected {wanted}. "
            "minibert reads BERT's own pipeline only; load this one with the library that made it."
        )


def _normalizer(content: Mapping[str, Any]) -> dict[str, Any]:
    normalizer: dict[str, Any] = content.get("normalizer") or {}
    steps = normalizer.get("normalizers", [])
    return steps[0] if normalizer.get("type") == "Sequence" and len(steps) == 1 else normalizer


def _is_bert_frame(post_processor: Mapping[str, Any]) -> bool:
    if post_processor.get("type") == "BertProcessing":
        return True
    pair = post_processor.get("pair")
    if post_processor.get("type") != "TemplateProcessing" or not isinstance(pair, list):
        return False
    shape = [(*piece, *(part.get("type_id") for part in piece.values())) for piece in pair]
    a, b, special = ("Sequence", 0), ("Sequence", 1), "SpecialToken"
    return shape == [(special, 0), a, (special, 0), b, (special, 1)]


def load_settings(files: TokenizerFiles, explicit: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for ``BertTokenizer`` from its files, ``explicit`` ones first.

    Truncation and padding that a tokenizer.json stores are left out: rows are cut and filled when a call asks for it.
    """
    settings = {name: value for name, value in files.config.items() if name in SETTINGS}
    if "max_len" in files.config:
        settings.setdefault("model_max_length", files.config["max_len"])
    _take_from_tokenizer_json(settings, files.tokenizer_json)
    settings.update(explicit)
    if not settings.get("extra_special_tokens"):
        settings["extra_special_tokens"] = settings.pop("additional_special_tokens", None)
    if "added_tokens_decoder" in settings:
        decoder = settings["added_tokens_decoder"]
        added = {int(token_id): AddedToken.of(token) for token_id, token in decoder.items()}
    else:
        for name, value in files.special_tokens_map.items():
            if name in SETTINGS and not explicit.get(name):
                settings[name] = value
        added = _added_tokens(files, settings)
    by_content = {token.content: token for token in added.values()}
    for name in NAMES:
        value = settings.get(name)
        if isinstance(value, dict):
            value = AddedToken.of({k: v for k, v in value.items() if k != "special"}, special=True)
        if value is not None:
            settings[name] = by_content.get(str(value), value)
    settings["added_tokens_decoder"] = added
    return settings


def _take_from_tokenizer_json(settings: dict[str, Any], content: Mapping[str, Any]) -> None:
    """What only tokenizer.json says.

    Its normalizer counts when tokenizer_config.json is silent about all three switches.  transformers'
    BertTokenizer would then lower-case even a cased vocabulary; its AutoTokenizer and this follow the file.
    """
    normalizer = _normalizer(content)
    switches = {"do_lower_case": "lowercase", "strip_accents": "strip_accents"}
    switches["tokenize_chinese_chars"] = "handle_chinese_chars"
    if not settings.keys() & switches.keys():
        settings.update({ours: normalizer[theirs] for ours, theirs in switches.items() if theirs in normalizer})
    unk_token = (content.get("model") or {}).get("unk_token")
    if unk_token is not None:
        settings.setdefault("unk_token", unk_token)
    for part, name in (("truncation", "truncation_side"), ("padding", "padding_side")):
        if stored := content.get(part):
            settings.setdefault(name, str(stored.get("direction", "Right")).lower())


def _added_tokens(files: TokenizerFiles, settings: Mapping[str, Any]) -> dict[int, AddedToken]:
    added = {}
    special = {str(settings[name]) for name in NAMES if isinstance(settings.get(name), str)}
    special |= {str(token) for token in settings.get("extra_special_tokens") or ()}
    for content, token_id in files.added_tokens.items():
        added[token_id] = AddedToken(content, special=content in special)
    for token in files.tokenizer_json.get("added_tokens", []):
        added[token["id"]] = AddedToken.of(token)
    return added


# The arguments of BertTokenizer that files may give; other keys are other programs' business.
SETTINGS = frozenset(
    {*NAMES, "do_lower_case", "strip_accents", "tokenize_chinese_chars", "model_max_length", "padding_side"}
    | {"truncation_side", "model_input_names", "clean_up_tokenization_spaces", "split_special_tokens"}
    | {"extra_special_tokens", "additional_special_tokens", "added_tokens_decoder"}
)


def write_files(folder: Source, contents: Mapping[str, str]) -> tuple[str, ...]:
    """Write ``contents`` by file name into ``folder``; each file appears whole or not at all."""
    root = Path(folder).expanduser()
    if root.is_file():
        raise TokenizerError(f"{root} is a file; save_pretrained needs a folder to write {', '.join(contents)} into.")
    for name, content in contents.items():
        write_text(root / name, content)
    return tuple(str(root / name) for name in contents)


def vocab_text(vocab: Mapping[str, int]) -> str:
    """vocab.txt of ``vocab``.  A free id takes the text of the last token: read back, the last line counts."""
    tokens = {token_id: token for token, token_id in vocab.items()}
    last = max(tokens)
    return "".join(f"{tokens.get(i, tokens[last])}\n" for i in range(last + 1))


def to_json(content: Mapping[str, Any]) -> str:
    """``content`` as the ecosystem writes it: indented, Unicode as it is."""
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"
