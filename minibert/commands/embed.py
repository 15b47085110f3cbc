"""``minibert embed``: print the vectors of a few texts, or write those of a whole file to a folder."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.commands.verb import add_texts, add_verb, log_to_stderr, positive, print_json, say_interrupted
from minibert.errors import InputError
from minibert.terminal import table

if TYPE_CHECKING:
    from torch import Tensor

    from minibert.corpus import CorpusReport, Plan
    from minibert.embedding import Embedder

OF_A_FILE = {
    "output": "--output", "column": "--column", "id_column": "--id-column", "format": "--format",
    "shard_rows": "--shard-rows", "keep_text": "--no-text", "skip_bad": "--skip-bad", "worker": "--worker",
    "threads": "--threads", "shards": "--shards", "plan_only": "--plan-only", "ray": "--ray", "actors": "--actors",
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
        nargs="+",
        help=".txt (one text per line, empty lines too), .csv, .tsv, .jsonl or .parquet; UTF-8; also .gz and .zst; "
        "several, a folder, or a glob such as 'data/*.parquet', all of one kind; also URLs: https://, hf://, s3://, …",
    )
    corpus.add_argument(
        "--output",
        metavar="DIR",
        help="the folder for numbered shards and manifest.json; also one such as s3://bucket/x",
    )
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
        "--worker",
        type=worker,
        metavar="I/N",
        help="make the shards of every N-th group from group I (0/2 and 1/2: two workers); a group is one shard, or "
        "those of a row group of .parquet, or of a compressed file",
    )
    corpus.add_argument("--shards", type=shards, metavar="LIST", help="make these shards, such as 0,8,16-31")
    corpus.add_argument(
        "--threads", type=positive, metavar="N", help="of torch, in every process (default: as torch says; then kept)"
    )
    corpus.add_argument(
        "--plan-only",
        action="store_true",
        default=None,
        help="read the input, write the plan and stop; workers that start then read only their part",
    )
    corpus.add_argument(
        "--ray",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="let a Ray cluster make the shards (extra ray): host:port; auto (default): that of RAY_ADDRESS, or one "
        "that ray start began here, or a new one; local: a new one on this machine. --device cuda: a GPU per worker",
    )
    corpus.add_argument(
        "--actors", type=positive, metavar="N", help="workers on Ray (default as many as there is room)"
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
    """Write the vectors of files into a folder."""
    from minibert.corpus import plan_corpus
    from minibert.corpus.folder import open_folder
    from minibert.corpus.inputs import CorpusInput
    from minibert.corpus.manifest import begun_with
    from minibert.corpus.plan import check_arguments
    from minibert.corpus.planning import SHARD_BYTES, SHARD_ROWS
    from minibert.corpus.report import listed
    from minibert.data.find import find_files
    from minibert.devices import find_device
    from minibert.embedding import Embedder
    from minibert.embedding.backends import check_backend

    if "output" not in given:
        raise InputError("Say where the vectors go: --output DIR, a new folder or one to go on with.")
    # Before a checkpoint is loaded.
    check_who(given)
    find_device(options.device)
    folder = open_folder(given.pop("output"))
    who = {name: given.pop(name, None) for name in ("worker", "shards", "plan_only", "ray", "actors")}
    settings = {"format": "safetensors", "shard_rows": SHARD_ROWS, **given}
    check_arguments(settings["format"], settings["shard_rows"], SHARD_BYTES, given.get("threads"))
    begun = begun_with(folder)
    backend = begun or options.backend
    if begun and options.backend not in (None, begun):
        print(f"minibert: {folder} was begun with the backend {begun}, so it goes on with that.", file=sys.stderr)
    check_backend(backend or "torch")
    data = options.input[0] if len(options.input) == 1 else find_files(options.input, output=Path(str(folder)))
    with log_to_stderr("minibert.data"):
        source = CorpusInput.find(data, given.get("column"), given.get("id_column"), folder)
        if not begun:
            source.describe()
    try:
        embedder = Embedder.from_pretrained(options.model, device=options.device, dtype=options.dtype)
        use_backend(embedder, backend, options)
        plan = plan_corpus(embedder, data, folder, precision=options.precision, **given, **encoding(options))
        if who["plan_only"]:
            print_json(plan.to_dict()) if options.json else print(plan)
            return 0
        report = make_shards(plan, **who)
    except KeyboardInterrupt:
        return say_interrupted(folder, "the shards that are complete")
    if options.json:
        print_json(report.to_dict())
    else:
        print(report)
    if report.failed:
        print(f"minibert: {listed(report.failed)}", file=sys.stderr)
        return 2
    return 0


def check_who(given: dict[str, Any]) -> None:
    """Raise InputError for options that contradict each other about who makes which shards."""
    if len({"worker", "shards", "plan_only", "ray"} & set(given)) > 1:
        raise InputError(
            "--worker and --shards say which shards to make, --plan-only to make none, --ray all; give one of them."
        )
    if "ray" in given:
        from minibert.integrations.ray_cluster import check_listens, find, need_ray

        need_ray()
        address = find(given["ray"])
        if address is not None:
            check_listens(address)
    elif "actors" in given:
        raise InputError("--actors says how many workers there are on Ray; give it with --ray.")


def make_shards(
    plan: "Plan",
    worker: tuple[int, int] | None,
    shards: list[range] | None,
    plan_only: None,
    ray: str | None,
    actors: int | None,
) -> "CorpusReport":
    """Make the shards of a plan: here those that were named, or all of them on a Ray cluster."""
    from minibert.corpus import embed_shards, finish

    if ray is not None:
        from minibert.integrations.ray_corpus import embed_on_ray

        with log_to_stderr("minibert.integrations"):
            return embed_on_ray(plan, ray, actors)
    made = embed_shards(plan, chosen_shards(plan, worker, shards))
    return replace(finish(plan), failed=made.failed)


def chosen_shards(plan: "Plan", worker: tuple[int, int] | None, numbers: list[range] | None) -> list[int] | None:
    """The shards that ``--worker`` or ``--shards`` names, None for all; InputError where a group is cut."""
    if worker is not None:
        return plan.of_worker(*worker)
    if numbers is None:
        return None
    wanted = {number for some in numbers for number in some}
    if max(wanted) >= plan.shards:
        raise InputError(f"There is no shard {max(wanted)}: {plan.folder} has {plan.shards:,}, counted from 0.")
    for group in plan.groups():
        if wanted & set(group) and not wanted >= set(group):
            raise InputError(
                f"--shards cuts a group: the shards {group[0]}-{group[-1]} are read together, by one worker. Name all "
                "of them or none."
            )
    return sorted(wanted)


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


def shards(text: str) -> list[range]:
    """``0,8,16-31``: the shards of these numbers."""
    found = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
            raise argparse.ArgumentTypeError(f"{text!r} is no list of shards such as 0,8,16-31")
        found.append(range(int(first), int(last) + 1))
    return found
