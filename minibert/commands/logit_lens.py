"""``minibert logit-lens``: what each hidden state would predict."""

import argparse
from typing import Any

from minibert.commands.inputs import add_one_text, load_inputs, number_from_0
from minibert.commands.verb import add_verb, load_tokenizer, positive, print_json
from minibert.errors import InputError
from minibert.terminal import visible


def add(verbs: Any) -> None:
    """``logit-lens``."""
    verb = add_verb(verbs, "logit-lens", logit_lens, "show what each hidden state would predict if it were the last")
    verb.description = (
        "Apply the masked-language-modelling head to every hidden state (0: the embeddings, k: the output of layer "
        "k - 1) and show the likeliest piece at each position; with --token the likeliest few at one position, with "
        "probabilities.  The head was trained for the last hidden state only: its output for earlier ones is a hint."
    )
    add_one_text(verb)
    verb.add_argument("--token", type=number_from_0, metavar="T", help="the predictions at this token, from 0: [CLS]")
    verb.add_argument("-k", "--top-k", type=positive, default=5, metavar="K", help="how many predictions (default 5)")
    verb.epilog = 'example: minibert logit-lens "She sat by the [MASK]." --token 5'


def logit_lens(options: argparse.Namespace) -> int:
    """``minibert logit-lens``."""
    from minibert.lens.logit_lens import logit_lens as run
    from minibert.lens.logit_lens_table import guesses_table, likeliest_table, what_is_seen

    model, inputs, tokens = load_inputs(options)
    if options.token is not None and options.token >= len(tokens):
        raise InputError(f"There is no token {options.token}: this run has tokens 0 to {len(tokens) - 1}.")
    found = run(model, inputs, min(options.top_k, model.config.vocab_size))
    tokenizer = load_tokenizer(options.model)
    if options.json:
        pieces = [[tokenizer.convert_ids_to_tokens(row) for row in layer] for layer in found.ids.tolist()]
        print_json({"model": type(model).__name__, "tokens": tokens, "pieces": pieces, **found.to_dict()})
        return 0
    print(f"{type(model).__name__}, {len(tokens)} tokens: {' '.join(map(visible, tokens))}")
    print(f"{what_is_seen(tokens, tokenizer.mask_token, options.token)}\n")
    if options.token is None:
        print(likeliest_table(found, tokens, tokenizer))
    else:
        print(guesses_table(found, options.token, tokenizer))
    return 0
