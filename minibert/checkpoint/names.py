"""Names of tensors in every dialect of BERT checkpoints: one ordered table, read from top to bottom.

On the right are minibert's names, those of a modern head (``bert.`` before the encoder's).  In both columns

    #  is a number,   @  one word,   *  anything,

and the same sign stands for the same text.  A rule read from right to left writes the old dialect; a one-way rule
cannot, because what it drops is lost.  Sources: google-research/bert
``modeling.py`` and ``run_pretraining.py``, ``run_classifier.py``, ``run_squad.py``; transformers' BERT from 2018 on.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache


@dataclass(frozen=True)
class Rule:
    """One line of the table."""

    dialect: str
    theirs: str
    ours: str
    transposed: bool = False  # TensorFlow multiplies x @ kernel (in, out); torch's Linear keeps (out, in)
    one_way: str = ""  # why it cannot be reversed

    def read(self, name: str) -> str | None:
        """Our name for ``name`` of this dialect, or None when the rule does not apply."""
        return _rewrite(name, self.theirs, self.ours)

    def write(self, name: str) -> str | None:
        """The dialect's name for our ``name``, or None when the rule does not apply or is one-way."""
        return None if self.one_way else _rewrite(name, self.ours, self.theirs)


def _rewrite(name: str, pattern: str, replacement: str) -> str | None:
    head, tail = _ends(pattern)
    if not (name.startswith(head) and name.endswith(tail)):
        return None  # most names end here, without a regular expression
    match = _compiled(pattern).fullmatch(name)
    if match is None:
        return None
    texts = iter(match.groups())
    return "".join(next(texts) if sign in SIGNS else sign for sign in replacement)


@cache
def _ends(pattern: str) -> tuple[str, str]:
    """How a name must begin and end: the pattern before its first sign and after its last."""
    parts = re.split("[#@*]", pattern)
    return parts[0], parts[-1]


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(SIGNS.get(sign) or re.escape(sign) for sign in pattern), re.DOTALL)


SIGNS = {"#": r"(\d+)", "@": r"([^./]+)", "*": r"(.*)"}
WRAPPER = "a training wrapper adds it to every name"
G, LAYER, OURS = "Google", "bert/encoder/layer_#", "bert.encoder.layer.#"
TABLE = (
    # Wrappers, which may be nested.
    Rule("module. prefix (DataParallel)", "module.*", "*", one_way=WRAPPER),
    Rule("_orig_mod. prefix (torch.compile)", "_orig_mod.*", "*", one_way=WRAPPER),
    # Google's own, with slashes.  Kernels are transposed; embeddings and the heads' output_weights are not.
    Rule(G, "bert/embeddings/LayerNorm/gamma", "bert.embeddings.LayerNorm.weight"),
    Rule(G, "bert/embeddings/LayerNorm/beta", "bert.embeddings.LayerNorm.bias"),
    Rule(G, "bert/embeddings/@_embeddings", "bert.embeddings.@_embeddings.weight"),
    Rule(G, f"{LAYER}/attention/self/@/kernel", f"{OURS}.attention.self.@.weight", True),
    Rule(G, f"{LAYER}/attention/self/@/bias", f"{OURS}.attention.self.@.bias"),
    Rule(G, f"{LAYER}/attention/output/dense/kernel", f"{OURS}.attention.output.dense.weight", True),
    Rule(G, f"{LAYER}/attention/output/dense/bias", f"{OURS}.attention.output.dense.bias"),
    Rule(G, f"{LAYER}/attention/output/LayerNorm/gamma", f"{OURS}.attention.output.LayerNorm.weight"),
    Rule(G, f"{LAYER}/attention/output/LayerNorm/beta", f"{OURS}.attention.output.LayerNorm.bias"),
    Rule(G, f"{LAYER}/@/dense/kernel", f"{OURS}.@.dense.weight", True),
    Rule(G, f"{LAYER}/@/dense/bias", f"{OURS}.@.dense.bias"),
    Rule(G, f"{LAYER}/output/LayerNorm/gamma", f"{OURS}.output.LayerNorm.weight"),
    Rule(G, f"{LAYER}/output/LayerNorm/beta", f"{OURS}.output.LayerNorm.bias"),
    Rule(G, "bert/pooler/dense/kernel", "bert.pooler.dense.weight", True),
    Rule(G, "bert/pooler/dense/bias", "bert.pooler.dense.bias"),
    Rule(G, "cls/predictions/transform/dense/kernel", "cls.predictions.transform.dense.weight", True),
    Rule(G, "cls/predictions/transform/dense/bias", "cls.predictions.transform.dense.bias"),
    Rule(G, "cls/predictions/transform/LayerNorm/gamma", "cls.predictions.transform.LayerNorm.weight"),
    Rule(G, "cls/predictions/transform/LayerNorm/beta", "cls.predictions.transform.LayerNorm.bias"),
    Rule(G, "cls/predictions/output_bias", "cls.predictions.bias"),
    Rule(G, "cls/seq_relationship/output_weights", "cls.seq_relationship.weight"),
    Rule(G, "cls/seq_relationship/output_bias", "cls.seq_relationship.bias"),
    Rule(G, "cls/squad/output_weights", "qa_outputs.weight"),
    Rule(G, "cls/squad/output_bias", "qa_outputs.bias"),
    Rule(G, "output_weights", "classifier.weight"),
    Rule(G, "output_bias", "classifier.bias"),
    # A BertModel saved alone has no prefix.
    Rule("no bert. prefix", "embeddings.*", "bert.embeddings.*"),
    Rule("no bert. prefix", "encoder.*", "bert.encoder.*"),
    Rule("no bert. prefix", "pooler.*", "bert.pooler.*"),
    # The first PyTorch BERTs kept TensorFlow's names.  The rules match a whole last component, never a part of one.
    Rule("gamma/beta", "*LayerNorm.gamma", "*LayerNorm.weight"),
    Rule("gamma/beta", "*LayerNorm.beta", "*LayerNorm.bias"),
)

# Modules that torch wraps around others anywhere in a tree, not only at its root.
WRAPPED = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
# Every BERT has these two tensors: the prefix of their names is the prefix of all names.
LANDMARK = re.compile(
    r"(?P<prefix>(?:.*?[./])??)(?:bert[./])?"
    r"(?:embeddings[./]word_embeddings(?:\.weight)?|encoder[./]layer[._]0[./]attention[./]self[./]query[./](?:weight|kernel))"
)
LANDMARK_ENDS = ("word_embeddings.weight", "word_embeddings", "self.query.weight", "self/query/kernel")

# Known tensors that a model does not use, with the reason that the report gives.
OPTIMIZER = "the optimizer's state, for resuming training"
UNUSED = (
    ("bert.embeddings.position_ids", "a constant (0, 1, 2, …), not a weight"),
    ("*/adam_m", OPTIMIZER),
    ("*/adam_v", OPTIMIZER),
    ("*/Adam", OPTIMIZER),
    ("*/Adam_1", OPTIMIZER),
    ("global_step", "the number of training steps, for resuming training"),
)


@dataclass(frozen=True)
class Reading:
    """One tensor's name, translated by the table."""

    ours: str
    dialects: tuple[str, ...]  # of the rules that applied; empty for a name that was ours already
    transposed: bool


@lru_cache(maxsize=1 << 15)
def read_name(name: str) -> Reading:
    """Our name for a tensor of a checkpoint in any dialect; a name that no rule knows stays as it is."""
    dialects: list[str] = []
    transposed = False
    wrappers = [rule for rule in TABLE if rule.one_way == WRAPPER]
    while inside := next((rule for rule in wrappers if rule.read(name) is not None), None):
        name = inside.read(name) or name
        dialects.append(inside.dialect)
    for rule in TABLE:
        if rule not in wrappers and (ours := rule.read(name)) is not None:
            name, transposed = ours, transposed or rule.transposed
            dialects.append(rule.dialect)
    return Reading(name, tuple(dict.fromkeys(dialects)), transposed)


class Names(dict[str, Reading]):
    """All names of a checkpoint, each with its reading, in the file's order."""

    prefixes: tuple[str, ...] = ()  # of BERT's names in this file; several mean several models

    @property
    def prefix(self) -> str:
        """The prefix that was removed from the names, such as ``"model."``; "" for none."""
        return self.prefixes[0] if len(self.prefixes) == 1 else ""


def read_names(names: Iterable[str]) -> Names:
    """Translate all names of a checkpoint, without the prefix that a program put before BERT's own."""
    bare = {name: without_wrappers(name) for name in names}
    prefixes = sorted({prefix for name in bare.values() if (prefix := prefix_of(name)) is not None})
    if "" in prefixes:  # a BERT under its own names; the other models in the file stand beside it
        prefixes = []
    readings = Names()
    readings.prefixes = tuple(prefixes)
    for name, own in bare.items():
        inner = own.removeprefix(prefixes[0]) if len(prefixes) == 1 else own
        reading = read_name(inner)
        dialects = (f"{prefixes[0]} prefix", *reading.dialects) if inner != own else reading.dialects
        if own != name:
            dialects = (*dialects, "a wrapper of torch inside")
        readings[name] = Reading(reading.ours, dialects, reading.transposed)
    return readings


def prefix_of(name: str) -> str | None:
    """The prefix of BERT's own name in ``name``; None for a name that is no landmark."""
    match = LANDMARK.fullmatch(name) if name.endswith(LANDMARK_ENDS) else None
    if match is None:
        return None
    by_table = re.fullmatch(r"(?:module\.|_orig_mod\.)*", match["prefix"])  # the table removes these
    return "" if by_table else match["prefix"]


def without_wrappers(name: str) -> str:
    """``name`` without the wrappers that torch puts inside a tree; the table removes those at its root."""
    root = next((wrapper for wrapper in WRAPPED[:1] if name.startswith(wrapper)), "")
    inner = name.removeprefix(root)
    for wrapper in WRAPPED:
        if wrapper in inner:
            inner = inner.replace(f".{wrapper}", ".").removeprefix(wrapper)
    return root + inner


def write_name(name: str, dialect: str) -> str:
    """Our ``name`` in an old ``dialect`` of the table; unchanged where that dialect has no name of its own."""
    for rule in TABLE:
        if rule.dialect == dialect and (theirs := rule.write(name)) is not None:
            return theirs
    return name


def why_unused(name: str) -> str | None:
    """Why no model uses the tensor called ``name`` (ours); None when no such reason is known."""
    for pattern, reason in UNUSED:
        if _rewrite(name, pattern, pattern) is not None:
            return reason
    return None
