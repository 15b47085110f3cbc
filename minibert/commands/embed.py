"""``minibert embed``: print the vectors of a few texts, or write those of a whole file to a folder."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from minibert.commands.verb import add_texts, add_verb, log_to_stderr, positive, print_json
from minibert.errors import InputError
from minibert.terminal import table

if TYPE_CHECKING:
    from torch import Tensor

    from minibert.embedding import Embedder

OF_A_FILE = {
    "output": "--output", "column": "--column", "id_column": "--id-column", "format": "--format",
    "shard_rows": "--shard-rows", "keep_text": "--no-text", "skip_bad": "--skip-bad", "worker": "--worker",
}  # fmt: skip
MODEL_DTYPES = ("float32", "bfloat16", "float16")
OF_VECTORS = ("int8", "uint8", "binary", "ubinary")


def add(verbs: Any) -> None:
    """``embed``."""
    verb = add_verb(verbs, "embed", embed, "turn texts, or a whole file of them, into vectors of unit length")
    add_texts(verb, nargs="*")
    verb.add_argument(
        "--pooling",
        type=layers,
        metavar="NAME",
        help="mean, max, cls, pooler, concat_last4, … or a hidden state, or cls,mean; default the checkpoint's",
    )
    verb.add_argument(
        "--layers",
        type=layers,
        metavar="WHICH",
        help="hidden states to pool: a name, a number (0: the embeddings), or 1,6; default last",
    )
    verb.add_argument(
        "--normalize", action=argparse.BooleanOptionalAction, default=True, help="to unit length (default yes)"
    )
    verb.add_argument(
        "--long", choices=("truncate", "windows"), help="cut long texts (default), or average over windows"
    )
    verb.add_argument("--prompt", metavar="TEXT", help="put before each text, such as 'query: '")
    verb.add_argument(
        "--prompt-name",
        metavar="NAME",
        help="one of the checkpoint's prompts; default its default one, for a whole file first its document prompt",
    )
    verb.add_argument(
        "--truncate-dim", type=positive, metavar="N", help="keep the first N numbers of a vector (default all)"
    )
    verb.add_argument("--device", metavar="NAME", help="cuda, mps, cuda:1, … or auto, the best there is; default cpu")
    verb.add_argument(
        "--dtype",
        choices=(*MODEL_DTYPES, *OF_VECTORS),
        help=f"of the model: {', '.join(MODEL_DTYPES)} (default float32); {', '.join(OF_VECTORS)}, which no model has: "
        "the same as --precision",
    )
    verb.add_argument(
        "--precision",
        choices=("float32", "float16", *OF_VECTORS),
        help="of the vectors: float16 takes half the bytes of float32 (the default), int8 and uint8 a quarter, binary "
        "and ubinary (a bit per number) a 32nd; for a whole file, what is lost is measured on a sample of its rows",
    )
    verb.add_argument(
        "--backend",
        choices=("auto", "torch", "onnxruntime", "openvino"),
        help="what computes; auto measures which is the fastest here, once (default torch, for a file that was begun "
        "what it was begun with)",
    )

    corpus = verb.add_argument_group(
        "a whole file",
        "Memory stays flat however long the file is. Stopped at any moment, the same command goes on where it was.",
    )
    corpus.add_argument(
        "--input",
        metavar="FILE",
        help=".txt (one text per line, empty lines too), .csv, .tsv, .jsonl or .parquet; UTF-8; also .gz and .zst",
    )
    corpus.add_argument("--output", metavar="DIR", help="the folder for numbered shards and manifest.json")
    corpus.add_argument("--column", metavar="NAME", help="which column holds the texts")
    corpus.add_argument("--id-column", metavar="NAME", help="which holds ids to keep; default the row's number, from 1")
    corpus.add_argument("--format", choices=("safetensors", "npy", "parquet"), help="default safetensors")
    corpus.add_argument("--shard-rows", type=positive, metavar="N", help="rows of the input per shard (default 4096)")
    corpus.add_argument(
        "--no-text", dest="keep_text", action="store_false", default=None, help="keep no texts beside the vectors"
    )
    corpus.add_argument(
        "--skip-bad", action="store_true", default=None, help="leave out rows that cannot be read; count and list them"
    )
    corpus.add_argument(
        "--worker", type=worker, metavar="I/N", help="make every N-th shard from shard I (0/2 and 1/2: two workers)"
    )
    verb.epilog = (
        'example: minibert embed "The sun is out." "It is a sunny day."; or: '
        "minibert embed --input reviews.csv --column text --output vectors --precision int8 --model path/to/checkpoint"
    )


def embed(options: argparse.Namespace) -> int:
    """``minibert embed``."""
    given = {name: getattr(options, name) for name in OF_A_FILE if getattr(options, name) is not None}
    read_precision(options)
    if options.texts and options.input:
        raise InputError("Give texts to print their vectors, or --input FILE with --output DIR; not both.")
    if options.input:
        return embed_file(options, given)
    if given:
        raise InputError(f"{OF_A_FILE[next(iter(given))]} is for a whole file: give one with --input FILE.")
    if not options.texts:
        raise InputError("There is nothing to embed: give texts, or --input FILE with --output DIR.")
    if options.precision in ("int8", "uint8") and len(options.texts) == 1:
        raise InputError(f"{options.precision} takes its ranges from the vectors of several texts; give more than one.")
    return embed_texts(options)


def read_precision(options: argparse.Namespace) -> None:
    """``--dtype int8`` as ``--precision int8``: no model has it, so the vectors are meant."""
    if options.dtype in OF_VECTORS:
        if options.precision not in (None, options.dtype):
            raise InputError(
                f"--dtype {options.dtype} and --precision {options.precision} are two precisions of the vectors; give "
                "--precision, and --dtype only for the model."
            )
        options.dtype, options.precision = None, options.dtype
    options.precision = options.precision or "float32"


def encoding(options: argparse.Namespace) -> dict[str, Any]:
    """The options that are arguments of ``Embedder.encode``."""
    names = ("pooling", "layers", "normalize", "long", "prompt", "prompt_name", "truncate_dim")
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def embed_texts(options: argparse.Namespace) -> int:
    """Print the vectors of a few texts, and their cosine similarities."""
    import torch.nn.functional as F

    from minibert.embedding import Embedder
    from minibert.embedding.backends import check_backend

    check_backend(options.backend or "torch")
    embedder = Embedder.from_pretrained(options.model, device=options.device, dtype=options.dtype)
    use_backend(embedder, options.backend, options)
    vectors = embedder.encode(options.texts, **encoding(options))
    stored = vectors
    if options.precision != "float32":
        stored, vectors = quantized(vectors, options.precision)
    if options.json:
        print_json([{"text": t, "vector": v} for t, v in zip(options.texts, stored.tolist(), strict=True)])
        return 0
    unit = "bytes" if options.precision in ("binary", "ubinary") else "numbers"
    form = "+.4f" if stored.is_floating_point() else "d"
    for text, vector in zip(options.texts, stored.tolist(), strict=True):
        print(f"{text}\n  {len(vector)} {unit}: {', '.join(f'{x:{form}}' for x in vector[:6])}, …\n")
    if len(options.texts) > 1:
        print("cosine similarity")
        vectors = F.normalize(vectors, dim=-1)
        rows = [
            (text, *(f"{x:.4f}" for x in row))
            for text, row in zip(options.texts, (vectors @ vectors.T).tolist(), strict=True)
        ]
        columns = [str(number) for number in range(1, len(rows) + 1)]
        print(table(("", *columns), rows, right=columns))
    return 0


def quantized(vectors: "Tensor", precision: str) -> tuple["Tensor", "Tensor"]:
    """Vectors as they are stored, with ranges of their own, and what is read back of them."""
    from minibert.embedding.precision import dequantize_embeddings, quantize_embeddings, ranges_of

    ranges = ranges_of(vectors)
    stored = quantize_embeddings(vectors, precision, ranges)
    return stored, dequantize_embeddings(stored, precision, vectors.shape[1], ranges)


def embed_file(options: argparse.Namespace, given: dict[str, Any]) -> int:
    """Write the vectors of a file into a folder."""
    from minibert.corpus import embed_corpus
    from minibert.corpus.manifest import begun_with
    from minibert.corpus.run import SHARD_ROWS, check_arguments
    from minibert.data.opening import open_texts
    from minibert.destination import check_folder
    from minibert.devices import find_device
    from minibert.embedding import Embedder
    from minibert.embedding.backends import check_backend
    from minibert.source import as_path

    if "output" not in given:
        raise InputError("Say where the vectors go: --output DIR, a new folder or one to go on with.")
    output = given.pop("output")
    # Before a checkpoint is loaded.
    find_device(options.device)
    check_folder(output)
    plan = {"format": "safetensors", "shard_rows": SHARD_ROWS, "worker": (0, 1), **given}
    check_arguments(plan["format"], plan["shard_rows"], plan["worker"])
    begun = begun_with(as_path(output))
    backend = begun or options.backend
    if begun and options.backend not in (None, begun):
        print(f"minibert: {output} was begun with the backend {begun}, so it goes on with that.", file=sys.stderr)
    check_backend(backend or "torch")
    with log_to_stderr("minibert.data"):
        given["column"] = open_texts(options.input, given.get("column"), given.get("id_column")).named_column
    try:
        embedder = Embedder.from_pretrained(options.model, device=options.device, dtype=options.dtype)
        use_backend(embedder, backend, options)
        report = embed_corpus(
            embedder, options.input, output, precision=options.precision, **given, **encoding(options)
        )
    except KeyboardInterrupt:
        print(
            f"minibert: interrupted; {output} keeps the shards that are complete, the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    if options.json:
        print_json(report.to_dict())
    else:
        print(report)
    return 0


def use_backend(embedder: "Embedder", name: str | None, options: argparse.Namespace) -> None:
    """Let the embedder compute with ``name``, by a graph of the hidden states that the options ask for."""
    if name in (None, "torch"):
        return
    pooling = embedder.pooling if options.pooling is None else options.pooling
    layers = embedder.choose(pooling, "last" if options.layers is None else options.layers, None)[1]
    print(f"minibert: {embedder.use_backend(name, layers.numbers)}", file=sys.stderr)


def layers(text: str) -> str | int | list[int] | list[str]:
    """A name, a number, or several with commas between: ``mean``, ``-1``, ``1,6``, ``cls,mean``."""
    parts = text.split(",")
    if not all(part.strip().lstrip("-").isdecimal() for part in parts):
        return [part.strip() for part in parts] if len(parts) > 1 else text
    numbers = [int(part) for part in parts]
    return numbers if len(numbers) > 1 else numbers[0]


def worker(text: str) -> tuple[int, int]:
    """``1/4``: the second of four workers."""
    number, _, workers = text.partition("/")
    if not (number.isdecimal() and workers.isdecimal() and int(number) < int(workers)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N: 0/2 and 1/2 are two workers")
    return int(number), int(workers)
