"""Several labels a text, and weights of classes: what is read, the losses of torch and transformers, predictions."""

import csv
import json
import logging
import random
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from minibert import BertConfig, BertForSequenceClassification, BertTokenizer, InputError
from minibert.cli import main
from minibert.data.labels import split_labels
from minibert.finetuning import MultiLabel, Predictor, finetune
from minibert.finetuning.classify import Classify, class_weights
from minibert.finetuning.labels import label_settings
from minibert.finetuning.packing import INPUTS
from minibert.finetuning.score import Score
from minibert.finetuning.scores import label_scores
from minibert.finetuning.texts import LabelledText
from minibert.training.metrics import read_metrics
from tests.parity.compare import assert_same_gradients
from tests.support.toy_tasks import FAST, TINY, WORDS, class_rows, sentence, write_jsonl

KINDS = ("river", "pear", "tree")


def label_rows(count: int = 96, seed: int = 0) -> list[dict]:
    """The text has the words that it is labelled with: none to three of them."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        chosen = [kind for kind in KINDS if draw.random() < 0.5]
        rows.append({"text": " ".join(sentence(draw, *chosen, longest=4)), "labels": chosen})
    return rows


@pytest.fixture(scope="module")
def learned(toy, tmp_path_factory) -> tuple[Path, object]:
    folder = tmp_path_factory.mktemp("multilabel")
    train = write_jsonl(folder / "train.jsonl", label_rows(128))
    dev = write_jsonl(folder / "dev.jsonl", label_rows(64, seed=1))
    return folder / "model", finetune(MultiLabel(), toy, train, folder / "model", dev, **{**FAST, "epochs": 20})


def test_a_toy_is_learned_and_predicted(learned, tmp_path) -> None:
    folder, report = learned
    assert report.labels == ("pear", "river", "tree")
    assert report.scores == {"micro_f1": 1.0, "macro_f1": 1.0, "exact_match": 1.0}
    assert "on the dev data micro f1 1.0000, macro f1 1.0000, exact match 1.0000" in str(report)
    config = json.loads((folder / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    predictor = Predictor.from_pretrained(folder)
    rows = label_rows(20, seed=1)
    found = predictor([row["text"] for row in rows])
    assert [sorted(one.labels) for one in found] == [sorted(row["labels"]) for row in rows]
    assert all(set(one.probabilities) == set(KINDS) for one in found)
    assert all((one.probabilities[kind] >= 0.5) == (kind in one.labels) for one in found for kind in KINDS)
    model, tokenizer = BertForSequenceClassification.from_pretrained(folder), BertTokenizer.from_pretrained(folder)
    expected = model(**tokenizer(rows[0]["text"], return_tensors="pt")).logits.sigmoid()[0].tolist()
    assert list(found[0].probabilities.values()) == pytest.approx(expected, abs=1e-6)
    sharp = Predictor.from_pretrained(folder, threshold=1.0)
    assert sharp("pear").labels == ()


def test_files_and_the_terminal(learned, tmp_path, capsys) -> None:
    folder, _ = learned
    rows = label_rows(64, seed=1)
    two = next(row["text"] for row in rows if len(row["labels"]) == 2)
    none = next(row["text"] for row in rows if not row["labels"])
    source = write_jsonl(tmp_path / "x.jsonl", [{"text": two}, {"text": none}])
    predictor = Predictor.from_pretrained(folder)
    chosen = list(predictor(two).labels)
    predictor.predict_file(source, tmp_path / "y.jsonl")
    (first, second) = [json.loads(line) for line in (tmp_path / "y.jsonl").read_text().splitlines()]
    assert (first["labels"], second["labels"]) == (chosen, [])
    assert len(chosen) == 2
    assert list(first["probabilities"]) == ["pear", "river", "tree"]
    predictor.predict_file(source, tmp_path / "y.csv")
    with (tmp_path / "y.csv").open(newline="") as file:
        line, _ = csv.DictReader(file)
    assert line["labels"] == "|".join(chosen)
    assert json.loads(line["probabilities"]) == first["probabilities"]
    assert main(["predict", str(folder), two, "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["labels"] == chosen
    assert main(["predict", str(folder), two]) == 0
    assert f"pear {first['probabilities']['pear']:.4f}, river" in capsys.readouterr().out


def test_transformers_and_sentence_transformers_read_it_alike(learned) -> None:
    transformers = pytest.importorskip("transformers")
    library = pytest.importorskip("sentence_transformers")
    folder, _ = learned
    ours = list(Predictor.from_pretrained(folder)("she sat by the river").probabilities.values())
    pipe = transformers.pipeline("text-classification", str(folder), device="cpu", top_k=None)
    theirs = {one["label"]: one["score"] for one in pipe(["she sat by the river"])[0]}
    assert ours == pytest.approx([theirs[name] for name in ("pear", "river", "tree")], abs=1e-6)
    scores = library.CrossEncoder(str(folder), device="cpu").predict([("she sat", "by the river")])[0]
    pair = Predictor.from_pretrained(folder)(("she sat", "by the river"))
    assert list(pair.probabilities.values()) == pytest.approx(scores.tolist(), abs=1e-6)


# ── losses ───────────────────────────────────────────────────────────────────────────────────────


def examples_of(chosen, rows: list[LabelledText]):
    """Fine-tuning's examples and model for a few rows, as ``finetune`` makes them."""
    chosen, settings = chosen.fitted(rows), chosen.settings(rows)
    config = BertConfig.from_dict({**vars(BertConfig.from_pretrained(TINY)), **settings})
    torch.manual_seed(0)
    model = BertForSequenceClassification(config).eval()
    with torch.no_grad():
        model.classifier.weight.mul_(30)
    return chosen.examples(rows, BertTokenizer.from_pretrained(TINY), config), chosen.objective(model), model


def loss_of(objective, batches: list) -> torch.Tensor:
    """The loss of a step that is cut into ``batches``, as the loop adds it up."""
    found = [(objective.counts(batch), objective(batch)) for batch in batches]
    return torch.stack([
        sum(sums[key] for _, sums in found) / sum(counts[key] for counts, _ in found) for key in found[0][0]
    ]).sum()  # fmt: skip


ROWS = [LabelledText(" ".join(WORDS[n : n + 5]), label) for n, label in enumerate(["a", "b", "a", "a", "c", "a", "b"])]
MANY = [
    row._replace(label=tuple(labels)) for row, labels in zip(ROWS, ["ab", "", "c", "abc", "b", "a", "ac"], strict=True)
]


def test_multi_label_loss_is_that_of_transformers(tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    examples, objective, model = examples_of(MultiLabel(), MANY)
    batch = examples.collate(range(7))
    assert batch["labels"].tolist()[:2] == [[1, 1, 0], [0, 0, 0]]
    model.save_pretrained(tmp_path)
    reference = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    loss, expected = loss_of(objective, [batch]), reference(**batch).loss
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    expected.backward()
    assert assert_same_gradients(model, reference, 1e-6) > 10
    parts = [examples.collate(part) for part in (range(3), range(3, 7))]
    assert loss_of(objective, parts).item() == pytest.approx(expected.item(), rel=1e-6)


WEIGHTS = {"a": 0.25, "b": 3.5, "c": 1.75}


@pytest.mark.parametrize("parts", [[7], [3, 4], [1] * 7, [5, 2]])
def test_weighted_loss_is_cross_entropy_with_weights_however_the_step_is_cut(parts: list[int]) -> None:
    examples, objective, model = examples_of(Classify(class_weights=WEIGHTS), ROWS)
    whole = examples.collate(range(7))
    logits = model(**{name: whole[name] for name in INPUTS}).logits
    weight = torch.tensor(list(WEIGHTS.values()))
    expected = torch.nn.CrossEntropyLoss(weight=weight)(logits, whole["labels"])
    expected.backward()
    gradients = {name: value.grad.clone() for name, value in model.named_parameters()}
    model.zero_grad()
    starts = [sum(parts[:n]) for n in range(len(parts))]
    loss = loss_of(objective, [examples.collate(range(at, at + size)) for at, size in zip(starts, parts, strict=True)])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert expected.item() != pytest.approx(F.cross_entropy(logits, whole["labels"]).item(), rel=0.01)
    loss.backward()
    for name, value in model.named_parameters():
        assert value.grad == pytest.approx(gradients[name], abs=1e-6), name


def test_weights_of_labels_are_pos_weight() -> None:
    examples, objective, model = examples_of(MultiLabel(class_weights=WEIGHTS), MANY)
    batch = examples.collate(range(7))
    logits = model(**{name: batch[name] for name in INPUTS}).logits
    weight = torch.tensor(list(WEIGHTS.values()))
    expected = torch.nn.BCEWithLogitsLoss(pos_weight=weight)(logits, batch["labels"])
    assert loss_of(objective, [batch]).item() == pytest.approx(expected.item(), rel=1e-6)
    balanced = MultiLabel(class_weights="balanced").fitted(MANY).class_weights
    assert balanced == {"a": 3 / 4, "b": 4 / 3, "c": 4 / 3}


def test_micro_batches_of_the_loop_add_up_with_weights(toy, tmp_path) -> None:
    train = write_jsonl(
        tmp_path / "x.jsonl", [row for row in class_rows(40) if "pear" in row["label"] or row["text"][0] < "i"]
    )
    chosen = Classify(class_weights="balanced")
    entries = []
    for name, more in (("whole", {}), ("cut", {"micro_tokens": 40})):
        finetune(chosen, toy, train, tmp_path / name, epochs=1, batch_size=16, learning_rate=1e-3, **more)
        entries.append([entry for entry in read_metrics(tmp_path / name) if "loss" in entry])
    whole, cut = ([entry["loss"] for entry in run] for run in entries)
    assert len(whole) > 1
    assert cut == pytest.approx(whole, rel=2e-5)
    norms = ([entry["gradient_norm"] for entry in run] for run in entries)
    assert next(norms) == pytest.approx(next(norms), rel=1e-4)


def test_balanced_weights_and_wrong_ones() -> None:
    rows = [LabelledText("x", label) for label in "aaaaaabb"]
    assert Classify(class_weights="balanced").fitted(rows).class_weights == {"a": 8 / 12, "b": 8 / 4}
    assert class_weights("balanced", {"b": 2.0, "a": 0.5}) == {"a": 0.5, "b": 2.0}
    assert class_weights((2, 1), {"b": 6, "a": 2}) == {"a": 2.0, "b": 1.0}
    assert class_weights({"b": 2}, {"b": 6, "a": 2}) == {"a": 1.0, "b": 2.0}
    assert class_weights(None, {"a": 1}) is None
    assert class_weights(torch.tensor([2.0, 0.5]), {"a": 2, "b": 6}) == {"a": 2.0, "b": 0.5}
    numpy = pytest.importorskip("numpy")
    assert class_weights({"a": numpy.float32(2)}, {"a": 2, "b": 6}) == {"a": 2.0, "b": 1.0}
    for wrong, said in (
        ("even", "expected 'balanced', a number for each label in their order .'a', 'b'."),
        ((1,), "has 1 numbers, and the data 2 labels: 'a', 'b'"),
        ({"c": 1}, "names 'c'; the data has 'a', 'b'"),
        ({"a": 0}, "of 'a' is 0; expected a number above 0"),
        ({"a": float("nan")}, "is nan; expected"),
        ({"a": True}, "is True; expected"),
        ({"a": "2"}, "is '2'; expected"),
    ):
        with pytest.raises(InputError, match=said):
            class_weights(wrong, {"a": 1, "b": 2})
    with pytest.raises(TypeError):
        Score(class_weights="balanced")  # a number has no classes


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content", "choices"),
    [
        ("x.csv", "text,label\na,fun|long\nb,\nc, long \n", {}),
        ("x.tsv", "text\tlabels\na\tfun; long;\nb\t\nc\tlong\n", {"separator": ";"}),
        ("x.csv", 'text,tags\na,"[""fun"", ""long""]"\nb,[]\nc,"[\'long\']"\n', {}),
        ("x.jsonl", '{"text": "a", "labels": ["fun", "long", "fun"]}\n{"text": "b", "labels": []}\n'
                    '{"text": "c", "labels": "long"}\n', {}),
    ],
)  # fmt: skip
def test_every_way_to_write_labels(tmp_path, name: str, content: str, choices: dict) -> None:
    rows = MultiLabel(**choices).read(write(tmp_path / name, content))
    assert [row.label for row in rows] == [("fun", "long"), (), ("long",)]
    assert MultiLabel().settings(rows)["label2id"] == {"fun": 0, "long": 1}


def test_parquet_lists(tmp_path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"text": ["a", "b"], "labels": [[1, 2], []]})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    assert [row.label for row in MultiLabel().read(tmp_path / "x.parquet")] == [("1", "2"), ()]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"text": "a", "labels": null}\n', "row 1 has None in 'labels', expected labels: a list, or text"),
        ('{"text": "a", "labels": [null]}\n', r"row 1 has None in 'labels', expected a label"),
        ('{"text": "a", "labels": [" "]}\n', "row 1 has no label in 'labels'"),
        ('{"text": "a", "labels": "[a, b]"}\n', "which is no list of labels, as JSON writes one"),
        ('{"text": "a"}\n{"text": "b", "labels": []}\n', "the texts|has no 'labels'|holds the labels"),
        ('{"text": "a", "labels": []}\n', "has no label at all in 1 rows; expected two labels or more"),
        ('{"text": "a", "labels": ["x"]}\n{"text": "b", "labels": []}\n', "has the one label 'x' in 2 rows"),
        (
            '{"text": "a", "labels": ["x", "y"]}\n{"text": "b", "labels": ["y", "x"]}\n',
            "all 2 rows have the same labels",
        ),
    ],
)
def test_labels_that_cannot_be_read(tmp_path, content: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        MultiLabel().read(write(tmp_path / "x.jsonl", content))


def test_dev_labels_must_be_known_and_a_separator_that_is_not_there_is_said(tmp_path, caplog) -> None:
    config = BertConfig(**label_settings(["fun", "long"]))
    with pytest.raises(InputError, match="row 1 has the label 'dull' in 'labels'; the training data has 'fun', 'long'"):
        MultiLabel().read(write(tmp_path / "x.jsonl", '{"text": "a", "labels": ["fun", "dull"]}\n'), config)
    with caplog.at_level(logging.WARNING):
        MultiLabel().read(write(tmp_path / "x.csv", "text,labels\na,fun;long\nb,long\n"))
    assert (
        "no row has two labels in 'labels' ('fun;long', 'long'). Where '|' does not stand between them" in caplog.text
    )
    assert split_labels("", "x", "|") == []


def test_joined_labels_of_one_class_each_are_pointed_out(tmp_path, caplog) -> None:
    file = write(tmp_path / "x.csv", "text,label\na,fun|long\nb,long\nc,dull\nd,fun|long\n")
    with caplog.at_level(logging.WARNING):
        Classify().read(file)
    assert (
        "2 of 4 rows have several labels in 'label', such as 'fun|long'; each such combination is learned as a"
        in caplog.text
    )
    assert "--multi-label." in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        Classify().read(write(tmp_path / "y.csv", 'text,label\na,"fun, long"\nb,long\nc,fun\n'))
        assert "--multi-label --separator ','" in caplog.text
        caplog.clear()
        Classify().read(write(tmp_path / "z.csv", 'text,label\na,"Seoul, Korea"\nb,long\nc,fun\n'))  # a name
    assert caplog.text == ""
    with pytest.raises(InputError, match=r"row 1 has \['a', 'b'\] in 'label', expected one label; .* --multi-label"):
        Classify().read(write(tmp_path / "x.jsonl", '{"text": "a", "label": ["a", "b"]}\n'))


def test_uneven_classes_are_said_unless_they_are_weighed(tmp_path, caplog) -> None:
    file = write(tmp_path / "x.csv", "text,label\n" + "a,often\n" * 30 + "b,seldom\n" * 3)
    with caplog.at_level(logging.WARNING):
        Classify().read(file)
    assert (
        "in 'label' 'often' has 30 of 33 rows, 'seldom' has 3. A model that always says 'often' is right in 90.9 %"
        in caplog.text
    )
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        Classify(class_weights="balanced").read(file)
    assert caplog.text == ""


def test_numbers_and_missing_labels(tmp_path) -> None:
    rows = Classify().read(write(tmp_path / "x.jsonl", '{"text": "a", "label": 1.0}\n{"text": "b", "label": 0}\n'))
    assert [row.label for row in rows] == ["1", "0"]
    with pytest.raises(InputError, match=r"row 2 has no label in 'label' \(nan\)"):
        Classify().read(write(tmp_path / "y.jsonl", '{"text": "a", "label": 1.0}\n{"text": "b", "label": NaN}\n'))


def test_scores_by_hand() -> None:
    gold = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0]])
    found = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]])
    scores = label_scores(gold, found)
    # 3 right of 4 found and 4 true; label by label 1, 0, 1, and one that is nowhere.
    assert scores["micro_f1"] == pytest.approx(2 * 3 / (4 + 4))
    assert scores["macro_f1"] == pytest.approx(2 / 3)
    assert scores["exact_match"] == pytest.approx(1 / 3)
    assert label_scores(gold * 0, gold * 0) == {"micro_f1": 0.0, "macro_f1": 0.0, "exact_match": 1.0}


def test_a_head_of_another_kind_asks_for_a_fresh_one(learned, trained, tmp_path) -> None:
    one = write_jsonl(tmp_path / "one.jsonl", [{"text": "a", "label": "pear"}, {"text": "b", "label": "tree"}])
    with pytest.raises(InputError, match="has a head for any number of 3 labels .* but the data asks for 2 "):
        finetune("classify", learned[0], one, tmp_path / "none")
    many = write_jsonl(tmp_path / "many.jsonl", label_rows(8))
    with pytest.raises(InputError, match="has a head for 2 labels .* asks for any number of 3 labels a text"):
        finetune(MultiLabel(), trained["classify"][0], many, tmp_path / "none")
    again = finetune(MultiLabel(), learned[0], many, tmp_path / "again", steps=1)
    assert again.fresh == ()


def test_on_the_command_line(tmp_path, capsys) -> None:
    rows = [{"text": row["text"], "labels": "/".join(row["labels"])} for row in label_rows(24)]
    train = write_jsonl(tmp_path / "x.jsonl", rows)
    typed = ["finetune", "classify", str(train), "--output", str(tmp_path / "run"), "--model", str(TINY), "--json"]
    more = ["--multi-label", "--separator", "/", "--class-weights", "pear=2,tree=0.5", "--steps", "2"]
    assert main([*typed, *more]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == ["pear", "river", "tree"]
    with pytest.raises(SystemExit):
        main([*typed, *more[:3], "--class-weights", "pear=2,1"])
    assert "numbers with and without names" in capsys.readouterr().err
    assert main(["finetune", "score", *typed[2:], "--multi-label"]) == 2
    assert "--multi-label is not for the task score; it is for classify" in capsys.readouterr().err
