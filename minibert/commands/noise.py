"""The verbs that draw position × position maps: what noise moves, and who looks at whom."""

import argparse
import math
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minibert.commands.lens import ONE_LAYER, add_one_text, load_inputs, number_from_0
from minibert.commands.verb import add_verb, positive, print_json
from minibert.destination import check_file
from minibert.errors import InputError
from minibert.points import hidden_state_names
from minibert.terminal import visible

if TYPE_CHECKING:
    from minibert.lens import Sensitivity


def add(verbs: Any) -> None:
    """``noise``, ``attention``."""
    verb = add_verb(verbs, "noise", noise, "disturb each token and draw how much every token moves in each layer")
    verb.description = (
        "Add Gaussian noise to one token after another and draw, for each layer, how far every token moves for each "
        "unit of noise: a row for the token disturbed, a column for the token that moves.  1 is a token that moves as "
        "far as the noise; what a token does to itself lies mostly above the scale."
    )
    add_one_text(verb)
    verb.add_argument("--std", type=_above_zero, metavar="S", help="the noise's standard deviation (default 0.1)")
    verb.add_argument(
        "--relative", action="store_true", default=None, help="--std is in units of the value's own standard deviation"
    )
    verb.add_argument("--samples", type=positive, metavar="K", help="draws for each token (default 8)")
    verb.add_argument("--seed", type=number_from_0, metavar="K", help="of the draws (default 0)")
    verb.add_argument("--at", default="embeddings", metavar="POINT", help="where noise goes in (default embeddings)")
    verb.add_argument(
        "--mode",
        choices=("single", "per_layer"),
        default="single",
        help="single: noise goes in at one point and all later layers are watched (default); "
        "per_layer: into each layer's input, and that layer's output is watched",
    )
    verb.add_argument("--position", type=number_from_0, nargs="+", metavar="I", help="only these tokens, from 0: [CLS]")
    verb.add_argument(
        "--together", action="store_true", help="disturb the tokens of --position all at once, as one group"
    )
    verb.add_argument("--layer", type=number_from_0, nargs="+", metavar="L", help="only these, encoder.layer.L, from 0")
    verb.add_argument(
        "--exact", action="store_true", help="no noise but its limit, the Jacobian's norms; T times H forward passes"
    )
    _add_pictures(verb)
    verb.epilog = 'example: minibert noise "New York is a large city." --layer 0 3'

    verb = add_verb(verbs, "attention", attention, "draw who looks at whom, in one head, a layer's heads, or all")
    verb.description = (
        "Draw who looks at whom: a row for the token that asks, a column for the token it looks at; a row sums to 1.  "
        "In the terminal each layer is the mean of its heads, until --layer or --head asks for single heads; pictures "
        "and --json have every head."
    )
    add_one_text(verb)
    verb.add_argument("--layer", type=number_from_0, metavar="L", help=ONE_LAYER)
    verb.add_argument("--head", type=number_from_0, metavar="N", help="only this head, from 0")
    _add_pictures(verb)
    verb.epilog = 'example: minibert attention "She sat by the bank." --layer 2 --png heads.png'


def _add_pictures(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--png", metavar="FILE", help="write a picture instead (needs the extra plot)")
    verb.add_argument("--svg", metavar="FILE", help="the same as lines and text, for papers and slides")


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def noise(options: argparse.Namespace) -> int:
    """``minibert noise``."""
    files = _picture_files(options)
    found, tokens = _disturb(options)
    if options.json:
        print_json(found.to_dict())
    elif not files:
        _print_noise(found, tokens)
    if files:
        from minibert.lens.drawing import draw_sensitivity

        _write(files, lambda path: draw_sensitivity(found, path, tokens=tokens), options)
    return 0


def _disturb(options: argparse.Namespace) -> tuple["Sensitivity", list[str]]:
    """The tables that are asked for, and the pieces."""
    from minibert.lens import exact_sensitivity, sensitivity

    draws = ("std", "relative", "samples", "seed")
    given = {name: getattr(options, name) for name in draws if getattr(options, name) is not None}
    if options.exact and given:
        raise InputError(f"--{next(iter(given))} is about draws of noise; --exact makes none.")
    if options.together and not options.position:
        raise InputError("--together is about the tokens of --position: say which.")
    model, inputs, tokens = load_inputs(options)
    layers = None
    if options.layer is not None:
        count = model.config.num_hidden_layers
        missing = [number for number in options.layer if number >= count]
        if missing:
            raise InputError(f"There is no layer {missing[0]}: this model has layers 0 to {count - 1}.")
        outputs = hidden_state_names(count)[1:]
        layers = [outputs[number] for number in options.layer]
    positions = [options.position] if options.together else options.position
    run = exact_sensitivity if options.exact else sensitivity
    where = {"at": options.at, "points": layers, "mode": options.mode, "positions": positions}
    return replace(run(model, inputs, **where, **given), tokens=(tuple(tokens),)), tokens


def _print_noise(found: "Sensitivity", tokens: list[str]) -> None:
    """The maps as blocks, with what they are of."""
    import torch

    from minibert.lens.drawing import draw_blocks

    how = "the limit of little noise (Jacobian norms)"
    if found.std is not None:
        spread = " times the spread" if found.relative else ""
        how = f"noise of standard deviation {found.std:g}{spread}, {found.samples} draws, seed {found.seed}"
    print(f"{len(tokens)} tokens: {' '.join(map(visible, tokens))}")
    into = "at each layer's input" if found.mode == "per_layer" else f"once, at {found.at[0]}"
    print(f"{how}, {into}: how far the column's token moves for each unit that the row's is moved")
    print("each block is a layer's output; that of layer k is hidden state k + 1\n")
    titles = []
    for point, table in zip(found.points, found.maps, strict=True):
        known = table[~table.isnan()]
        titles.append(f"{layer_title(point)}: {known.min():.2g} to {known.max():.2g}")
    print(draw_blocks(titles, list(found.maps), tokens, found.positions, *_terminal()))
    if found.samples is not None and found.samples > 1:
        known = found.maps > 0
        share = (found.standard_error[known] / found.maps[known]).to(torch.float64).median()
        print(f"standard error of the draws: {share:.1%} of an entry, in the median; more --samples make it less")


def layer_title(point: str) -> str:
    """``layer 3`` for ``bert.encoder.layer.3``; any other point by its name."""
    found = re.fullmatch(r"(?:bert\.)?encoder\.layer\.(\d+)", point)
    return point if found is None else f"layer {found[1]}"


def attention(options: argparse.Namespace) -> int:
    """``minibert attention``."""
    from minibert.lens import trace
    from minibert.lens.drawing import chosen, draw_attention

    files = _picture_files(options)
    model, inputs, tokens = load_inputs(options)
    layers = chosen("layer", options.layer, model.config.num_hidden_layers)
    heads = chosen("head", options.head, model.config.num_attention_heads)
    found = trace(model, inputs, points="**.attention.self.probabilities")
    maps = [value[0] for value in found.values()]  # L of (N, T, T)
    if options.json:
        entries = [{"layer": n, "head": h, "probabilities": maps[n][h].tolist()} for n in layers for h in heads]
        print_json({"model": type(model).__name__, "tokens": tokens, "attention": entries})
    elif not files:
        from minibert.lens.drawing import draw_blocks

        print(f"{len(tokens)} tokens: {' '.join(map(visible, tokens))}")
        print("how much of the row's attention the column's token has\n")
        one_layer = options.layer is not None
        shown = [(f"layer {n}, head {h}", maps[n][h]) for n in layers for h in heads]
        if not one_layer and options.head is None:
            shown = [(f"layer {n}, mean", maps[n].mean(dim=0)) for n in layers]
        titles, tables = zip(*shown, strict=True)
        each = [(number,) for number in range(len(tokens))]
        print(draw_blocks(titles, tables, tokens, each, *_terminal(), diagonal=True))
    if files:
        _write(
            files,
            lambda path: draw_attention(found, path, tokens=tokens, layer=options.layer, head=options.head),
            options,
        )
    return 0


def _terminal() -> tuple[int, bool]:
    """How many columns there are, and whether colours are welcome (https://no-color.org)."""
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return shutil.get_terminal_size((100, 24)).columns, colours


def _picture_files(options: argparse.Namespace) -> list[str]:
    """The files to draw; a sentence for one with another ending, before anything is computed."""
    files = []
    for kind in ("png", "svg"):
        file = getattr(options, kind)
        if file is not None:
            if Path(file).suffix.lower() != f".{kind}":
                raise InputError(f"--{kind} {file}: a file of that kind ends in .{kind}.")
            files.append(file)
    if files:
        from minibert.pictures import check_picture, need_matplotlib

        need_matplotlib()
        for file in files:
            check_picture(file)
            check_file(file, f"--{Path(file).suffix[1:].lower()}")
    return files


def _write(files: list[str], draw: Callable[[str], None], options: argparse.Namespace) -> None:
    """Draw each file; what the library warns of becomes a sentence on stderr."""
    said = set()
    for file in files:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            draw(file)
        said |= {str(entry.message) for entry in caught if "No font" in str(entry.message)}
        if not options.json:
            print(f"written: {file}")
    for sentence in said:
        print(f"minibert: {sentence}", file=sys.stderr)
