"""Fine-tuning from a file to a folder: what is learned, that transformers reads it, which head is taken, bad data."""

import dataclasses
import json
import logging

import pytest
import torch

import minibert
from minibert import BertConfig, BertTokenizer, InputError
from minibert.errors import CheckpointError, MinibertError
from minibert.finetuning import TASKS, MultiLabel, finetune
from minibert.finetuning.classify import Classify
from minibert.finetuning.labels import label_settings
from minibert.finetuning.run import prepare_model, task_of
from tests.parity.compare import assert_same_gradients, largest_difference
from tests.parity.tolerances import EXACT
from tests.support.toy_tasks import FAST, HEADED, TINY, class_rows, train_toy, write_jsonl, write_toy

MAIN = {"classify": "accuracy", "score": "pearson", "entities": "f1", "answers": "f1", "choice": "accuracy"}


@pytest.mark.parametrize("task", HEADED)
def test_toys_are_learned_by_heart(trained, task: str) -> None:
    folder, report = trained[task]
    assert (report.task, report.steps, report.total) == (task, 12 * 16, 12 * 16)
    assert report.examples == 128
    if task == "score":
        assert report.scores["pearson"] > 0.95
    else:
        assert report.scores[MAIN[task]] == 1.0
    assert next(iter(report.scores)) == MAIN[task]
    assert set(report.fresh) == set(
        {"answers": ("qa_outputs.weight", "qa_outputs.bias")}.get(task, ("classifier.weight", "classifier.bias"))
    )
    assert str(report).startswith(
        f"{folder}: {task}, 128 examples, 192 steps; on the dev data {MAIN[task].split('_')[0]}"
    )
    scores = [json.loads(line)["scores"] for line in (folder / "metrics.jsonl").open() if '"scores"' in line]
    assert max(score[MAIN[task]] for score in scores) == report.scores[MAIN[task]]


AUTO = {
    "classify": "AutoModelForSequenceClassification",
    "score": "AutoModelForSequenceClassification",
    "entities": "AutoModelForTokenClassification",
    "answers": "AutoModelForQuestionAnswering",
    "choice": "AutoModelForMultipleChoice",
}


@pytest.mark.parametrize("task", HEADED)
def test_transformers_loads_the_folder_to_the_same_outputs(trained, task: str) -> None:
    transformers = pytest.importorskip("transformers")
    folder, report = trained[task]
    theirs = getattr(transformers, AUTO[task]).from_pretrained(folder).eval()
    ours = TASKS[task].model_class.from_pretrained(folder)
    assert theirs.config.id2label == ours.config.id2label == dict(enumerate(report.labels))
    assert theirs.config.problem_type == {
        "classify": "single_label_classification", "score": "regression",
    }.get(task)  # fmt: skip
    texts = ["she sat by the river bank", "the pear tree is in bloom"]
    inputs = transformers.AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    own = BertTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    assert torch.equal(inputs["input_ids"], own["input_ids"])
    if task == "choice":  # one question
        inputs, own = ({name: value[None] for name, value in one.items()} for one in (inputs, own))
    with torch.no_grad():
        expected, found = theirs(**inputs), ours(**own)
    for name in ("start_logits", "end_logits") if task == "answers" else ("logits",):
        assert largest_difference(found[name], expected[name]) <= EXACT
    assert BertTokenizer.from_pretrained(folder).model_max_length == 32


@pytest.mark.parametrize("task", HEADED)
def test_losses_are_those_of_transformers(trained, tmp_path, task: str) -> None:
    transformers = pytest.importorskip("transformers")
    folder, _ = trained[task]
    chosen = TASKS[task]()
    model = chosen.model_class.from_pretrained(folder)
    reference = getattr(transformers, AUTO[task]).from_pretrained(folder).eval()
    rows = chosen.read(write_toy(task, tmp_path / "data", count=13, seed=5), model.config)
    examples = chosen.examples(rows, BertTokenizer.from_pretrained(folder), model.config)
    batch = examples.collate(range(7))
    objective = chosen.objective(model)
    if task == "answers":  # in transformers padding has a chance to be the answer
        assert chosen.objective(model).masks_padding
        objective.masks_padding = False
    counts, sums = objective.counts(batch), objective(batch)
    assert counts.keys() == sums.keys()
    loss = torch.stack([sums[key] / counts[key] for key in counts]).sum()
    expected = reference(**batch).loss
    assert loss.item() == expected.item()
    loss.backward()
    expected.backward()
    assert assert_same_gradients(model, reference, EXACT) > 10
    # The same batch in two parts adds up to the same sums.
    objective = chosen.objective(model)
    sums = objective(batch)
    parts = [objective(examples.collate(part)) for part in (range(3), range(3, 7))]
    for key in counts:
        assert sum(part[key].item() for part in parts) == pytest.approx(sums[key].item(), rel=1e-5)


def test_steps_and_batches(tmp_path) -> None:
    chosen = Classify()
    rows = chosen.read(write_toy("classify", tmp_path / "train", count=70))
    config = BertConfig.from_dict({**vars(BertConfig.from_pretrained(TINY)), **chosen.settings(rows)})
    examples = chosen.examples(rows, BertTokenizer.from_pretrained(TINY), config, seed=3)
    steps = examples.steps(0)
    assert [len(step) for step in steps] == [32, 32, 6]
    assert sorted(number for step in steps for number in step) == list(range(70))
    assert examples.steps(0) == steps != examples.steps(1)
    batch = examples.collate(steps[0])
    lengths = [examples.lengths[number] for number in steps[0]]
    assert batch["input_ids"].shape == (32, max(lengths))
    assert batch["attention_mask"].sum(dim=1).tolist() == lengths
    assert [config.id2label[int(label)] for label in batch["labels"]] == [rows[number].label for number in steps[0]]


def test_evaluation_leaves_every_module_in_its_mode(trained, tmp_path) -> None:
    folder, _ = trained["classify"]
    chosen = Classify()
    model = minibert.BertForSequenceClassification.from_pretrained(folder).train()
    model.bert.embeddings.eval()  # frozen, say
    rows = chosen.read(write_toy("classify", tmp_path / "dev", seed=1), model.config)
    examples = chosen.examples(rows, BertTokenizer.from_pretrained(folder), model.config)
    assert chosen.evaluate(model, examples) == {"accuracy": 1.0, "macro_f1": 1.0}
    assert model.training
    assert model.bert.encoder.training
    assert not model.bert.embeddings.training
    assert not model.bert.embeddings.dropout.training
    assert torch.is_grad_enabled()


def test_a_fresh_head_is_drawn_from_the_seed_and_said(tmp_path, caplog) -> None:
    chosen = Classify()
    rows = chosen.read(write_toy("classify", tmp_path / "train"))
    torch.manual_seed(11)
    before = torch.get_rng_state()
    with caplog.at_level(logging.WARNING):
        first, second, other = (prepare_model(chosen, TINY, chosen.settings(rows), seed=seed) for seed in (0, 0, 1))
    assert "brings no head for this task: classifier.weight, classifier.bias begin at random (seed 0)" in caplog.text
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.classifier.weight, second.classifier.weight)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    assert torch.equal(first.bert.pooler.dense.weight, other.bert.pooler.dense.weight)
    scratch = prepare_model(chosen, TINY, chosen.settings(rows), scratch=True)
    assert scratch.load_report is None
    assert not torch.equal(scratch.bert.pooler.dense.weight, first.bert.pooler.dense.weight)
    assert "All weights begin at random" in caplog.text


def test_a_head_that_fits_is_trained_further(trained, tmp_path, caplog) -> None:
    folder, _ = trained["classify"]
    rows = class_rows(20, seed=9)
    again = finetune("classify", folder, write_jsonl(tmp_path / "x.jsonl", rows), tmp_path / "again", epochs=1)
    assert again.fresh == ()
    assert again.labels == ("about pear", "about river")
    assert str(again).endswith("no dev data, so the weights are those of the last step")
    for row in rows:  # the same names in another order: the head's own order holds
        row["label"] = row["label"].replace("about ", "")
    with pytest.raises(InputError, match=r"has a head for 2 labels \('about pear', 'about river'\), but the data asks"):
        finetune("classify", folder, write_jsonl(tmp_path / "y.jsonl", rows), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    fresh = finetune("classify", folder, tmp_path / "y.jsonl", tmp_path / "fresh", fresh_head=True, epochs=1)
    assert fresh.labels == ("pear", "river")
    assert len(fresh.fresh) == 2


def test_a_head_of_another_task_is_no_head(trained, tmp_path) -> None:
    folder, _ = trained["entities"]
    report = finetune("classify", folder, write_toy("classify", tmp_path / "x"), tmp_path / "model", epochs=1)
    assert "bert.pooler.dense.weight" in report.fresh  # that head had no use for one
    with pytest.raises(InputError, match=r"has a head for 2 labels .* but the data asks for one number"):
        finetune("score", tmp_path / "model", write_toy("score", tmp_path / "y"), tmp_path / "none")
    with pytest.raises(InputError, match="has a head to predict a number .* but the data asks for 2 "):
        finetune("classify", trained["score"][0], tmp_path / "x.jsonl", tmp_path / "none")


def test_fewer_labels_than_the_head_has_keep_the_head(trained, tmp_path, caplog) -> None:
    folder, _ = trained["entities"]
    (tmp_path / "x.conll").write_text("pear\tB-fruit\nsat\tO\n")
    with caplog.at_level(logging.WARNING):
        report = finetune("entities", folder, tmp_path / "x.conll", tmp_path / "model", epochs=1)
    assert report.labels == ("B-fruit", "B-place", "I-place", "O")
    assert "knows 4 labels and keeps them; the training data has 2 of these ('B-fruit', 'O')" in caplog.text


def test_a_run_goes_on_and_another_one_is_refused(toy, tmp_path) -> None:
    report = train_toy("classify", toy, tmp_path, epochs=2)
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    (tmp_path / "model" / "model.safetensors").unlink()
    assert train_toy("classify", toy, tmp_path, epochs=2) == report
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == weights
    with pytest.raises(InputError, match="holds a run with batch_size 8, and this one has 4"):
        train_toy("classify", toy, tmp_path, epochs=2, batch_size=4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"task": "parse"}, "\"parse\" is no task; there are 'classify', 'score', 'entities', 'answers'"),
        ({"rate": 1}, "There is no setting 'rate'; there are betas"),
        ({"task": Classify(max_length=64)}, "max_length is 64; this model reads rows of 8 to 32 tokens"),
        ({"task": Classify(max_length=4)}, "max_length is 4; this model reads rows of 8 to 32 tokens"),
        ({"learning_rate": -1}, "learning_rate is -1"),
        ({"task": Classify}, "is no task; there are 'classify', .* or one made: Classify()"),
        ({"task": None}, "null is no task"),
        ({"batch_size": 0}, "finetune: batch_size is 0; expected a whole number of at least 1"),
        ({"batch_size": "8"}, 'finetune: batch_size is "8"; expected a whole number'),
        ({"train_file": [{"text": "a"}]}, r"which column of the list of dicts \(training data\) holds the labels"),
    ],
)
def test_arguments_that_are_none(tmp_path, arguments: dict, sentence: str) -> None:
    train = write_toy("classify", tmp_path / "train")
    with pytest.raises(MinibertError, match=sentence):
        finetune(**{"task": "classify", "model": TINY, "train_file": train, "output": tmp_path / "out", **arguments})
    assert not (tmp_path / "out").exists()


WRONG = (5, -1, 1.5, float("nan"), True, b"x", [1], {"a": []}, object(), torch.nn.Linear(1, 1), Classify)
ALLOWED = {  # of these, where a choice may be such
    "skip_bad": (True,), "masks_padding": (True,), "best": (5,), "longest_answer": (5,), "max_length": (5,),
    "stride": (5,), "scale": (5, 1.5), "highest_score": (5, 1.5), "stored": ({"a": []},),
    "class_weights": ([1], {"a": []}),  # compared with the labels later
}  # fmt: skip


def test_choices_of_a_wrong_kind_are_sentences() -> None:
    count = 0
    for task in (*TASKS.values(), MultiLabel):
        for field in dataclasses.fields(task):
            for wrong in WRONG:
                if any(
                    wrong is one or (type(wrong) is type(one) and wrong == one) for one in ALLOWED.get(field.name, ())
                ):
                    task(**{field.name: wrong})
                    continue
                with pytest.raises(InputError, match=f"{task.__name__}: {field.name} is .*; expected "):
                    task(**{field.name: wrong})
                count += 1
    assert count > 400


def test_a_checkpoint_for_no_task(tmp_path) -> None:
    with pytest.raises(
        InputError, match="is a BertForPreTraining and was fine-tuned for none of the tasks .* Fine-tune it"
    ):
        task_of(BertConfig.from_pretrained(TINY))
    config = BertConfig(num_labels=3, problem_type="regression")
    config.architectures = ["BertForSequenceClassification"]
    words = BertConfig(**label_settings(["NOUN", "VERB"]))
    words.architectures = ["BertForTokenClassification"]
    with pytest.raises(InputError, match="labels words with .NOUN., .VERB.; expected the labels of entities"):
        task_of(words)
    with pytest.raises(InputError, match="problem_type is 'regression' with 3 labels"):
        task_of(config)
    with pytest.raises(CheckpointError):
        finetune("classify", tmp_path / "none", write_toy("classify", tmp_path / "x"), tmp_path / "out", **FAST)
    assert not (tmp_path / "out").exists()


def test_real_minilm_learns_sentiment_words(minilm, tmp_path) -> None:
    good, bad = ("lovely", "great", "wonderful", "superb"), ("awful", "boring", "terrible", "dreadful")
    rows = [
        {"text": f"This {thing} was {word}.", "label": int(word in good)}
        for thing in ("film", "book", "meal", "song")
        for word in (*good, *bad)
    ]
    train = [row for number, row in enumerate(rows) if number % 4]
    dev = [row for number, row in enumerate(rows) if number % 4 == 0]
    report = finetune(
        "classify", minilm, write_jsonl(tmp_path / "train.jsonl", train), tmp_path / "model",
        write_jsonl(tmp_path / "dev.jsonl", dev), epochs=4, batch_size=8,
    )  # fmt: skip
    assert report.labels == ("0", "1")
    assert report.scores["accuracy"] == 1.0
