"""``minibert attention``: attention maps, in the terminal or as a picture."""

import argparse
from typing import Any

from minibert.commands.inputs import ONE_LAYER, add_one_text, load_inputs, number_from_0
from minibert.commands.pictures import add_pictures, picture_files, write_pictures
from minibert.commands.verb import add_verb, print_json
from minibert.terminal import visible


def add(verbs: Any) -> None:
    """``attention``."""
    verb = add_verb(verbs, "attention", attention, "draw the attention maps of one head, of a layer, or of all")
    verb.description = (
        "Draw attention maps: one row per query token, one column per key token; a row sums to 1.  "
        "The terminal shows the mean over the heads of each layer, unless --layer or --head selects heads; pictures "
        "and --json have every head."
    )
    add_one_text(verb)
    verb.add_argument("--layer", type=number_from_0, metavar="L", help=ONE_LAYER)
    verb.add_argument("--head", type=number_from_0, metavar="N", help="only this head, from 0")
    add_pictures(verb)
    verb.epilog = 'example: minibert attention "She sat by the bank." --layer 2 --png heads.png'


def attention(options: argparse.Namespace) -> int:
    """``minibert attention``."""
    from minibert.lens import trace
    from minibert.lens.drawing import chosen, draw_attention

    files = picture_files(options)
    model, inputs, tokens = load_inputs(options)
    layers = chosen("layer", options.layer, model.config.num_hidden_layers)
    heads = chosen("head", options.head, model.config.num_attention_heads)
    found = trace(model, inputs, points="**.attention.self.probabilities")
    maps = [value[0] for value in found.values()]  # L of (N, T, T)
    if options.json:
        entries = [{"layer": n, "head": h, "probabilities": maps[n][h].tolist()} for n in layers for h in heads]
        print_json({"model": type(model).__name__, "tokens": tokens, "attention": entries})
    elif not files:
        from minibert.lens.drawing import attention_text

        print(f"{len(tokens)} tokens: {' '.join(map(visible, tokens))}")
        print(attention_text(maps, layers, heads, tokens, mean=options.layer is None and options.head is None))
    if files:
        write_pictures(
            files,
            lambda path: draw_attention(found, path, tokens=tokens, layer=options.layer, head=options.head),
            options,
        )
    return 0
