"""``minibert fill-mask``: guesses for every [MASK]."""

import argparse
from typing import Any

from minibert.commands.inputs import add_truncate, encode
from minibert.commands.verb import add_texts, add_verb, load_tokenizer, positive, print_json
from minibert.source import Checkpoint
from minibert.terminal import table


def add(verbs: Any) -> None:
    """``fill-mask``."""
    verb = add_verb(verbs, "fill-mask", fill_mask, "guess the words behind [MASK]")
    add_texts(verb)
    verb.add_argument("-k", "--top-k", type=positive, default=5, metavar="K", help="how many guesses (default 5)")
    add_truncate(verb)
    verb.epilog = 'example: minibert fill-mask "이 영화 정말 [MASK]" "She opened the [MASK] and went in."'


def fill_mask(options: argparse.Namespace) -> int:
    """``minibert fill-mask``."""
    from dataclasses import asdict

    from minibert.heads import BertForMaskedLM
    from minibert.mask_filling import guesses, no_gap

    checkpoint = Checkpoint.open(options.model)
    tokenizer = load_tokenizer(checkpoint)
    if tokenizer.mask_token is None or not all(tokenizer.mask_token in text for text in options.texts):
        raise no_gap(tokenizer)  # before the model is loaded
    model = BertForMaskedLM.from_pretrained(checkpoint)
    results = []
    for text in options.texts:
        inputs = encode(tokenizer, model.config, text, truncate=options.truncate)
        results.append((text, guesses(model, tokenizer, inputs, options.top_k)))
    if options.json:
        print_json([{"text": text, "gaps": [[asdict(g) for g in gap] for gap in gaps]} for text, gaps in results])
        return 0
    for text, gaps in results:
        print(text)
        for number, gap in enumerate(gaps, start=1):
            rows = [(guess.token, guess.token_id, f"{guess.probability:.4f}") for guess in gap]
            print(f"\ngap {number} of {len(gaps)}")
            print(table(("piece", "id", "probability"), rows, right=("id", "probability")), end="\n\n")
    return 0
