"""BertConfig: reading, keeping, printing, checking."""

import json

import pytest

from minibert import BertConfig, BertModel, CheckpointError, ConfigError
from minibert.config import known_architectures


def test_the_known_architectures() -> None:
    sizes = {name: BertConfig.from_pretrained(name) for name in known_architectures()}
    shapes = {n: (c.num_hidden_layers, c.hidden_size, c.num_attention_heads, c.vocab_size) for n, c in sizes.items()}
    assert shapes == {
        "bert-tiny": (2, 128, 2, 30522),
        "bert-mini": (4, 256, 4, 30522),
        "bert-small": (4, 512, 8, 30522),
        "bert-medium": (8, 512, 8, 30522),
        "bert-base-uncased": (12, 768, 12, 30522),
        "bert-base-cased": (12, 768, 12, 28996),
        "bert-large-uncased": (24, 1024, 16, 30522),
        "bert-large-cased": (24, 1024, 16, 28996),
        "bert-base-multilingual-uncased": (12, 768, 12, 105879),
        "bert-base-multilingual-cased": (12, 768, 12, 119547),
        "bert-base-chinese": (12, 768, 12, 21128),
        "kcbert-base": (12, 768, 12, 30000),
        "kcbert-large": (24, 1024, 16, 30000),
    }
    for name, config in sizes.items():
        config.validate()
        assert config.intermediate_size == 4 * config.hidden_size
        assert config.max_position_embeddings == (300 if name.startswith("kcbert") else 512)
        assert config.layer_norm_eps == 1e-12


@pytest.mark.parametrize("name", ["bert-base-multilingual-uncased", "kcbert-base"])
def test_the_published_config_files_say_the_same(shared, name: str) -> None:
    published = json.loads((shared / "vocab" / name / "config.json").read_text(encoding="utf-8"))
    ours = BertConfig.from_pretrained(name).to_dict()
    assert {key: ours[key] for key in published if key != "architectures"} == {
        key: value for key, value in published.items() if key != "architectures"
    }


def test_keeps_prints_and_saves_keys_it_does_not_know(tmp_path) -> None:
    config = BertConfig(pooler_fc_size=768, directionality="bidi", hidden_size=96, num_attention_heads=4)
    config.num_labels = 3
    config.my_note = {"a": [1, 2]}
    config.save_pretrained(tmp_path)
    again = BertConfig.from_pretrained(tmp_path)
    assert again == config
    assert again.pooler_fc_size == 768
    assert again.directionality == "bidi"
    assert again.my_note == {"a": [1, 2]}
    assert again.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert again.num_labels == 3
    name, text = str(config).split(" ", 1)
    assert name == "BertConfig"
    printed = json.loads(text)
    assert printed["model_type"] == "bert"
    assert printed["hidden_size"] == 96
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_overrides_win_over_the_file(tmp_path) -> None:
    BertConfig(hidden_dropout_prob=0.3, num_labels=4).save_pretrained(tmp_path)
    config = BertConfig.from_pretrained(tmp_path, hidden_dropout_prob=0.0, num_labels=2, output_hidden_states=True)
    assert (config.hidden_dropout_prob, config.num_labels, config.output_hidden_states) == (0.0, 2, True)
    assert BertConfig.from_pretrained(tmp_path).num_labels == 4


def test_how_to_compute_is_not_saved(tmp_path) -> None:
    BertConfig(attn_implementation="eager").save_pretrained(tmp_path)
    assert "attn_implementation" not in (tmp_path / "config.json").read_text()
    assert BertConfig.from_pretrained(tmp_path).attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("position_embedding_type", "relative_key", "position_embedding_type is 'relative_key'"),
        ("is_decoder", True, "is_decoder is true"),
        ("add_cross_attention", True, "add_cross_attention is true"),
        ("hidden_act", "quick_gelu", "hidden_act is 'quick_gelu'; minibert has gelu, gelu_new"),
        ("num_attention_heads", 7, "hidden_size 64 is not a multiple of num_attention_heads 7"),
        ("num_hidden_layers", 0, "num_hidden_layers is 0; expected a whole number of at least 1"),
        ("vocab_size", "many", "vocab_size is 'many'"),
        ("hidden_dropout_prob", 1.5, "hidden_dropout_prob is 1.5; expected a number between 0 and 1"),
        ("pad_token_id", 99, "pad_token_id is 99; the vocabulary has ids 0 to 49"),
        ("attn_implementation", "flash", "attn_implementation is 'flash'; choose 'eager' or 'sdpa'"),
    ],
)
def test_a_field_that_cannot_be_honoured_is_named(field: str, value: object, sentence: str) -> None:
    config = BertConfig(vocab_size=50, hidden_size=64, num_attention_heads=4, num_hidden_layers=1, intermediate_size=8)
    setattr(config, field, value)
    with pytest.raises(ConfigError, match=sentence.replace("(", r"\(")):
        BertModel(config)


def test_sources_that_are_none(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="holds no config.json. Put".replace(".", r"\.")):
        BertConfig.from_pretrained(tmp_path)
    (tmp_path / "last.ckpt").write_bytes(b"weights")
    with pytest.raises(CheckpointError, match="if those are the weights, give the path of that file"):
        BertConfig.from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"beside them\. Architectures known by name are [\w, -]+\.$"):
        BertConfig.from_pretrained(tmp_path / "last.ckpt")
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    with pytest.raises(ConfigError, match="model_type 'roberta'; minibert runs 'bert' models only"):
        BertConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{not json")
    with pytest.raises(CheckpointError, match="cannot be read as JSON"):
        BertConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[1, 2]")
    with pytest.raises(CheckpointError, match="holds a JSON list, expected an object"):
        BertConfig.from_pretrained(tmp_path)


def test_a_mistyped_architecture_is_not_only_a_name_on_the_hub(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="did you mean bert-tiny, an architecture known by name"):
        BertConfig.from_pretrained("bert-tny", cache_dir=tmp_path, local_files_only=True)
    with pytest.raises(CheckpointError) as caught:
        BertConfig.from_pretrained("owner/unlike-any", cache_dir=tmp_path, local_files_only=True)
    assert "did you mean" not in str(caught.value)
