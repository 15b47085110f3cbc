"""Packed steps: the losses, gradients and weights of padded ones, with hardly any padding."""

import dataclasses
import json
import shutil
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from minibert import BertConfig, BertTokenizer, InputError
from minibert.finetuning import TASKS, MultiLabel, MultipleChoice, finetune
from minibert.finetuning.answers import Answers
from minibert.finetuning.classify import Classify
from minibert.finetuning.examples import run_rows
from minibert.finetuning.packing import BlockDiagonalMask, call_cost, first_tokens, packed, padded_groups
from minibert.finetuning.run import prepare_model, quiet
from minibert.training.examples import by_length
from minibert.training.loop import train
from minibert.training.settings import Settings
from tests.support.toy_tasks import HEADED, choice_rows, class_rows, toy_checkpoint, write_jsonl, write_toy
from tests.support.toy_training import furthest, same, weights

BOUNDS = {torch.float64: 1e-12, torch.float32: 1e-5}  # of the largest: the issue's, and what rounding does to sums
KINDS = {name: TASKS[name]() for name in HEADED}  # embedding has parts of similar length instead: test_embeddings.py
KINDS |= {"uneven": MultipleChoice(), "labels": MultiLabel(), "weighted": Classify(class_weights={"about pear": 3.0})}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return toy_checkpoint(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module", params=KINDS)
def ready(request, checkpoint, tmp_path_factory):
    """A task, its model and examples, in a function of the model's settings."""
    folder, task = tmp_path_factory.mktemp(request.param), KINDS[request.param]
    if request.param == "labels":
        rows = class_rows(60)
        path = write_jsonl(
            folder / "x.jsonl",
            [{**row, "label": [row["label"], *["long"][: len(row["text"]) > 60]]} for row in rows],
        )
    elif request.param == "uneven":
        path = write_jsonl(folder / "x.jsonl", choice_rows(60, fewest=2))
    else:
        path = write_toy("classify" if request.param == "weighted" else request.param, folder / "x", count=60)

    def make(dtype=torch.float64, **settings):
        rows = task.read(path)
        chosen = task.fitted(rows)
        with quiet(True):
            model = prepare_model(chosen, checkpoint, {**chosen.settings(rows), **settings})
        examples = chosen.examples(rows, BertTokenizer.from_pretrained(checkpoint), model.config, 16)
        return chosen, model.to(dtype), examples

    return make


def gradients(objective, batch) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """The mean losses, and the gradient of each weight."""
    objective.model.zero_grad(set_to_none=True)
    counts, sums = objective.counts(batch), objective(batch)
    torch.stack([sums[name] / counts[name] for name in counts]).sum().backward()
    means = {name: float(sums[name].detach()) / counts[name] for name in counts}
    return means, {
        name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in objective.model.named_parameters()
    }


@pytest.mark.parametrize("cost", [0.0, 4.0, 1e9])
@pytest.mark.parametrize("dtype", BOUNDS)
def test_losses_and_gradients_are_those_of_the_padded_batch(ready, dtype, cost):
    """For groups of one length, of similar lengths, and one group: the padded batch itself, sorted."""
    task, model, examples = ready(dtype)
    objective = task.objective(model)
    numbers = examples.steps(0)[0]
    expected, theirs = gradients(objective, examples.collate(numbers))
    examples.call_cost = cost
    batch = examples.collate(numbers)
    assert batch["input_ids"].shape[0] == 1
    assert len(batch["groups"]) == 1 if cost > 1e6 else len(batch["groups"]) > 1
    assert int(batch["attention_mask"].sum()) == sum(examples.lengths[number] for number in numbers)
    found, ours = gradients(objective, batch)
    assert found == pytest.approx(expected, abs=BOUNDS[dtype], rel=BOUNDS[dtype])
    largest = max(float(value.abs().max()) for value in theirs.values())
    assert largest > 1e-5
    # Choices are compared with each other: what they have in common cancels in the gradients, but not its rounding.
    assert furthest(ours, theirs) < BOUNDS[dtype] * max(largest, 1e-2 if "choice" in found else 0)


def test_ten_steps_end_with_the_weights_of_padded_ones(ready, tmp_path):
    ended = []
    for cost, micro_tokens in ((None, None), (4.0, None), (4.0, 60)):
        task, model, examples = ready()
        begun = weights(model)
        examples.call_cost = cost
        settings = Settings(learning_rate=1e-3, steps=10, micro_tokens=micro_tokens)
        train(task.objective(model), examples, settings, tmp_path / f"{cost}-{micro_tokens}")
        ended.append(weights(model))
    assert furthest(begun, ended[0]) > 1e-3
    assert furthest(ended[1], ended[0]) < 1e-10  # AdamW divides small gradients by small square roots
    assert furthest(ended[2], ended[0]) < 1e-10


def test_gradient_checkpointing_recomputes_the_same_bits(ready):
    dropouts = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    found = []
    for checkpointed in (False, True):
        task, model, examples = ready(**dropouts)
        examples.call_cost = 4.0
        if checkpointed:
            model.gradient_checkpointing_enable()
        objective = task.objective(model).train()
        torch.manual_seed(0)
        found.append(gradients(objective, examples.collate(examples.steps(0)[0]))[1])
    assert same(*found)


def test_hooks_and_replaced_modules_are_called(ready):
    task, model, examples = ready()
    examples.call_cost = 4.0
    batch = examples.collate(examples.steps(0)[0])
    shapes = []
    for layer in model.bert.encoder.layer:
        layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
        layer.attention.self.query.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape[:2]))
    task.objective(model)(batch)
    tokens = batch["input_ids"].shape[1]
    assert shapes == [(1, tokens), (1, tokens, model.config.hidden_size)] * len(model.bert.encoder.layer)


@pytest.mark.parametrize("task", ["classify", "entities", "answers"])
def test_a_run_is_packed_unless_asked_otherwise_and_resumes_bit_for_bit(checkpoint, tmp_path, task, monkeypatch):
    """A run stopped after 3 steps, continued: the same bytes; padded, the same losses to rounding."""
    from minibert.finetuning.examples import TaskExamples

    seen = []
    collate = TaskExamples.collate

    def spy(self, numbers, epoch=0):
        batch = collate(self, numbers, epoch)
        seen.append("groups" in batch)
        return batch

    monkeypatch.setattr(TaskExamples, "collate", spy)
    path = write_toy(task, tmp_path / "train", count=40)
    shared = {"steps": 8, "batch_size": 8, "learning_rate": 1e-3}
    finetune(task, checkpoint, path, tmp_path / "whole", **shared)
    assert seen == [True] * 8
    finetune(task, checkpoint, path, tmp_path / "parts", **shared, stop_after=3)
    finetune(task, checkpoint, path, tmp_path / "parts", **shared)
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    seen.clear()
    finetune(task, checkpoint, path, tmp_path / "padded", **shared, padded=True)
    assert seen == [False] * 8
    model = TASKS[task].model_class
    ours, theirs = (weights(model.from_pretrained(tmp_path / name)) for name in ("whole", "padded"))
    assert 0 < furthest(ours, theirs) < 1e-4


def test_losses_over_padding_are_never_packed(checkpoint, tmp_path):
    assert not Answers(masks_padding=False).objective(prepare(checkpoint, tmp_path)).takes_packed
    assert Answers().objective(prepare(checkpoint, tmp_path)).takes_packed
    with pytest.raises(InputError, match='padded is "yes"; expected true or false'):
        finetune("answers", checkpoint, write_toy("answers", tmp_path / "y"), tmp_path / "out", padded="yes")
    mask = BlockDiagonalMask([(1, 2)], torch.ones(1, 2))
    with pytest.raises(TypeError, match="Multiple dispatch failed for 'torch.add'"):
        torch.add(torch.zeros(2, 2), mask)


def test_eager_attention_is_padded(checkpoint, tmp_path):
    """It needs a mask that is added to the scores."""
    shutil.copytree(checkpoint, tmp_path / "eager")
    config = json.loads((checkpoint / "config.json").read_text())
    (tmp_path / "eager" / "config.json").write_text(json.dumps({**config, "attn_implementation": "eager"}))
    report = finetune("classify", tmp_path / "eager", write_toy("classify", tmp_path / "x"), tmp_path / "out", steps=2)
    assert report.steps == 2


def prepare(checkpoint, folder):
    rows = Answers().read(write_toy("answers", folder / "x", count=8))
    with quiet(True):
        return prepare_model(Answers(), checkpoint, Answers().settings(rows))


def test_groups_have_the_lowest_cost_of_all_ways_to_cut():
    """Against all ways to cut ten sorted lengths."""
    draw = torch.Generator().manual_seed(0)
    for cost in (0.0, 1.0, 5.0, 20.0, 1e6):
        lengths = torch.randint(3, 30, (10,), generator=draw).tolist()
        groups = by_length(range(10), lengths, cost)
        flat = [number for group in groups for number in group]
        assert sorted(flat) == list(range(10)) and [lengths[n] for n in flat] == sorted(lengths)
        found = sum(len(group) * lengths[group[-1]] + cost for group in groups)
        ordered = sorted(lengths)
        best = min(
            sum((end - start) * ordered[end - 1] + cost for start, end in pairwise(cuts))
            for bits in range(1 << 9)
            for cuts in [[0, *(n + 1 for n in range(9) if bits >> n & 1), 10]]
        )
        assert found == best
    assert [len(group) for group in by_length([4, 2, 0], [5, 5, 5, 5, 5], 0.0)] == [3]
    assert by_length([4, 2, 0], [1, 9, 2, 9, 3], 0.0) == [[0], [2], [4]]
    assert by_length([4, 2, 0], [1, 9, 2, 9, 3], 1e9) == [[0, 2, 4]]


def test_a_group_costs_fewer_tokens_the_wider_the_model():
    cpu = torch.device("cpu")
    small, base = BertConfig(hidden_size=256, intermediate_size=1024), BertConfig()
    assert call_cost(small, cpu) == pytest.approx(18e6 / (72 * 256**2))
    assert call_cost(small, cpu) == 9 * call_cost(base, cpu)
    assert call_cost(base, torch.device("cuda")) > 100


def test_the_mask_is_a_block_diagonal_one():
    groups, N, D = [(2, 3), (1, 5)], 2, 4
    draw = torch.Generator().manual_seed(1)
    q, k, v = torch.randn(3, 1, N, 11, D, generator=draw, dtype=torch.float64)
    real = torch.tensor([[1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1]])
    blocks = torch.block_diag(torch.ones(3, 3), torch.ones(3, 3), torch.ones(5, 5)).bool() & real.bool()
    expected = F.scaled_dot_product_attention(q, k, v, blocks)
    found = F.scaled_dot_product_attention(q, k, v, BlockDiagonalMask(groups, real))
    assert torch.allclose(found, expected, atol=1e-14)
    assert first_tokens(torch.tensor(groups)).tolist() == [0, 3, 6]
    assert [tuple(part.shape) for part in padded_groups(torch.zeros(11, 7), groups)] == [(2, 3, 7), (1, 5, 7)]


def test_a_packed_batch_holds_the_padded_ones():
    one = {"input_ids": torch.tensor([[2, 7, 3]]), "attention_mask": torch.ones(1, 3), "labels": torch.tensor([4])}
    two = {"input_ids": torch.tensor([[2, 3, 0, 0], [2, 8, 9, 3]]), "attention_mask": torch.ones(2, 4),
           "labels": torch.tensor([5, 6])}  # fmt: skip
    batch = packed([one, two])
    assert batch["input_ids"].tolist() == [[2, 7, 3, 2, 3, 0, 0, 2, 8, 9, 3]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3]]
    assert batch["groups"].tolist() == [[1, 3], [2, 4]]
    assert batch["labels"].tolist() == [4, 5, 6]


def test_predictions_come_in_the_order_given_with_hardly_any_padding(checkpoint, tmp_path):
    task = Classify()
    rows = task.read(write_toy("classify", tmp_path / "x", count=100))
    with quiet(True):
        model = prepare_model(task, checkpoint, task.settings(rows)).double()
    examples = task.examples(rows, BertTokenizer.from_pretrained(checkpoint), model.config)
    seen = []

    def read(output, chosen):
        seen.append((len(chosen), max(map(len, chosen)), sum(map(len, chosen))))
        return [(row, logits) for row, logits in zip(chosen, output.logits, strict=True)]

    found = run_rows(model, examples.rows, examples.pad_id, read)
    assert [row for row, _ in found] == list(examples.rows)
    alone = [run_rows(model, [row], examples.pad_id, read)[0][1] for row in examples.rows[:10]]
    assert furthest({"": torch.stack(alone)}, {"": torch.stack([logits for _, logits in found[:10]])}) < 1e-12
    padded = sum(count * longest for count, longest, _ in seen[:-10])
    assert 1 <= padded / sum(tokens for *_, tokens in seen[:-10]) < 1.5
    assert run_rows(model, [], examples.pad_id, read) == []
    few = [examples.rows[number] for number in (0, 1)]
    few.append(dataclasses.replace(few[0], ids=few[0].ids[:3]))
    assert [row for row, _ in run_rows(model, few, examples.pad_id, read)] == few
