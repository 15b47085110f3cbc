"""The printed tree and the names of the parameters are BERT's."""

import pytest

from minibert import BertConfig, BertForMaskedLM, BertForPreTraining, BertModel

PIECES = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)


def test_prints_the_published_tree_to_the_letter(shared) -> None:
    model = BertModel(BertConfig.from_pretrained("bert-base-multilingual-uncased"))
    published = (shared / "reference" / "bert-base-multilingual-uncased.repr.txt").read_text(encoding="utf-8")
    assert repr(model) + "\n" == published


def test_prints_every_layer() -> None:
    text = repr(BertModel(BertConfig.from_pretrained("bert-tiny")))
    assert text.startswith("BertModel(\n  (embeddings): BertEmbeddings(\n    (word_embeddings): Embedding(30522, 128")
    assert text.count("BertLayer(") == 2
    assert "(LayerNorm): LayerNorm((128,), eps=1e-12, elementwise_affine=True)\n" in text


def test_state_dict_keys_are_those_of_a_modern_checkpoint() -> None:
    config = BertConfig.from_pretrained("bert-tiny")
    expected = [f"embeddings.{table}_embeddings.weight" for table in ("word", "position", "token_type")]
    expected += ["embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias"]
    expected += [f"encoder.layer.{n}.{piece}.{kind}" for n in (0, 1) for piece in PIECES for kind in ("weight", "bias")]
    expected += ["pooler.dense.weight", "pooler.dense.bias"]
    assert list(BertModel(config).state_dict()) == expected
    heads = set(BertForPreTraining(config).state_dict()) - {f"bert.{name}" for name in expected}
    transform = {f"cls.predictions.transform.{m}.{k}" for m in ("dense", "LayerNorm") for k in ("weight", "bias")}
    decoder = {"cls.predictions.bias", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    assert heads == transform | decoder | {"cls.seq_relationship.weight", "cls.seq_relationship.bias"}


@pytest.mark.parametrize(
    ("name", "millions"), [("bert-tiny", 4.4), ("bert-mini", 11.2), ("bert-small", 28.8), ("bert-medium", 41.4)]
)
def test_published_parameter_counts(name: str, millions: float) -> None:
    """The table of google-research/bert's README, in millions, for the encoder with its pooler."""
    assert round(BertModel(BertConfig.from_pretrained(name)).num_parameters() / 1e6, 1) == millions


def test_initial_weights_are_googles() -> None:
    model = BertForMaskedLM(BertConfig.from_pretrained("bert-mini"))
    words = model.bert.embeddings.word_embeddings.weight
    assert words[0].abs().max() == 0  # [PAD]
    assert abs(words[1:].std().item() - 0.02) < 1e-4
    layer = model.bert.encoder.layer[0]
    assert abs(layer.intermediate.dense.weight.std().item() - 0.02) < 1e-4
    assert layer.intermediate.dense.bias.abs().max() == 0
    assert (layer.output.LayerNorm.weight == 1).all()


def test_num_parameters_counts_tied_tensors_once() -> None:
    model = BertForMaskedLM(BertConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2))
    names = {name for name, _ in model.named_parameters()}
    assert "cls.predictions.decoder.weight" not in names
    frozen = sum(p.numel() for p in model.bert.embeddings.parameters())
    for parameter in model.bert.embeddings.parameters():
        parameter.requires_grad_(False)
    assert model.num_parameters() - model.num_parameters(only_trainable=True) == frozen
