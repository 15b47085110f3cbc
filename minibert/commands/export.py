"""``minibert export``: a model as a file for another runtime, written only if that gives the same values."""

import argparse
from typing import Any

from minibert.commands.verb import add_checkpoint, add_verb, log_to_stderr, positive, print_json
from minibert.errors import ProofError


def add(verbs: Any) -> None:
    """``export``."""
    verb = add_verb(
        verbs, "export", export, "write a model for another runtime, such as ONNX, after that gave the same values"
    )
    add_checkpoint(verb)
    verb.add_argument(
        "-o",
        "--destination",
        required=True,
        metavar="FILE",
        help="model.onnx, model.pt2 (torch.export) or model.xml (OpenVINO), with its card FILE.md beside it; or "
        "FOLDER/, with all that sentence-transformers, transformers.js and fastembed need",
    )
    verb.add_argument(
        "--output",
        choices=("hidden_states", "sentence", "logits", "all-points"),
        default="hidden_states",
        help="what the file gives: last_hidden_state (default); sentence_embedding, with the pooling inside; a head's "
        "logits; or every named value",
    )
    formats = ("onnx", "torch", "openvino")
    verb.add_argument("--format", choices=formats, help="default: by the end of FILE; of a folder onnx")
    verb.add_argument("--head", metavar="CLASS", help="of logits and all-points; default the checkpoint's class")
    sentence = verb.add_argument_group("--output sentence, and folders", "Instead of what the checkpoint says:")
    sentence.add_argument("--pooling", type=poolings, metavar="NAME", help="mean, cls, pooler, …, or cls,mean")
    sentence.add_argument("--normalize", action=argparse.BooleanOptionalAction, help="scale to unit length")
    sentence.add_argument("--truncate-dim", type=positive, metavar="N", help="keep the first N numbers")
    eight = verb.add_argument_group("--int8", "Weights and activations in 8 bits, as ONNX:")
    eight.add_argument("--int8", action="store_true", help="a quarter of the bytes; what is lost is measured")
    eight.add_argument(
        "--calibration", metavar="FILE", help="texts like yours, in a format of embed; one in five measures the loss"
    )
    eight.add_argument("--calibration-column", metavar="NAME", help="which column of it holds the texts")
    eight.add_argument("--pairs", metavar="FILE", help="scored pairs: their Spearman correlation, before and after")
    eight.add_argument("--column", metavar="NAME", help="of the pairs' first texts")
    eight.add_argument("--pair-column", metavar="NAME", help="of their second texts")
    eight.add_argument("--label-column", metavar="NAME", help="of their scores")
    eight.add_argument(
        "--max-loss",
        type=float,
        metavar="X",
        help="1 - cosine that one text in a hundred may lose (default 0.002); beyond it there is no file",
    )
    verb.epilog = (
        "exit code 1: the file would differ from the model, and was not written.  example: "
        "minibert export -o model.onnx; or: minibert export path/to/checkpoint --output sentence -o sentence.onnx; "
        "or: minibert export path/to/checkpoint -o exported/; or: minibert export path/to/checkpoint --int8 "
        "--calibration texts.txt --pairs sts-test.tsv -o small.onnx"
    )


def poolings(text: str) -> str | list[str]:
    """Parse ``mean`` or ``cls,mean``."""
    names = [name.strip() for name in text.split(",")]
    return names[0] if len(names) == 1 else names


def export(options: argparse.Namespace) -> int:
    """``minibert export``."""
    from minibert.export import export_model

    named = {"text": options.column, "pair": options.pair_column, "score": options.label_column}
    try:
        with log_to_stderr("minibert.export"):
            report = export_model(
                options.checkpoint,
                options.destination,
                output=options.output,
                format=options.format,
                head=options.head,
                pooling=options.pooling,
                normalize=options.normalize,
                truncate_dim=options.truncate_dim,
                int8=options.int8,
                calibration=options.calibration,
                calibration_column=options.calibration_column,
                pairs=options.pairs,
                pair_columns={role: name for role, name in named.items() if name is not None},
                max_loss=options.max_loss,
            )
    except ProofError as refused:
        report = refused.report
    if options.json:
        print_json(report.to_dict())
    else:
        print(report)
    return 0 if report.same else 1
