"""``minibert tokenize``: the pieces of texts, with ids and places."""

import argparse
from typing import Any

from minibert.commands.verb import add_texts, add_verb, load_tokenizer, print_json
from minibert.terminal import table


def add(verbs: Any) -> None:
    """``tokenize``."""
    verb = add_verb(verbs, "tokenize", tokenize, "split texts into pieces, with ids and places in the text")
    add_texts(verb)
    verb.epilog = 'example: minibert tokenize "나는 배를 타고 여행을 간다."'


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
