"""``minibert learn build`` and ``minibert learn check``: the workbook, in which the reader writes BERT."""

import argparse
import sys
from pathlib import Path

from minibert.commands.verb import print_json
from minibert.errors import InputError

FOLDER = "my-bert"


def add_options(verb: argparse.ArgumentParser) -> None:
    """What ``build`` and ``check`` take besides the options of ``learn``."""
    what = f"build: the folder to write (default {FOLDER}); check: one step, by number or name (default all)"
    verb.add_argument("what", nargs="?", metavar="FOLDER | STEP", help=what)
    verb.add_argument("--file", metavar="FILE", help="check: my_bert.py or its folder (default: here)")
    verb.add_argument("--seed", type=int, metavar="N", help="check: another number gives other inputs")
    verb.add_argument("--hint", action="store_true", help="check: plainer hints")


def build_workbook(options: argparse.Namespace) -> int:
    """``minibert learn build``."""
    from minibert.learn.workbook import build

    files = build(options.what or FOLDER, options.language, options.solutions, options.force)
    if options.json:
        print_json({"files": [str(file) for file in files], "language": options.language})
        return 0
    for file in files:
        print(file)
    print(f"\nFill in {files[0]}; then, in {files[0].parent}: minibert learn check")
    return 0


def check_workbook(options: argparse.Namespace, default_language: str) -> int:
    """``minibert learn check``: 0 if all steps are right that were asked for, else 1."""
    from minibert.learn.workbook import check, language_of

    place = options.file or next((each for each in (".", FOLDER) if (Path(each) / "my_bert.py").is_file()), ".")
    if not options.json and sys.stderr.isatty():
        print("minibert: running your file in a process of its own", file=sys.stderr)
    language = options.language or language_of(place) or default_language
    report = check(place, options.what, language=language, seed=options.seed or 0)
    if options.json:
        print_json(report.to_dict())
    else:
        print(report.to_text(more_hints=options.hint))
    return 0 if report.is_right else 1


def refuse_options(options: argparse.Namespace) -> None:
    """InputError for an option that has no meaning for what was asked for."""
    lesson, build, check = "a lesson's number", "minibert learn build", "minibert learn check"
    asked = {"build": build, "check": check}.get(options.lesson, lesson if options.lesson else "the list")
    for name, given, places in (
        ("FOLDER or STEP", options.what, (build, check)),
        ("--file", options.file, (check,)),
        ("--seed", options.seed, (check,)),
        ("--hint", options.hint, (check,)),
        ("--output", options.output, (lesson,)),
        ("--text", options.text, (lesson,)),
        ("--solutions", options.solutions, (lesson, build)),
    ):
        if given not in (None, False) and asked not in places:
            raise InputError(f"{name} goes with {' or '.join(places)}.")
