"""The comparison of what pre-training brings: the features are those of the paper, and both tables come out whole."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from minibert import BertConfig, BertForPreTraining, BertModel, BertTokenizer
from minibert.finetuning import TASKS
from minibert.training.settings import Settings
from tests.support.toy_tasks import TINY, class_rows, tagged, write_conll

SCRIPTS = Path(__file__).parents[2] / "scripts" / "studies"


@pytest.fixture
def compare(monkeypatch) -> ModuleType:
    """The script; scripts import each other as files of one folder."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import compare_pretraining

    return compare_pretraining


@pytest.fixture
def frozen(compare) -> ModuleType:
    import frozen_features

    return frozen_features


@pytest.fixture(scope="module")
def four_layers(tmp_path_factory) -> Path:
    """A tiny random checkpoint with as many layers as the table needs."""
    folder = tmp_path_factory.mktemp("four")
    torch.manual_seed(0)
    BertForPreTraining(BertConfig.from_pretrained(TINY, num_hidden_layers=4)).save_pretrained(folder)
    BertTokenizer.from_pretrained(TINY).save_pretrained(folder)
    return folder


def write_sentiment(folder: Path) -> Path:
    for name, seed in (("train.tsv", 0), ("test.tsv", 1)):
        rows = class_rows(60, seed)
        lines = [f"{number}\t{row['text']}\t{int('pear' in row['label'])}\n" for number, row in enumerate(rows)]
        (folder / name).write_text("".join(["id\tdocument\tlabel\n", *lines]), encoding="utf-8")
    return folder


def write_entities(folder: Path) -> Path:
    for seed, name in enumerate(("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")):
        write_conll(folder / name, tagged(30, seed))
    return folder


def run(compare: ModuleType, monkeypatch, *typed: str) -> int:
    monkeypatch.setattr(sys, "argv", ["compare_pretraining.py", *typed, "--quick"])
    return compare.main()


def rows_of(printed: str) -> list[str]:
    """The names of the table's rows; each has a mean, a deviation and a rate."""
    shape = re.compile(r"(\S.*?) {2,}\d+\.\d\d +\d+\.\d\d +\de-\d\d")
    return [found[1] for line in printed.splitlines() if (found := shape.fullmatch(line))]


def test_sentiment(compare, four_layers, tmp_path, monkeypatch, capsys) -> None:
    data = write_sentiment(tmp_path)
    typed = ["--model", str(four_layers), "--data", str(data), "--learning-rate", "1e-3", "1e-4"]
    assert run(compare, monkeypatch, "sentiment", *typed) == 0
    printed = capsys.readouterr().out
    assert "54 texts to learn from, 6 dev, 60 test; 1 epochs, batches of 32, 2 seeds" in printed
    assert rows_of(printed) == [
        "fine-tuned",
        "the same from random weights",
        "frozen: last layer, linear",
        "frozen: last four layers concatenated, linear",
    ]


def test_entities(compare, frozen, four_layers, tmp_path, monkeypatch, capsys) -> None:
    data = write_entities(tmp_path)
    assert run(compare, monkeypatch, "entities", "--model", str(four_layers), "--data", str(data), "--lstm", "8") == 0
    names = [f"frozen: {choice.name}" for choice in frozen.TABLE_7]
    assert len(names) == 6
    assert rows_of(capsys.readouterr().out) == ["fine-tuned", "the same from random weights", *names]


def test_too_few_layers_and_no_data(compare, tmp_path, monkeypatch) -> None:
    with pytest.raises(SystemExit, match=r"train\.tsv is not there"):
        run(compare, monkeypatch, "sentiment", "--model", str(TINY), "--data", str(tmp_path))
    data = write_entities(tmp_path)
    with pytest.raises(SystemExit, match="has 2 layers; the table needs the last four"):
        run(compare, monkeypatch, "entities", "--model", str(TINY), "--data", str(data))


def word_states(frozen: ModuleType, checkpoint: Path, path: Path):
    task = TASKS["entities"]()
    rows = task.read(path)
    config = BertConfig.from_dict({**vars(BertConfig.from_pretrained(checkpoint)), **task.settings(rows)})
    tokenizer = BertTokenizer.from_pretrained(checkpoint)
    model = BertModel.from_pretrained(checkpoint, output_hidden_states=True)
    examples = task.examples(rows, tokenizer, config)
    return frozen.WordStates.of(model, examples, "features"), model, config


def test_features_are_the_hidden_states_of_first_pieces(frozen, four_layers, tmp_path) -> None:
    found, model, _ = word_states(frozen, four_layers, write_conll(tmp_path / "rows.conll", tagged(5)))
    assert len(found.states) == 5
    for number, (row, where) in enumerate(found.places):
        batch = found.examples.collate([row])
        with torch.no_grad():
            hidden = model(**{name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")})
        expected = torch.stack(hidden.hidden_states)[:, 0, where]
        assert found.states[number].shape == (5, len(found.examples.sentences[number].words), 16)
        torch.testing.assert_close(found.states[number].float(), expected, atol=5e-3, rtol=0)


def test_choices_are_those_of_table_7(frozen) -> None:
    layers = {choice.name: (list(range(13))[choice.layers], choice.width(12, 768)) for choice in frozen.TABLE_7}
    assert layers == {
        "embeddings": ([0], 768),
        "second-to-last hidden": ([11], 768),
        "last hidden": ([12], 768),
        "weighted sum, last four hidden": ([9, 10, 11, 12], 768),
        "concat, last four hidden": ([9, 10, 11, 12], 3072),
        "weighted sum, all layers": (list(range(1, 13)), 768),
    }


def test_a_weighted_sum_begins_as_the_mean_and_its_weights_are_learned(frozen, four_layers, tmp_path) -> None:
    mix = frozen.WeightedSum(4)
    states = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mix(states), states.mean(1))
    found, _, config = word_states(frozen, four_layers, write_conll(tmp_path / "rows.conll", tagged(20)))
    tagger = frozen.Tagger(frozen.TABLE_7[3], 4, 16, 8, config.num_labels)
    states, lengths, labels = found.batch(range(20), torch.device("cpu"))
    tagger(states, lengths).flatten(0, 1)[labels.flatten() >= 0].square().sum().backward()
    assert tagger.mix.weights.grad.abs().max() > 0


def test_concatenated_layers_lie_side_by_side(frozen) -> None:
    """(B, layers, T, H): word t's features are layer 9's numbers, then layer 10's, …"""
    states = torch.arange(2 * 5 * 3 * 2, dtype=torch.float32).reshape(2, 5, 3, 2)
    tagger = frozen.Tagger(frozen.TABLE_7[4], 4, 2, 4, 3).eval()
    seen = {}
    tagger.lstm.register_forward_pre_hook(lambda module, inputs: seen.update(packed=inputs[0]))
    tagger(states, torch.tensor([3, 3]))
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(seen["packed"], batch_first=True)
    expected = torch.cat([states[:, layer] for layer in range(1, 5)], dim=-1)
    assert torch.equal(padded, expected)


def test_frozen_features_are_learned_from(frozen, four_layers, tmp_path) -> None:
    """The toy's entities hang on single words, which a random model's states tell apart."""
    found, _, config = word_states(frozen, four_layers, write_conll(tmp_path / "rows.conll", tagged(128)))
    settings = Settings(learning_rate=2e-2, epochs=25)
    dev, test = frozen.fit_tagger(
        frozen.TABLE_7[0], [found] * 3, config.id2label, settings, 16, 16, torch.device("cpu")
    )  # fmt: skip
    assert dev == test > 0.9


def test_a_linear_classifier_finds_a_line(frozen) -> None:
    draw = torch.Generator().manual_seed(0)
    vectors = [torch.randn(200, 6, generator=draw) for _ in range(3)]
    labels = [(part[:, 2] > 0).long() for part in vectors]
    settings = Settings(learning_rate=5e-2, epochs=10)
    dev, test = frozen.fit_linear(vectors, labels, settings, 16, torch.device("cpu"))
    assert dev > 0.95
    assert test > 0.95


def test_every_label_is_among_the_training_sentences(compare) -> None:
    sentences = ["a\tO\n\n", "b\tO\n\n", "c\tB-x\n\n", "d\tB-x\n\n", "e\tI-x\n\n"]
    assert list(compare.covering(sentences, 1)) == [sentences[0], sentences[2], sentences[4]]
    assert list(compare.covering(sentences, 9)) == sentences


def test_a_file_that_is_sorted_by_label_gives_both(compare) -> None:
    lines = ["label\n", *["1\n"] * 500, *["0\n"] * 500]
    head, *rows = compare.shuffled(lines, 100)
    assert head == "label\n"
    assert len(rows) == 100
    assert 30 < rows.count("1\n") < 70
    assert compare.shuffled(lines, 100) == [head, *rows]
    assert sorted(compare.shuffled(lines, None)) == sorted(lines)


def test_the_rate_is_chosen_on_dev_data_alone(compare) -> None:
    scores = {(1.0, 0): (0.5, 0.9), (2.0, 0): (0.6, 0.1), (2.0, 1): (0.0, 0.3)}
    row = compare.Row("a row", [1.0, 2.0], lambda rate, seed: scores[rate, seed])
    assert compare.measure(row, 2) == (2.0, [0.1, 0.3])
