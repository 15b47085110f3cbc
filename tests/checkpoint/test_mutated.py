"""Mutated config.json and indexes of shards, by the hundred: a model, or one sentence, never another exception."""

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minibert import BertModel, MinibertError
from minibert.auto import load_architecture
from minibert.cli import main
from tests.checkpoint.hostile import TINY, index_of, make_good

CONFIGS, INDEXES = 1_400, 600
FULL = {
    **TINY, "architectures": ["BertModel"], "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "pad_token_id": 0,
    "attention_probs_dropout_prob": 0.1, "layer_norm_eps": 1e-12, "initializer_range": 0.02, "type_vocab_size": 2,
    "position_embedding_type": "absolute", "classifier_dropout": None, "problem_type": None, "is_decoder": False,
    "add_cross_attention": False, "tie_word_embeddings": True, "chunk_size_feed_forward": 0, "num_labels": 2,
    "id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}, "output_attentions": False, "return_dict": True,
    "output_hidden_states": False, "torch_dtype": "float32", "dtype": "float32", "tokenizer_class": "BertTokenizer",
    "embedding_size": 8, "is_encoder_decoder": False, "auto_map": None, "transformers_version": "4.0.0",
    "attn_implementation": "sdpa", "directionality": "bidi", "pruned_heads": {}, "quantization_config": None,
}  # fmt: skip
JUNK: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 12, 10**30, 1.0, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "12", "true",
    "false", "x", "\x1b[2J", "\ud800", "gelu", "BertModel", "a\0b", "é" * 300, [[]], [1], ["a"], [None], {}, {"a": 1},
    {"0": "a"}, {"0": 0}, {"-1": "a", "0": "b"}, {"x": {"y": []}}, [{}], {"": None}, [], ["BertForMaskedLM", 3],
)  # fmt: skip


def mutated(content: Any, random_: random.Random) -> Any:
    """A copy with one to three values replaced, removed, added, moved, or wrapped, anywhere inside."""
    content = copy.deepcopy(content)
    for _ in range(random_.randint(1, 3)):
        places = [place for place in containers(content) if len(place)]
        place = random_.choice(places)
        key = random_.choice(list(place) if isinstance(place, dict) else range(len(place)))
        match random_.randrange(6):
            case 0 | 1 | 2:
                place[key] = copy.deepcopy(random_.choice(JUNK))
            case 3 if len(place) > 1:
                del place[key]
            case 4:
                place[key] = random_.choice([lambda x: [x], lambda x: {"a": x}, str])(place[key])
            case _ if isinstance(place, dict):
                place[random_.choice(("x", "to_dict", "__init__", "self", "validate", str(key) + "s"))] = place[key]
    return content


def containers(content: Any) -> list[Any]:
    """All lists and objects inside ``content``, itself among them."""
    if not isinstance(content, list | dict):
        return []
    inner = content.values() if isinstance(content, dict) else content
    return [content, *(place for value in inner for place in containers(value))]


def variants(content: Any, count: int, seed: int) -> Iterator[str]:
    """``count`` mutated files; one in ten has its bytes changed, too."""
    random_ = random.Random(seed)
    for number in range(count):
        text = json.dumps(mutated(content, random_))
        if number % 10 == 0:
            place = random_.randrange(len(text))
            text = text[:place] + random_.choice('{}[],:"\\0 x') + text[place + random_.randrange(3) :]
        yield text


def loads_or_says_why(folder: Path, file: Path, number: int = 0) -> bool:
    """Whether a checkpoint loads; what it says otherwise names the file or the weights, and can be printed."""
    loaded = True
    for opens in (BertModel.from_pretrained, load_architecture)[: 1 + (number % 4 == 0)]:
        try:
            opens(folder)
        except MinibertError as error:
            loaded = False
            sentence = str(error)
            assert sentence.isprintable()
            assert file.name in sentence or "model" in sentence or folder.name in sentence, sentence
            assert len(sentence) < 2500
    return loaded


@pytest.mark.parametrize("seed", range(2))
def test_configs(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_good(tmp_path / "x", "safetensors")
    file = tmp_path / "x" / "config.json"
    file.write_text(json.dumps(FULL))
    assert loads_or_says_why(tmp_path / "x", file)
    loaded = 0
    for number, text in enumerate(variants(FULL, CONFIGS // 2, seed)):
        file.write_text(text)
        loaded += loads_or_says_why(tmp_path / "x", file, number)
        if number % 50 == 0:
            assert main(["inspect", str(tmp_path / "x"), "--json"]) in (0, 2)
            assert "Traceback" not in capsys.readouterr().err
    assert CONFIGS // 20 < loaded < CONFIGS // 2 * 0.7  # both ways are taken often


@pytest.mark.parametrize("form", ["shards", "bin_shards"])
def test_indexes(form: str, tmp_path: Path) -> None:
    make_good(tmp_path / "x", form)
    file = index_of(tmp_path / "x")
    content = json.loads(file.read_text())
    loaded = 0
    for number, text in enumerate(variants(content, INDEXES // 2, 7)):
        file.write_text(text)
        loaded += loads_or_says_why(tmp_path / "x", file, number)
    assert 3 < loaded < INDEXES // 4
