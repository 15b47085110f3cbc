"""``minibert noise``: how much noise at one token changes every token, layer by layer."""

import argparse
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from minibert.commands.inputs import add_one_text, load_inputs, number_from_0
from minibert.commands.pictures import add_pictures, picture_files, write_pictures
from minibert.commands.verb import add_verb, positive, print_json
from minibert.errors import InputError
from minibert.points import hidden_state_names
from minibert.terminal import visible

if TYPE_CHECKING:
    from minibert.lens import Sensitivity


def add(verbs: Any) -> None:
    """``noise``."""
    verb = add_verb(
        verbs, "noise", noise, "add noise to each token and draw how much every token changes in each layer"
    )
    verb.description = (
        "Add Gaussian noise to one token at a time and draw, for each layer, how much every token changes per unit of "
        "noise: one row per perturbed token, one column per changed token.  1 means a change as large as the noise.  "
        "The effect of a token on itself mostly exceeds the scale."
    )
    add_one_text(verb)
    verb.add_argument("--std", type=above_zero, metavar="S", help="the noise's standard deviation (default 0.1)")
    verb.add_argument(
        "--relative", action="store_true", default=None, help="--std is in units of the value's own standard deviation"
    )
    verb.add_argument("--samples", type=positive, metavar="K", help="samples of noise per token (default 8)")
    verb.add_argument("--seed", type=number_from_0, metavar="K", help="of the samples (default 0)")
    verb.add_argument("--at", default="embeddings", metavar="POINT", help="where noise goes in (default embeddings)")
    verb.add_argument(
        "--mode",
        choices=("single", "per_layer"),
        default="single",
        help="single: add noise at one point and measure all later layers (default); "
        "per_layer: add it to each layer's input and measure that layer's output",
    )
    verb.add_argument("--position", type=number_from_0, nargs="+", metavar="I", help="only these tokens, from 0: [CLS]")
    verb.add_argument(
        "--together", action="store_true", help="perturb the tokens of --position all at once, as one group"
    )
    verb.add_argument("--layer", type=number_from_0, nargs="+", metavar="L", help="only these, encoder.layer.L, from 0")
    verb.add_argument(
        "--exact",
        action="store_true",
        help="the limit of small noise: norms of the Jacobian's blocks; T × H forward passes",
    )
    add_pictures(verb)
    verb.epilog = 'example: minibert noise "New York is a large city." --layer 0 3'


def above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def noise(options: argparse.Namespace) -> int:
    """``minibert noise``."""
    files = picture_files(options)
    found, tokens = measure(options)
    if options.json:
        print_json(found.to_dict())
    elif not files:
        from minibert.lens.drawing import sensitivity_text

        print(f"{len(tokens)} tokens: {' '.join(map(visible, tokens))}")
        print(sensitivity_text(found, tokens))
    if files:
        from minibert.lens.drawing import draw_sensitivity

        write_pictures(files, lambda path: draw_sensitivity(found, path, tokens=tokens), options)
    return 0


def measure(options: argparse.Namespace) -> tuple["Sensitivity", list[str]]:
    """The sensitivities that the options ask for, and the pieces of the text."""
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
