"""The table of dialects: every line of it, both ways."""

import pytest

from minibert import BertConfig, BertForPreTraining, BertForQuestionAnswering, BertForSequenceClassification
from minibert.checkpoint.names import TABLE, UNUSED, read_name, why_unused, write_name

SMALL = BertConfig(vocab_size=10, hidden_size=8, num_hidden_layers=11, num_attention_heads=2, intermediate_size=8)
HEADS = (BertForPreTraining, BertForSequenceClassification, BertForQuestionAnswering)
OURS = sorted({name for head in HEADS for name in head(SMALL).state_dict()} - {"cls.predictions.decoder.weight"})


def test_our_own_names_stay_as_they_are() -> None:
    for name in OURS:
        reading = read_name(name)
        assert (reading.ours, reading.dialects, reading.transposed) == (name, (), False)


@pytest.mark.parametrize("dialect", ["Google", "no bert. prefix", "gamma/beta"])
def test_every_name_goes_to_the_old_dialect_and_back(dialect: str) -> None:
    changed = 0
    for name in OURS:
        if name == "cls.predictions.decoder.bias" and dialect == "Google":
            continue  # tied to cls.predictions.bias, which Google calls output_bias
        theirs = write_name(name, dialect)
        assert read_name(theirs).ours == name
        changed += theirs != name
        if dialect == "Google":
            assert theirs != name, f"Google has a name for {name}"
            is_kernel = name.endswith("dense.weight") or name.endswith(("query.weight", "key.weight", "value.weight"))
            assert read_name(theirs).transposed == is_kernel
    assert changed > 10


@pytest.mark.parametrize(
    ("theirs", "ours", "dialects"),
    [
        (
            "module.module.bert.encoder.layer.3.output.LayerNorm.gamma",
            "bert.encoder.layer.3.output.LayerNorm.weight",
            ("module. prefix (DataParallel)", "gamma/beta"),
        ),
        ("_orig_mod.module.pooler.dense.bias", "bert.pooler.dense.bias", None),
        ("embeddings.LayerNorm.beta", "bert.embeddings.LayerNorm.bias", ("no bert. prefix", "gamma/beta")),
        ("cls.predictions.transform.LayerNorm.gamma", "cls.predictions.transform.LayerNorm.weight", ("gamma/beta",)),
        ("bert/encoder/layer_11/output/dense/kernel", "bert.encoder.layer.11.output.dense.weight", ("Google",)),
    ],
)
def test_dialects_may_be_mixed(theirs: str, ours: str, dialects: tuple[str, ...] | None) -> None:
    reading = read_name(theirs)
    assert reading.ours == ours
    assert dialects is None or reading.dialects == dialects


@pytest.mark.parametrize(
    "name", ["bert.gamma_layer.weight", "bert.LayerNorm.gamma.weight", "alphabeta.weight", "LayerNorm.betas", "x.gamma"]
)
def test_gamma_and_beta_are_never_a_part_of_a_word(name: str) -> None:
    assert read_name(name).ours == name


def test_what_is_known_to_be_of_no_use_has_its_reason() -> None:
    assert why_unused(read_name("embeddings.position_ids").ours) == "a constant (0, 1, 2, …), not a weight"
    assert why_unused("bert/pooler/dense/kernel/adam_v")
    assert why_unused("global_step")
    assert why_unused("bert.pooler.dense.weight") is None
    assert all(reason for _, reason in UNUSED)


def test_one_way_rules_say_why() -> None:
    for rule in TABLE:
        if rule.one_way:
            assert rule.write(rule.ours) is None
        else:
            assert set("#@*") & set(rule.theirs) == set("#@*") & set(rule.ours)
