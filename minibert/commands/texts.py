"""The verbs about texts: their pieces, the words behind [MASK]."""

import argparse
from typing import Any

from minibert.commands.verb import add_texts, add_truncate, add_verb, load_tokenizer, positive, print_json, tokens_read
from minibert.source import Checkpoint
from minibert.terminal import table


def add(verbs: Any) -> None:
    """``tokenize``, ``fill-mask``."""
    verb = add_verb(verbs, "tokenize", tokenize, "split texts into pieces, with ids and places in the text")
    add_texts(verb)
    verb.epilog = 'example: minibert tokenize "나는 배를 타고 여행을 간다."'

    verb = add_verb(verbs, "fill-mask", fill, "guess the words behind [MASK]")
    add_texts(verb)
    verb.add_argument("-k", "--top-k", type=positive, default=5, metavar="K", help="how many guesses (default 5)")
    add_truncate(verb)
    verb.epilog = 'example: minibert fill-mask "이 영화 정말 [MASK]" "She opened the [MASK] and went in."'


def tokenize(options: argparse.Namespace) -> int:
    """``minibert tokenize``."""
    tokenizer = load_tokenizer(options.model)
    encodings = [tokenizer(text, return_offsets_mapping=True) for text in options.texts]
    found = [
        {
            "text": text,
            "tokens": tokenizer.convert_ids_to_tokens(encoding["input_ids"]),
            "ids": encoding["input_ids"],
            "offsets": encoding["offset_mapping"],
        }
        for text, encoding in zip(options.texts, encodings, strict=True)
    ]
    if options.json:
        print_json(found)
        return 0
    for entry in found:
        text = entry["text"]
        rows = [
            (number, token, token_id, f"{start}–{end}", text[start:end])
            for number, (token, token_id, (start, end)) in enumerate(
                zip(entry["tokens"], entry["ids"], entry["offsets"], strict=True)
            )
        ]
        print(f"{text}\n")
        print(table(("", "piece", "id", "place", "in the text"), rows, right=("", "id")), end="\n\n")
    return 0


def fill(options: argparse.Namespace) -> int:
    """``minibert fill-mask``."""
    from dataclasses import asdict

    from minibert.heads import BertForMaskedLM
    from minibert.mask_filling import fill_mask, no_gap

    checkpoint = Checkpoint.open(options.model)
    tokenizer = load_tokenizer(checkpoint)
    if not all(str(tokenizer.mask_token) in text for text in options.texts):
        raise no_gap(tokenizer)  # before the model is loaded
    model = BertForMaskedLM.from_pretrained(checkpoint)
    results = []
    for text in options.texts:
        limit = tokens_read(tokenizer, model.config, text, None, options.truncate)
        results.append((text, fill_mask(model, tokenizer, text, options.top_k, max_length=limit)))
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
