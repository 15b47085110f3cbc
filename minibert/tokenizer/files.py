"""Reading and writing the files of a tokenizer: vocab.txt, tokenizer.json, tokenizer_config.json, and two older ones.

Google shipped vocab.txt: one token per line, its id the number of the line.  Others added tokenizer_config.json
(settings), special_tokens_map.json and added_tokens.json, then tokenizer.json (everything).  Where they disagree, the
order of precedence is transformers': explicit arguments, tokenizer_config.json, special_tokens_map.json,
tokenizer.json, defaults; and the vocabulary of tokenizer.json before vocab.txt.  Start with ``load_settings``.
"""

import codecs
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minibert.errors import TokenizerError, reason_of
from minibert.files import LARGEST_JSON, LARGEST_SETTINGS, is_file, read_json, write_text
from minibert.schema import (
    COUNT,
    FLAG,
    NAME,
    TEXT,
    Kind,
    check_settings,
    either,
    is_real,
    list_of,
    object_of,
    one_of,
    optional,
    shown,
)
from minibert.source import Checkpoint, Source, as_path
from minibert.tokenizer.added_tokens import AddedToken
from minibert.tokenizer.basic import BasicTokenizer
from minibert.tokenizer.characters import is_white_space
from minibert.tokenizer.vocabulary import SPECIAL_TOKEN_NAMES, SpecialTokens, Vocabulary
from minibert.tokenizer.wordpiece import CONTINUATION, MAX_CHARACTERS_PER_WORD

logger = logging.getLogger(__name__)

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
VOCAB_FILE, TOKENIZER_FILE, CONFIG_FILE = "vocab.txt", "tokenizer.json", "tokenizer_config.json"
# Pieces without the rules around them, which a tokenizer.json holds; looked for where there is none.
PARTS = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "sentencepiece.model", "vocab.json")
# The library reads vocab.txt with Rust's line.trim_end().
_WHITE_SPACE = "".join(filter(is_white_space, map(chr, range(0x3001))))
_TRAILING_SPACE = re.compile(f"[{_WHITE_SPACE.replace(chr(10), '')}]$", re.MULTILINE)


FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def _is_token(value: Any) -> bool:
    if not isinstance(value, dict):
        return isinstance(value, str) or hasattr(value, "content")  # an AddedToken, ours or the library's
    flags = (value.get(flag) for flag in FLAGS)
    return isinstance(value.get("content"), str) and all(flag is None or type(flag) is bool for flag in flags)


def _is_id(key: Any) -> bool:
    """Ids are text where they are keys of JSON, and numbers in Python."""
    if isinstance(key, str) and re.fullmatch(r"0|[1-9][0-9]{0,8}", key):
        key = int(key)
    return COUNT.holds(key)


TOKEN = Kind(_is_token, "a token: its text, or an object with its content and true or false for lstrip, rstrip …")
TOKEN_FIELDS = Kind(lambda x: not isinstance(x, str) and _is_token(x), "an object with a token's content")
TOKENS = optional(either(list_of(TOKEN), object_of(TOKEN)))
ADDED = Kind(
    lambda x: isinstance(x, dict) and all(_is_id(key) and TOKEN_FIELDS.holds(token) for key, token in x.items()),
    'an object of ids and tokens, {"30522": {"content": "<e>"}}',
)
LIMIT = Kind(lambda x: is_real(x) and x >= 1, "a number of tokens, at least 1")
EXTRA = ("extra_special_tokens", "additional_special_tokens")  # today's name and the older one
SIDE = one_of("left", "right")
# The arguments of BertTokenizer that files may hold; other keys are ignored.
SETTINGS: dict[str, Kind] = {
    **dict.fromkeys(SPECIAL_TOKEN_NAMES, optional(TOKEN)),
    **dict.fromkeys(EXTRA, TOKENS),
    "do_lower_case": FLAG,
    "strip_accents": optional(FLAG),
    "tokenize_chinese_chars": FLAG,
    "model_max_length": optional(LIMIT),
    "padding_side": SIDE,
    "truncation_side": SIDE,
    "model_input_names": list_of(NAME),
    "clean_up_tokenization_spaces": FLAG,
    "split_special_tokens": FLAG,
    "added_tokens_decoder": optional(ADDED),
    "do_basic_tokenize": FLAG,
    "never_split": optional(list_of(TEXT)),
}
WRITTEN = (  # attributes that tokenizer_config.json holds, for every kind of tokenizer
    *("clean_up_tokenization_spaces", "model_input_names", "model_max_length", "padding_side"),
    *("split_special_tokens", "truncation_side"),
)
CLASSES = {"tokenizer_class": optional(NAME), "word_tokenizer_type": optional(NAME)}
CLASSES |= {"subword_tokenizer_type": optional(NAME)}
CONFIG_SCHEMA = {**SETTINGS, **CLASSES, "max_len": optional(LIMIT)}
MAP_SCHEMA = {
    name: SETTINGS[name] for name in (*SPECIAL_TOKEN_NAMES, "extra_special_tokens", "additional_special_tokens")
}
OBJECT = Kind(lambda x: isinstance(x, dict), "an object")
ADDED_ENTRY = Kind(lambda x: TOKEN_FIELDS.holds(x) and COUNT.holds(x.get("id")), "an object with an id and a content")
PIPELINE_SCHEMA = {
    **dict.fromkeys(("normalizer", "pre_tokenizer", "post_processor", "truncation", "padding"), optional(OBJECT)),
    "model": OBJECT,
    "added_tokens": optional(list_of(ADDED_ENTRY)),
}
NORMALIZER_SCHEMA = {
    "lowercase": FLAG,
    "strip_accents": optional(FLAG),
    "handle_chinese_chars": FLAG,
    "normalizers": list_of(OBJECT),
}
MODEL_SCHEMA = {"unk_token": optional(TEXT)}
PART_SCHEMA = {"direction": one_of("Left", "Right")}  # of truncation and padding


class OtherPipelineError(TokenizerError):
    """A tokenizer.json whose pipeline is not BERT's: the rules of this room would give other ids."""


@dataclass
class TokenizerFiles:
    """The vocabulary and the content of each settings file, empty where there is no such file."""

    origin: str
    vocab: dict[str, int]
    config: dict[str, Any] = field(default_factory=dict)
    special_tokens_map: dict[str, Any] = field(default_factory=dict)
    added_tokens: dict[str, int] = field(default_factory=dict)
    model_config: dict[str, Any] = field(default_factory=dict)
    tokenizer_json: dict[str, Any] = field(default_factory=dict)
    other_pipeline: str | None = None  # why the tokenizer.json is not BERT's own pipeline; then ``vocab`` is empty


def open_tokenizer_files(checkpoint: Checkpoint) -> TokenizerFiles:
    """Read the tokenizer of a checkpoint, which may be a single vocab.txt or tokenizer.json.

    Raises TokenizerError when there is no vocabulary or it cannot be read.
    """
    path = checkpoint.file
    if path is not None and path.name.endswith(TOKENIZER_FILE):
        files = TokenizerFiles(str(path), vocab={})
        _read_pipeline(files, path)
        return files
    if path is not None and path.suffix == ".txt":
        return TokenizerFiles(str(path), read_vocab(path))
    if path is not None and path.suffix == ".model":
        refuse_part(path)
    tokenizer_file, vocab_file = checkpoint.find(TOKENIZER_FILE), checkpoint.find(VOCAB_FILE)

    def content_of(name: str, schema: Mapping[str, Kind]) -> dict[str, Any]:
        path = checkpoint.find(name)
        return _read(path, schema) if path else {}

    files = TokenizerFiles(
        origin=str(tokenizer_file or vocab_file or checkpoint),
        vocab={},
        config=content_of(CONFIG_FILE, CONFIG_SCHEMA),
        special_tokens_map=content_of("special_tokens_map.json", MAP_SCHEMA),
        added_tokens=content_of("added_tokens.json", {}),
        model_config=content_of("config.json", {"tokenizer_class": optional(NAME)}),
    )
    for token, token_id in files.added_tokens.items():
        if not COUNT.holds(token_id):
            raise TokenizerError(
                f"{files.origin}: beside it, added_tokens.json gives {token!r} the id {shown(token_id)}; expected "
                f"{COUNT.expected}."
            )
    if tokenizer_file:
        _read_pipeline(files, tokenizer_file)
    elif vocab_file:
        files.vocab = read_vocab(vocab_file)
    else:
        refuse_parts(checkpoint)
        raise TokenizerError(
            f"{os.fspath(checkpoint)!r} holds neither {VOCAB_FILE} nor {TOKENIZER_FILE}, so there is no vocabulary to "
            "tokenize with. Put the model's vocab.txt beside its weights, or give its path: BertTokenizer('vocab.txt')."
        )
    return files


def refuse_parts(checkpoint: Checkpoint) -> None:
    """TokenizerError if a checkpoint brings its pieces in a form that first has to become a tokenizer.json."""
    for name in PARTS:
        if (path := checkpoint.find(name)) is not None:
            refuse_part(path)


def refuse_part(path: Path) -> None:
    """TokenizerError that says how ``path`` becomes a tokenizer.json."""
    kind = "the pieces of a byte-pair encoding" if path.suffix == ".json" else "a model of SentencePiece"
    raise TokenizerError(
        f"{path} is {kind}, without a tokenizer.json that says how text becomes such pieces. transformers writes one: "
        'pip install transformers sentencepiece protobuf, then python -c "from transformers import AutoTokenizer; '
        "AutoTokenizer.from_pretrained('FOLDER').save_pretrained('FOLDER')\", with the folder of the checkpoint. "
        "minibert then reads FOLDER/tokenizer.json."
    )


def _read_pipeline(files: TokenizerFiles, path: Path) -> None:
    """Read a tokenizer.json into ``files``: its vocabulary if the pipeline is BERT's, else why it is not."""
    files.tokenizer_json = _read(path, PIPELINE_SCHEMA, LARGEST_JSON)
    if "model" not in files.tokenizer_json:
        raise TokenizerError(f"{path} is not a tokenizer: it has no model, which holds the vocabulary.")
    for part in ("truncation", "padding"):
        check_settings(files.tokenizer_json.get(part) or {}, PART_SCHEMA, f"{path}: {part}", TokenizerError)
    try:
        files.vocab = _vocab_of(files.tokenizer_json, path)
    except OtherPipelineError as error:
        files.other_pipeline = str(error)


def _read(path: Path, schema: Mapping[str, Kind], largest: int = LARGEST_SETTINGS) -> dict[str, Any]:
    """The JSON object in ``path``, its values checked against ``schema``."""
    content: dict[str, Any] = read_json(path, largest=largest)
    check_settings(content, schema, path, TokenizerError)
    return content


def read_vocab(path: Source) -> dict[str, int]:
    """The vocabulary of a vocab.txt: one token per line, its id the line number from 0; of equal lines the last."""
    try:
        is_file(Path(path))  # refuses pipes and devices, which may be endless
        content = Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise TokenizerError(
            f"{os.fspath(path)} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}. "
            "A BERT vocabulary is UTF-8 text; this may be another file, or one saved in another encoding"
            f"{' (UTF-16, as Windows calls Unicode)' if error.object[:2] in _UTF_16 else ''}. Save it as UTF-8."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL or a lone surrogate in the path
        raise TokenizerError(f"The vocabulary {os.fspath(path)!r} cannot be read: {reason_of(error)}.") from error
    if content[:1] == "\ufeff":
        raise TokenizerError(
            f"{os.fspath(path)} begins with a byte-order mark (U+FEFF), which would be part of its first token: "
            f"{content.partition(chr(10))[0].rstrip()!r}. Save it as UTF-8 without one."
        )
    if "\0" in content:
        raise TokenizerError(
            f"{os.fspath(path)} holds NUL characters. A BERT vocabulary is UTF-8 text; this may be another file, or "
            "one saved as UTF-16. Save it as UTF-8."
        )
    lines = content.split("\n")
    if not lines[-1]:
        lines.pop()
    if _TRAILING_SPACE.search(content):
        lines = [line.rstrip(_WHITE_SPACE) for line in lines]
    vocab = dict(zip(lines, range(len(lines)), strict=True))
    if len(vocab) < len(lines):
        number, token = next((i, line) for i, line in enumerate(lines) if vocab[line] != i)
        logger.warning(
            "%s: %d of %d lines hold a token that comes again further down, first line %d: %r. The last line counts; "
            "the ids of the others are not used.",
            path,
            len(lines) - len(vocab),
            len(lines),
            number + 1,
            token,
        )
    return vocab


def _vocab_of(content: Mapping[str, Any], path: Path) -> dict[str, int]:
    """The vocabulary of a tokenizer.json; OtherPipelineError if it does not describe BERT's pipeline."""
    model = content.get("model") or {}
    check_settings(model, MODEL_SCHEMA, f"{path}: model", TokenizerError)
    vocab = model.get("vocab")
    model_type = model.get("type", "WordPiece" if isinstance(vocab, dict) and "merges" not in model else None)
    is_wordpiece = model_type == "WordPiece" and isinstance(vocab, dict)
    _expect(is_wordpiece, "model", model_type, "WordPiece with a vocabulary")
    prefix = model.get("continuing_subword_prefix", CONTINUATION)
    _expect(prefix == CONTINUATION, "continuing_subword_prefix", prefix, CONTINUATION)
    longest = model.get("max_input_chars_per_word", MAX_CHARACTERS_PER_WORD)
    _expect(longest == MAX_CHARACTERS_PER_WORD, "max_input_chars_per_word", longest, MAX_CHARACTERS_PER_WORD)
    check_settings(content.get("normalizer") or {}, NORMALIZER_SCHEMA, f"{path}: normalizer", TokenizerError)
    normalizer = _normalizer(content)
    check_settings(normalizer, NORMALIZER_SCHEMA, f"{path}: normalizer", TokenizerError)
    normalizer_type = normalizer.get("type")
    _expect(normalizer_type == "BertNormalizer", "normalizer", normalizer_type, "BertNormalizer")
    _expect(normalizer.get("clean_text", True) is True, "normalizer's clean_text", False, "true")
    splitter = (content.get("pre_tokenizer") or {}).get("type")
    _expect(splitter == "BertPreTokenizer", "pre_tokenizer", splitter, "BertPreTokenizer")
    post_processor = content.get("post_processor") or {"type": "BertProcessing"}
    layout = "[CLS] A [SEP] B [SEP], segments 0 and 1"
    _expect(_is_bert_layout(post_processor), "post_processor", post_processor.get("type"), layout)
    assert isinstance(vocab, dict)
    return vocab


def _expect(holds: bool, part: str, value: object, expected: object) -> None:
    if not holds:
        raise OtherPipelineError(f"its {part} is {value!r}, where BERT's own is {expected}")


def _normalizer(content: Mapping[str, Any]) -> dict[str, Any]:
    normalizer: dict[str, Any] = content.get("normalizer") or {}
    steps = normalizer.get("normalizers", [])
    return steps[0] if normalizer.get("type") == "Sequence" and len(steps) == 1 else normalizer


def _is_bert_layout(post_processor: Mapping[str, Any]) -> bool:
    if post_processor.get("type") == "BertProcessing":
        return True
    pair = post_processor.get("pair")
    if post_processor.get("type") != "TemplateProcessing" or not isinstance(pair, list):
        return False
    if not all(isinstance(piece, dict) and all(map(OBJECT.holds, piece.values())) for piece in pair):
        return False
    shape = [(*piece, *(part.get("type_id") for part in piece.values())) for piece in pair]
    a, b, special = ("Sequence", 0), ("Sequence", 1), "SpecialToken"
    return shape == [(special, 0), a, (special, 0), b, (special, 1)]


def load_settings(files: TokenizerFiles, explicit: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for ``BertTokenizer`` from its files; ``explicit`` ones take precedence.

    Stored truncation and padding of a tokenizer.json are ignored: rows are truncated and padded when a call asks.
    """
    check_settings(explicit, SETTINGS, "from_pretrained", TokenizerError)
    settings = {name: value for name, value in files.config.items() if name in SETTINGS}
    for name in ("do_basic_tokenize", "never_split"):
        settings.pop(name, None)  # see agreement.check_older_settings
    if "max_len" in files.config:
        settings.setdefault("model_max_length", files.config["max_len"])
    _take_from_tokenizer_json(settings, files.tokenizer_json)
    settings.update(explicit)
    if not settings.get("extra_special_tokens"):
        settings["extra_special_tokens"] = settings.pop("additional_special_tokens", None)
    added: dict[int, AddedToken]
    if (decoder := settings.get("added_tokens_decoder")) is not None:
        added = {int(token_id): AddedToken.of(token) for token_id, token in decoder.items()}
    else:
        for name, value in files.special_tokens_map.items():
            if name in SETTINGS and not explicit.get(name):
                settings[name] = value
        added = _added_tokens(files, settings)
    by_content = {token.content: token for token in added.values()}
    for name in SPECIAL_TOKEN_NAMES:
        value = settings.get(name)
        if isinstance(value, dict):
            value = AddedToken.of({k: v for k, v in value.items() if k != "special"}, special=True)
        if value is not None:
            settings[name] = by_content.get(str(value), value)
    settings["added_tokens_decoder"] = added
    return settings


def _take_from_tokenizer_json(settings: dict[str, Any], content: Mapping[str, Any]) -> None:
    """Add the settings that only tokenizer.json holds.

    Its normalizer counts if tokenizer_config.json has none of the three switches.  transformers' BertTokenizer would
    then lower-case even with a cased vocabulary; its AutoTokenizer and minibert follow the file.
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
            settings.setdefault(name, stored.get("direction", "Right").lower())


def _added_tokens(files: TokenizerFiles, settings: Mapping[str, Any]) -> dict[int, AddedToken]:
    added: dict[int, AddedToken] = {}
    special = {str(settings[name]) for name in SPECIAL_TOKEN_NAMES if isinstance(settings.get(name), str)}
    special |= {str(token) for token in settings.get("extra_special_tokens") or ()}
    for content, token_id in files.added_tokens.items():
        added[token_id] = _only_one(added.get(token_id), AddedToken(content, special=content in special), token_id)
    for token in files.tokenizer_json.get("added_tokens") or ():
        added[token["id"]] = _only_one(added.get(token["id"]), AddedToken.of(token), token["id"])
    return added


def _only_one(present: AddedToken | None, token: AddedToken, token_id: int) -> AddedToken:
    if present is not None and present.content != token.content:
        raise TokenizerError(
            f"The files of the tokenizer give the id {token_id} to {present.content!r} and to {token.content!r}; an id "
            "is one row of the embedding table. Correct added_tokens.json or added_tokens in tokenizer.json."
        )
    return token


def write_files(folder: Source, contents: Mapping[str, str]) -> tuple[str, ...]:
    """Write ``contents`` (text by file name) into ``folder``; each file is written whole or not at all."""
    if not isinstance(folder, str | os.PathLike) or isinstance(os.fspath(folder), bytes):
        raise TokenizerError(f"{folder!r:.80} is not a folder to write {', '.join(contents)} into; give its path.")
    root = as_path(folder)
    if root.is_file():
        raise TokenizerError(f"{root} is a file; save_pretrained needs a folder to write {', '.join(contents)} into.")
    for name, content in contents.items():
        write_text(root / name, content)
    return tuple(str(root / name) for name in contents)


def vocab_text(vocab: Mapping[str, int]) -> str:
    """``vocab`` as vocab.txt.  A free id has the text of the last token: of equal lines the last counts."""
    tokens = {token_id: token for token, token_id in vocab.items()}
    last = max(tokens)
    if last > 2 * len(tokens) + 1000:
        raise TokenizerError(f"The vocabulary has {len(tokens)} tokens and ids up to {last}; vocab.txt counts lines.")
    return "".join(f"{tokens.get(i, tokens[last])}\n" for i in range(last + 1))


def config_of(tokenizer: Any, class_name: str, *rules: str) -> dict[str, Any]:
    """The content of a tokenizer's tokenizer_config.json; ``rules`` are further attributes that belong there."""
    config = {name: getattr(tokenizer, name) for name in (*rules, *WRITTEN)}
    added = {str(i): token.to_json() for i, token in tokenizer.added_tokens_decoder.items()}
    more = {"added_tokens_decoder": added, "tokenizer_class": class_name, **tokenizer.special_tokens_map}
    if tokenizer.extra_special_tokens:  # under the name that transformers 4 and 5 both take as a list
        more["additional_special_tokens"] = tokenizer.extra_special_tokens
    return dict(sorted({**config, **more}.items()))


def tokenizer_files(
    config: Mapping[str, Any], vocabulary: Vocabulary, basic: BasicTokenizer, special: SpecialTokens
) -> dict[str, str]:
    """The files of a tokenizer by name; ``config`` is the content of tokenizer_config.json."""
    pipeline = _pipeline(vocabulary, basic, special)
    return {
        VOCAB_FILE: vocab_text(vocabulary.base),
        CONFIG_FILE: json.dumps(config, ensure_ascii=False, indent=2) + "\n",
        TOKENIZER_FILE: json.dumps(pipeline, ensure_ascii=False, indent=2) + "\n",
    }


def _pipeline(vocabulary: Vocabulary, basic: BasicTokenizer, special: SpecialTokens) -> dict[str, Any]:
    """The content of tokenizer.json, the ``tokenizers`` library's description of a pipeline, without stored padding."""

    def piece(token: str, type_id: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": type_id}}

    def sequence(name: str, type_id: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": type_id}}

    frame = special.frame()
    (cls_id, cls, _), (sep_id, sep, _) = frame.cls, frame.sep
    single = [piece(cls, 0), sequence("A", 0), piece(sep, 0)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": token_id, **token.to_json()} for token_id, token in sorted(vocabulary.added.items())],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": basic.tokenize_chinese_chars,
            "strip_accents": basic.strip_accents,
            "lowercase": basic.do_lower_case,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, sequence("B", 1), piece(sep, 1)],
            "special_tokens": {
                token: {"id": token, "ids": [token_id], "tokens": [token]}
                for token, token_id in ((cls, cls_id), (sep, sep_id))
            },
        },
        "decoder": {"type": "WordPiece", "prefix": CONTINUATION, "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": str(special["unk_token"]),
            "continuing_subword_prefix": CONTINUATION,
            "max_input_chars_per_word": MAX_CHARACTERS_PER_WORD,
            "vocab": dict(sorted(vocabulary.base.items(), key=lambda item: item[1])),
        },
    }
