"""``minibert verify-training``: the first step at which two training runs part, and why."""

import argparse
from functools import cache
from typing import TYPE_CHECKING, Any

from minibert.commands.verb import OWN, add_language, add_verb, load_tokenizer, positive, print_json
from minibert.commands.verify import rounding
from minibert.commands.verify_tokenizer import lines_of
from minibert.errors import InputError
from minibert.source import DEMO, Checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

TEXTS_OF_A_BATCH = 8


def add(verbs: Any) -> None:
    """``verify-training``."""
    verb = add_verb(
        verbs, "verify-training", verify_training, "find the first step at which two training runs part, and name why"
    )
    verb.description = (
        "Train two sides on the same batches, and find the first step, and in it the first value, gradient or "
        "optimizer state that differs. This runs both files, which are yours."
    )
    verb.add_argument(
        "a",
        metavar="A.py:build",
        help="a file and a function in it that returns (model, optimizer), (model, optimizer, scheduler), or an object "
        "with these and perhaps its own step(batch); its parameters may ask for config, state_dict and folder of "
        "--model; this runs the file",
    )
    verb.add_argument("b", metavar="B.py:build", help="the same of the other side; this runs the file, too")
    inputs = verb.add_mutually_exclusive_group(required=True)
    inputs.add_argument(
        "--batches",
        metavar="FILE",
        help="a .safetensors or .npz file: input_ids, labels and whatever else the model is called with, for several "
        "batches as 0/input_ids, 1/input_ids, …; or path/to/file.py:batches, a function that returns them; this runs "
        "the file",
    )
    inputs.add_argument(
        "--texts", metavar="FILE", help="masked language modelling on these texts, one a line, eight a batch"
    )
    inputs.add_argument("--text", action="append", metavar="TEXT", help="the same on this text; may be given again")
    verb.add_argument(
        "--model",
        default=DEMO,
        metavar="CHECKPOINT",
        help=f"whose vocabulary the texts are in, and what the functions may ask for; default: {OWN}",
    )
    verb.add_argument("--steps", type=positive, metavar="N", help="default: one for each batch")
    verb.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, dropout and masks (default 0)")
    verb.add_argument(
        "--bound",
        type=rounding,
        metavar="UNITS",
        help="what counts as rounding: units in the last place of a value's largest number, for each layer; default 16",
    )
    add_language(verb)
    verb.epilog = (
        'exit code 1: the runs part.  example: minibert verify-training mine.py:build theirs.py:build --text "배가 '
        '고프다." --steps 5'
    )


def verify_training(options: argparse.Namespace) -> int:
    """``minibert verify-training``."""
    from minibert.verify import BOUND
    from minibert.verify import verify_training as run
    from minibert.verify.checkpoints import load
    from minibert.verify.ports import offered
    from minibert.verify.user_code import call_by_name, load_callable

    checkpoint = Checkpoint.open(options.model)
    asked = offered(cache(lambda: load(checkpoint, "float32", "eager")), checkpoint.folder)
    specs = (options.a, options.b)
    builds = [load_callable(spec) for spec in specs]
    batches = batches_of(options, asked)
    names = specs if options.a != options.b else (f"{options.a} (A)", f"{options.b} (B)")
    first, second = (
        lambda build=build, spec=spec: call_by_name(build, spec, asked)
        for build, spec in zip(builds, specs, strict=True)
    )
    bound = BOUND if options.bound is None else options.bound
    report = run(first, second, batches, options.steps, names=names, bound=bound, seed=options.seed)
    if options.json:
        print_json(report.to_dict(options.language))
    else:
        print(report.to_text(options.language))
    return 0 if report.same else 1


def batches_of(options: argparse.Namespace, asked: "dict[str, Callable[[], Any]]") -> Any:
    """The inputs of the steps."""
    from minibert.verify.recorded import read_batches
    from minibert.verify.user_code import call_by_name, load_callable, names_code

    if options.batches is None:
        texts = options.text or lines_of(options.texts)
        if not texts:
            raise InputError(f"{options.texts} holds no texts; write one a line.")
        return [
            masked(texts[start : start + TEXTS_OF_A_BATCH], options.model, options.seed, start)
            for start in range(0, len(texts), TEXTS_OF_A_BATCH)
        ]
    if names_code(options.batches):
        return call_by_name(load_callable(options.batches), options.batches, asked, "make the batches")
    return read_batches(options.batches)


def masked(texts: list[str], model: str, seed: int, number: int) -> dict[str, Any]:
    """Texts as inputs of masked language modelling, ``number`` the first one's: (B, T) int64, the labels among them."""
    from minibert.config import BertConfig
    from minibert.pretraining.examples import check_special_tokens, continuing_pieces, ordinary_pieces
    from minibert.pretraining.masking import Masking

    tokenizer = load_tokenizer(model)
    limit = BertConfig.from_pretrained(model).max_position_embeddings
    batch = dict(tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt"))
    masking = Masking(check_special_tokens(tokenizer), ordinary_pieces(tokenizer), continuing_pieces(tokenizer))
    lengths = batch["attention_mask"].sum(1).tolist()
    random = masking.draw(seed, 0, range(number, number + len(texts)), lengths, batch["input_ids"].shape[1])
    batch["input_ids"], batch["labels"] = masking.mask(batch["input_ids"], random)
    return batch
