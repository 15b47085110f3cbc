"""The command line: one verb a capability, a thin skin over the rooms.

A user's mistake prints one sentence on stderr and exits with 2; nothing here catches anything but our own errors.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert import __version__
from minibert.errors import MinibertError
from minibert.tables import table

if TYPE_CHECKING:
    from minibert.tokenizer import BertTokenizer

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 well, 1 a difference was found, 2 a mistake, 130 interrupted)."""
    options = build_parser().parse_args(arguments)
    run: Command = options.run
    try:
        code = run(options)
        sys.stdout.flush()  # here, where a reader that has gone away can be noticed
        return code
    except MinibertError as error:
        print(f"minibert: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minibert: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def build_parser() -> argparse.ArgumentParser:
    """All verbs with their options."""
    parser = argparse.ArgumentParser(
        prog="minibert", description="BERT that a person can read, trust, look inside, and use on real text."
    )
    parser.add_argument("--version", action="version", version=f"minibert {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    verb = add_verb(verbs, "inspect", inspect, "show what a checkpoint holds and what became of every tensor")
    verb.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, a weight file, or a hub name")
    verb.epilog = "example: minibert inspect path/to/bert-base-uncased"

    verb = add_verb(verbs, "tokenize", tokenize, "split texts into pieces, with ids and places in the text")
    add_texts(verb)
    verb.epilog = 'example: minibert tokenize "나는 배를 타고 여행을 간다." --model path/to/checkpoint'

    verb = add_verb(verbs, "embed", embed, "turn texts into vectors of unit length")
    add_texts(verb)
    verb.add_argument(
        "--pooling", metavar="NAME", help="mean, max, cls, pooler, concat_last4, … or a layer; default the checkpoint's"
    )
    verb.epilog = 'example: minibert embed "The sun is out." "It is a sunny day." --model path/to/checkpoint'

    verb = add_verb(verbs, "fill-mask", fill, "guess the words behind [MASK]")
    add_texts(verb)
    verb.add_argument("-k", "--top-k", type=positive, default=5, metavar="K", help="how many guesses (default 5)")
    verb.epilog = 'example: minibert fill-mask "Paris is the [MASK] of France." --model path/to/bert-base-uncased'

    verb = add_verb(verbs, "verify", verify, "prove that a checkpoint computes what it should, value by value")
    verb.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, a weight file, or a hub name")
    against = verb.add_mutually_exclusive_group(required=True)
    against.add_argument(
        "--against", metavar="WHAT", help="transformers, a golden file, or another checkpoint to compare with"
    )
    against.add_argument(
        "--published", nargs="?", const="", metavar="NAME", help="compare with values that other projects printed"
    )
    verb.add_argument(
        "--dtype", choices=("float32", "float64"), help="default float32; against a golden file: both, one by one"
    )
    verb.add_argument("--attention", choices=("eager", "sdpa"), default="eager", help="default eager, which has maps")
    verb.add_argument("--text", action="append", default=[], metavar="TEXT", help="compare on these texts instead")
    verb.add_argument("--all", action="store_true", help="show every point, not only the outer ones and differences")
    verb.epilog = "exit code 1: a point differs.  example: minibert verify path/to/checkpoint --against transformers"

    verb = add_verb(verbs, "golden", golden, "record a checkpoint's inner values in full precision, to verify against")
    verb.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, a weight file, or a hub name")
    verb.add_argument("-o", "--output", required=True, metavar="FILE", help="the .safetensors file to write")
    verb.add_argument("--text", action="append", default=[], metavar="TEXT", help="record on these texts instead")
    verb.add_argument("--layers", action="store_true", help="only embeddings, layers, pooler and head: a small file")
    verb.epilog = "example: minibert golden path/to/checkpoint -o golden.safetensors"

    verb = add_verb(
        verbs, "convert", convert, "write any checkpoint as a modern folder: config, safetensors, vocabulary"
    )
    verb.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, a weight file, or a hub name")
    verb.add_argument("-o", "--output", required=True, metavar="FOLDER", help="the folder to write")
    verb.add_argument(
        "--head", metavar="CLASS", help="for example BertForMaskedLM; default: what fits most of its tensors"
    )
    verb.epilog = "example: minibert convert uncased_L-12_H-768_A-12/bert_model.ckpt -o bert-base-uncased"
    return parser


def add_verb(verbs: Any, name: str, run: Command, description: str) -> argparse.ArgumentParser:
    """One verb with what all of them have."""
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=description, description=description.capitalize() + ".")
    verb.add_argument("--json", action="store_true", help="print JSON, for programs")
    verb.set_defaults(run=run)
    return verb


def add_texts(verb: argparse.ArgumentParser) -> None:
    """Texts and the checkpoint to use on them."""
    verb.add_argument("texts", nargs="+", metavar="TEXT", help="one or more texts, each in quotes")
    verb.add_argument("--model", required=True, metavar="CHECKPOINT", help="a folder or a hub name")


def positive(text: str) -> int:
    """An option's value that must be a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def print_json(content: object) -> None:
    """One JSON document on stdout: letters as they are, but nothing that would move a terminal's cursor."""
    text = json.dumps(content, ensure_ascii=False, indent=2)
    print(re.sub("[\x7f-\x9f]", lambda control: f"\\u{ord(control[0]):04x}", text))


def inspect(options: argparse.Namespace) -> int:
    """``minibert inspect``."""
    from minibert.checkpoint import load_architecture

    model = load_architecture(options.checkpoint)
    report, config = model.load_report, model.config
    assert report is not None
    if options.json:
        print_json(report.to_dict() | {"config": config.to_dict(), "parameters": model.num_parameters()})
        return 0
    print(
        f"{report.model}: {config.num_hidden_layers} layers, hidden size {config.hidden_size}, "
        f"{config.num_attention_heads} heads, {config.vocab_size:,} pieces, "
        f"{config.max_position_embeddings} positions, {model.num_parameters():,} parameters\n"
    )
    rows = [(t.name, "×".join(map(str, t.shape)), t.dtype, t.parameter or "not used", t.note) for t in report.tensors]
    print(table(("in the file", "shape", "kind", "in the model", "how or why"), rows))
    print(f"\n{report}")
    return 0


def load_tokenizer(options: argparse.Namespace) -> "BertTokenizer":
    """The tokenizer of ``--model``."""
    from minibert.tokenizer import BertTokenizer

    return BertTokenizer.from_pretrained(options.model)


def tokenize(options: argparse.Namespace) -> int:
    """``minibert tokenize``."""
    tokenizer = load_tokenizer(options)
    encodings = [tokenizer(text, return_offsets_mapping=True) for text in options.texts]
    found = [
        {
            "text": text,
            "tokens": tokenizer.convert_ids_to_tokens(encoding["input_ids"]),
            "ids": encoding["input_ids"],
            "offsets": encoding["offset_mapping"],
        }
        for text, encoding in zip(options.texts, encodings, strict=True)
    ]
    if options.json:
        print_json(found)
        return 0
    for entry in found:
        text = entry["text"]
        rows = [
            (number, token, token_id, f"{start}–{end}", text[start:end])
            for number, (token, token_id, (start, end)) in enumerate(
                zip(entry["tokens"], entry["ids"], entry["offsets"], strict=True)
            )
        ]
        print(f"{text}\n")
        print(table(("", "piece", "id", "place", "in the text"), rows, right=("", "id")), end="\n\n")
    return 0


def embed(options: argparse.Namespace) -> int:
    """``minibert embed``."""
    from minibert import Embedder

    choice = int(options.pooling) if (options.pooling or "").lstrip("-").isdecimal() else options.pooling
    vectors = Embedder.from_pretrained(options.model).encode(options.texts, choice, normalize=True)
    if options.json:
        print_json([{"text": t, "vector": v} for t, v in zip(options.texts, vectors.tolist(), strict=True)])
        return 0
    for text, vector in zip(options.texts, vectors.tolist(), strict=True):
        print(f"{text}\n  {len(vector)} numbers: {', '.join(f'{x:+.4f}' for x in vector[:6])}, …\n")
    if len(options.texts) > 1:
        print("cosine similarity")
        rows = [
            (text, *(f"{x:.4f}" for x in row))
            for text, row in zip(options.texts, (vectors @ vectors.T).tolist(), strict=True)
        ]
        columns = [str(number) for number in range(1, len(rows) + 1)]
        print(table(("", *columns), rows, right=columns))
    return 0


def fill(options: argparse.Namespace) -> int:
    """``minibert fill-mask``."""
    from dataclasses import asdict

    from minibert import BertForMaskedLM, fill_mask

    tokenizer = load_tokenizer(options)
    model = BertForMaskedLM.from_pretrained(options.model)
    results = [(text, fill_mask(model, tokenizer, text, options.top_k)) for text in options.texts]
    if options.json:
        print_json([{"text": text, "gaps": [[asdict(g) for g in gap] for gap in gaps]} for text, gaps in results])
        return 0
    for text, gaps in results:
        print(text)
        for number, gap in enumerate(gaps, start=1):
            rows = [(guess.token, guess.token_id, f"{guess.probability:.4f}") for guess in gap]
            print(f"\ngap {number} of {len(gaps)}")
            print(table(("piece", "id", "probability"), rows, right=("id", "probability")), end="\n\n")
    return 0


def verify(options: argparse.Namespace) -> int:
    """``minibert verify``."""
    from minibert import verify as room

    if options.published is not None:
        published = room.verify_published(options.checkpoint, options.published or None)
        if options.json:
            print_json(published.to_dict())
        else:
            print(published)
        return 0 if published.same else 1
    report = room.verify(
        options.checkpoint,
        options.against,
        dtype=options.dtype,
        attention=options.attention,
        texts=options.text,
    )
    if options.json:
        print_json(report.to_dict())
    else:
        print(report.to_text(every_point=options.all))
    return 0 if report.same else 1


def golden(options: argparse.Namespace) -> int:
    """``minibert golden``."""
    from minibert.verify import make_golden

    path = Path(options.output)
    points = make_golden(options.checkpoint, path, texts=options.text, only_layers=options.layers)
    size = path.stat().st_size
    if options.json:
        print_json({"file": str(path), "points": points, "bytes": size})
    else:
        print(f"{path}: {points} points in float64 and float32, {size:,} bytes")
        print(f"to compare with it: minibert verify {options.checkpoint} --against {path}")
    return 0


def convert(options: argparse.Namespace) -> int:
    """``minibert convert``."""
    from minibert.checkpoint.convert import convert as write

    report, files = write(options.checkpoint, options.output, options.head)
    if options.json:
        print_json(report.to_dict() | {"written": files})
    else:
        print(f"{report}\nwritten to {options.output}: {', '.join(files)}")
    return 0
