"""``minibert verify-tokenizer``: the shortest text on which two tokenizers part, and why."""

import argparse
from pathlib import Path
from typing import Any

from minibert.commands.verb import add_language, add_verb, print_json
from minibert.errors import InputError


def add(verbs: Any) -> None:
    """``verify-tokenizer``."""
    verb = add_verb(
        verbs, "verify-tokenizer", verify_tokenizer, "find the shortest text on which two tokenizers part, and name why"
    )
    verb.add_argument(
        "vocabulary", metavar="VOCABULARY", help="vocab.txt, tokenizer.json, a folder with them, or a hub name"
    )
    verb.add_argument(
        "--against",
        required=True,
        metavar="WHAT",
        help="a tokenizer.json for the tokenizers library, a folder for transformers, transformers (the same "
        "VOCABULARY), or path/to/file.py:tokenize; this runs that file: a function from a text to pieces or ids",
    )
    verb.add_argument(
        "--lower-case",
        action=argparse.BooleanOptionalAction,
        help="whether VOCABULARY is of lower-cased text, where its files do not say",
    )
    verb.add_argument("--seed", type=int, default=0, metavar="N", help="of the random texts (default 0)")
    verb.add_argument("--texts", metavar="FILE", help="compare on these texts as well, one a line")
    add_language(verb)
    verb.epilog = (
        "exit code 1: a text differs.  example: minibert verify-tokenizer path/to/vocab.txt --against "
        "my_tokenizer.py:tokenize"
    )


def verify_tokenizer(options: argparse.Namespace) -> int:
    """``minibert verify-tokenizer``."""
    from minibert.tokenizer import BertTokenizer
    from minibert.verify import verify_tokenizer as run
    from minibert.verify.tokenizers import folder_for_transformers

    texts = lines_of(options.texts) if options.texts else []
    settings = {} if options.lower_case is None else {"do_lower_case": options.lower_case}
    ours = BertTokenizer.from_pretrained(options.vocabulary, **settings)
    against: str | Path = options.against
    theirs = folder_for_transformers(options.vocabulary) if against == "transformers" else against
    report = run(ours, theirs, texts=texts, seed=options.seed)
    if options.json:
        print_json(report.to_dict(options.language))
    else:
        print(report.to_text(options.language))
    return 0 if report.same else 1


def lines_of(path: str) -> list[str]:
    """The lines of a UTF-8 file that are not empty; only a newline ends a line."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"The texts in {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); write the texts as UTF-8, one a line.") from error
    return [line for line in text.split("\n") if line]
