"""``minibert similar``: one word compared across texts, by hidden state; or the nearest texts of a corpus."""

import argparse
from typing import TYPE_CHECKING, Any

from minibert.commands.verb import OWN, add_verb, log_to_stderr, positive, print_json, say_own
from minibert.errors import InputError
from minibert.source import DEMO
from minibert.terminal import table, with_bar

if TYPE_CHECKING:
    from minibert.corpus import Hit

SHOWN = 80  # characters of a text that was found in a corpus


def add(verbs: Any) -> None:
    """``similar``."""
    verb = add_verb(verbs, "similar", similar, "compare the places of a word, by hidden state")
    verb.description = (
        "Compare all places of WORD in the TEXTs: the cosine similarity of every two places in every hidden state "
        "(0: the embeddings, k: the output of layer k - 1).  WORD matches a whole word, or the beginning of a Korean "
        "one (배 in 배를); in a text without such a match, the beginning of any word; else anything.  Case counts "
        "if the model is cased, unless nothing matches.  With --in: the texts of an embedded corpus that "
        "are nearest to QUERY."
    )
    verb.add_argument(
        "word", metavar="WORD|QUERY", nargs="?", help="the word to compare; with --in the text to look for"
    )
    verb.add_argument("texts", nargs="*", metavar="TEXT", help="texts that contain it, each in quotes")
    verb.add_argument(
        "--model", metavar="CHECKPOINT", help=f"a folder or a hub name; default: {OWN}, with --in the corpus's model"
    )
    verb.add_argument(
        "--pooling", choices=("mean", "first", "last"), help="how to combine the pieces of a word (default mean)"
    )
    verb.add_argument(
        "--match-positions",
        action="store_true",
        help="shift the position_ids of each text so that WORD has the same position in all",
    )
    verb.add_argument("--in", dest="folder", metavar="DIR", help="a folder that minibert embed wrote: search there")
    verb.add_argument("-k", "--top-k", type=positive, metavar="K", help="with --in: how many texts (default 10)")
    verb.add_argument("--prompt", metavar="TEXT", help="with --in: put before QUERY; default the model's query prompt")
    verb.add_argument(
        "--queries",
        metavar="FILE",
        help="with --in: texts to look for, in place of QUERY: .txt (one per line), .csv, .tsv, .jsonl or .parquet",
    )
    verb.add_argument(
        "--approximate",
        action="store_true",
        help="with --in: look where the index says (minibert index DIR): faster, and a near text may be missing",
    )
    verb.add_argument("--column", metavar="NAME", help="with --queries: which column holds the texts")
    verb.epilog = (
        'example: minibert similar bank "He sat on the bank of the river." "He borrowed from the bank to buy a car."; '
        'or: minibert similar "a film to see twice" --in vectors; minibert similar --queries questions.txt --in vectors'
    )


def similar(options: argparse.Namespace) -> int:
    """``minibert similar``."""
    if options.folder is not None:
        return search(options)
    if options.top_k is not None:
        raise InputError("-k says how many texts of a corpus to show; give the corpus with --in DIR.")
    if options.prompt is not None:
        raise InputError("--prompt goes before a text to look for in a corpus; give the corpus with --in DIR.")
    for name in ("queries", "column"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} is of texts to look for in a corpus; give the corpus with --in DIR.")
    if options.approximate:
        raise InputError("--approximate is of the search in a corpus; give the corpus with --in DIR.")
    if options.word is None:
        raise InputError("Give a word and texts to compare it in, or a text to look for and a corpus with --in DIR.")
    if not options.texts:
        raise InputError(
            f"There is no text to compare {options.word!r} in: give some behind it, or a corpus with --in DIR."
        )
    return compare(options)


def search(options: argparse.Namespace) -> int:
    """``minibert similar QUERY --in DIR``, or with ``--queries FILE`` in place of QUERY."""
    if options.texts:
        raise InputError("Give texts to compare a word in, or a corpus with --in DIR to search; not both.")
    if options.match_positions:
        raise InputError("--match-positions is about a word in several texts; a corpus is searched without.")
    if options.pooling is not None:
        raise InputError("--pooling is of a word's pieces; a corpus is searched with the pooling it was embedded with.")
    if (options.word is None) == (options.queries is None):
        raise InputError("Give a text to look for, or a file of them with --queries FILE; not both, and not neither.")
    if options.column is not None and options.queries is None:
        raise InputError("--column is of a file of texts to look for; give it with --queries FILE.")
    from minibert.corpus import nearest

    choices = {"prompt": options.prompt, "approximate": options.approximate}
    if options.queries is None:
        hits = nearest(options.folder, options.word, options.top_k or 10, options.model, **choices)
        if options.json:
            print_json({"query": options.word, "hits": [hit.to_dict() for hit in hits]})
        else:
            print(hits_text(options.folder, hits))
        return 0
    with log_to_stderr("minibert.data"):
        queries = read_queries(options.queries, options.column)
    found = nearest(options.folder, queries, options.top_k or 10, options.model, **choices)
    if options.json:
        pairs = zip(queries, found, strict=True)
        print_json([{"query": query, "hits": [hit.to_dict() for hit in hits]} for query, hits in pairs])
        return 0
    for number, (query, hits) in enumerate(zip(queries, found, strict=True), start=1):
        print(f"{number}. {beginning(query)}\n\n{hits_text(options.folder, hits)}\n")
    return 0


def read_queries(file: str, column: str | None) -> list[str]:
    """The texts of a file; InputError for one without."""
    from minibert.data.columns import TextRow
    from minibert.data.opening import bad_rows, open_texts

    source = open_texts(file, column)
    queries = []
    for row in source:
        if not isinstance(row, TextRow):
            raise bad_rows(source.file, row)
        queries.append(row.text)
    if not queries:
        raise InputError(f"{file} has no texts, so there is nothing to look for.")
    return queries


def hits_text(folder: str, hits: "list[Hit]") -> str:
    """A table of the rows that were found."""
    if not hits:
        return f"{folder} holds no vectors, so nothing is near to the query."
    has_texts = any(hit.text is not None for hit in hits)
    headers = ("", " cosine", "row", "id", *(("text",) if has_texts else ()))
    lines = [
        (number, with_bar(hit.score), hit.row, hit.id, beginning(hit.text or ""))[: len(headers)]
        for number, hit in enumerate(hits, start=1)
    ]
    return table(headers, lines, right=("", "row"))


def compare(options: argparse.Namespace) -> int:
    """``minibert similar WORD TEXT…``."""
    from minibert.embedding import Embedder
    from minibert.embedding.printing import similarity_text
    from minibert.embedding.similarity import word_similarity

    if options.model is None:
        options.model = DEMO
        say_own(options)
    embedder = Embedder.from_pretrained(options.model)
    found = word_similarity(
        embedder, options.word, options.texts, options.pooling or "mean", match_positions=options.match_positions
    )
    if options.json:
        print_json(found.to_dict() | {"pooling": options.pooling or "mean"})
        return 0
    print(similarity_text(found, embedder.tokenizer.unk_token))
    return 0


def beginning(text: str) -> str:
    """The beginning of ``text``, in one line of a table."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
