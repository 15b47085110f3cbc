"""``minibert inspect``: what a checkpoint holds, and what became of every tensor."""

import argparse
from typing import Any

from minibert.commands.verb import add_checkpoint, add_verb, print_json
from minibert.terminal import table


def add(verbs: Any) -> None:
    """``inspect``."""
    verb = add_verb(verbs, "inspect", inspect, "show what a checkpoint holds and what became of every tensor")
    add_checkpoint(verb)
    verb.epilog = "example: minibert inspect; or: minibert inspect path/to/bert-base-uncased"


def inspect(options: argparse.Namespace) -> int:
    """``minibert inspect``."""
    from minibert.auto import load_architecture

    model = load_architecture(options.checkpoint)
    report, config = model.load_report, model.config
    assert report is not None
    if options.json:
        print_json(report.to_dict() | {"config": config.to_dict(), "parameters": model.num_parameters()})
        return 0
    print(
        f"{report.model}: {config.num_hidden_layers} layers, hidden size {config.hidden_size}, "
        f"{config.num_attention_heads} heads, {config.vocab_size:,} pieces, "
        f"{config.max_position_embeddings} positions, {model.num_parameters():,} parameters\n"
    )
    rows = [(t.name, "×".join(map(str, t.shape)), t.dtype, t.parameter or "not used", t.note) for t in report.tensors]
    print(table(("in the file", "shape", "kind", "in the model", "how or why"), rows))
    print(f"\n{report}")
    return 0
