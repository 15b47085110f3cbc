"""A hundred steps of our loop against a plain loop around transformers' model: every loss and every weight.

The same initial weights, batches and AdamW, float32 on the CPU.  The plain loop is what a person writes who uses
transformers and torch and nothing of ours but the examples.  Without dropout everything is the same to the last bit;
with dropout too, if both draw from the same seed at each step: both models draw in the same order (embeddings; in each
layer attention, its output, the feed-forward output; the head), and each draw is one call of the same torch function
on a tensor of the same shape.
"""

import dataclasses
import math
from itertools import count

import pytest
import torch
import torch.nn.functional as F

from minibert import BertConfig, BertForPreTraining, BertTokenizer
from minibert.finetuning import TASKS
from minibert.finetuning.answers import Answers
from minibert.finetuning.run import prepare_model
from minibert.pretraining.examples import PretrainingExamples
from minibert.pretraining.objective import Pretraining
from minibert.training.examples import seed_of
from minibert.training.loop import train
from minibert.training.metrics import read_metrics
from minibert.training.settings import Settings
from tests.parity.tolerances import GATHERED_LOSSES, GATHERED_WEIGHTS
from tests.support.texts import revealing_text, tokenizer
from tests.support.toy_tasks import HEADED, toy_checkpoint, write_toy
from tests.support.toy_training import Toy, ToyObjective, furthest, toy_model, weights

pytestmark = pytest.mark.peers

STEPS = 100
SETTINGS = Settings(learning_rate=3e-3, steps=STEPS, warmup=0.1, save_every=1000)
SOME_STEPS = dataclasses.replace(SETTINGS, steps=20)  # where a difference would show at the first
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
DROPOUT = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
# In fused attention the dropout is torch's own; written out it is a layer of the model.
ATTENTION = ("sdpa", "eager")


def usual_loss(output, batch):
    """Transformers' own; in a step without a pair, where its mean over nothing is no number, that of MLM alone."""
    if (batch.get("next_sentence_label", torch.zeros(1)) == -100).all():
        nothing = 0 * output.seq_relationship_logits.sum()  # a gradient of 0, where ours has one
        return F.cross_entropy(output.prediction_logits.flatten(0, 1), batch["labels"].flatten()) + nothing
    return output.loss


def plain_loop(model, examples, settings=SETTINGS, loss_of=usual_loss) -> list[float]:
    """Train transformers' model in place; the losses.  The generator is seeded before each step, as ours is."""
    decays = [p for name, p in model.named_parameters() if not name.endswith("bias") and "LayerNorm" not in name]
    free = [p for name, p in model.named_parameters() if name.endswith("bias") or "LayerNorm" in name]
    groups = [{"params": decays, "weight_decay": settings.weight_decay}, {"params": free, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.eps, fused=True)
    transformers = pytest.importorskip("transformers")
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, num_warmup_steps=int(settings.warmup * settings.steps), num_training_steps=settings.steps
    )
    losses = []
    model.train()
    for epoch in count():
        for numbers in examples.steps(epoch):
            torch.manual_seed(seed_of(settings.seed, len(losses), 0))
            batch = examples.collate(numbers, epoch)
            loss = loss_of(model(**batch), batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            if len(losses) == settings.steps:
                return losses
    return losses


def our_loop(objective, examples, folder, settings=SETTINGS) -> list[float]:
    """Train our model in place; the losses, their parts added up as transformers adds its own."""
    train(objective, examples, settings, folder)
    names = objective.counts(examples.collate([0], 0))
    return [float(sum(torch.tensor(entry.get(name, 0.0)) for name in names)) for entry in read_metrics(folder)]


def in_transformers(model, folder, attention="sdpa"):
    """The same weights in transformers' class of the same name."""
    transformers = pytest.importorskip("transformers")
    model.save_pretrained(folder)
    theirs = getattr(transformers, type(model).__name__).from_pretrained(folder, attn_implementation=attention)
    assert theirs.config._attn_implementation == model.config.attn_implementation == attention
    return theirs


def assert_same_weights(ours, theirs):
    """Bit for bit, by name."""
    expected = dict(theirs.named_parameters())
    found = dict(ours.named_parameters())
    assert found.keys() == expected.keys()
    for name, parameter in found.items():
        assert torch.equal(parameter, expected[name]), name


# --- pre-training ---


@pytest.fixture(scope="module")
def passages() -> PretrainingExamples:
    """Two languages, true and random pairs, rows of different lengths; masks anew in each epoch."""
    return PretrainingExamples(revealing_text(120), tokenizer(), max_length=48, step_tokens=600, seed=1)


def small_model(examples: PretrainingExamples, **settings) -> BertForPreTraining:
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=examples.vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=64, **settings,
    )  # fmt: skip
    return BertForPreTraining(config)


def test_toy_pretraining_is_transformers_to_the_last_bit(tmp_path):
    """Without any of our examples or objectives."""
    model = toy_model(seed=5)
    theirs, examples = in_transformers(model, tmp_path / "start"), Toy(count=50)
    ours = our_loop(ToyObjective(model), examples, tmp_path / "run")
    losses = plain_loop(theirs, examples)
    assert ours == losses
    assert losses[-1] < losses[0] - 0.5
    assert_same_weights(model, theirs)


def test_pretraining_is_transformers_to_the_last_bit(passages, tmp_path):
    model = small_model(passages, **NO_DROPOUT)
    theirs = in_transformers(model, tmp_path / "start")
    ours = our_loop(Pretraining(model, gather=False), passages, tmp_path / "run")
    losses = plain_loop(theirs, passages)
    assert ours == losses
    assert losses[-1] < losses[0] - 0.5
    assert_same_weights(model, theirs)


@pytest.mark.parametrize("attention", ATTENTION)
def test_pretraining_with_dropout_too(passages, tmp_path, attention):
    model = small_model(passages, **DROPOUT, attn_implementation=attention)
    theirs = in_transformers(model, tmp_path / "start", attention)
    ours = our_loop(Pretraining(model, gather=False), passages, tmp_path / "run", SOME_STEPS)
    assert ours == plain_loop(theirs, passages, SOME_STEPS)
    assert_same_weights(model, theirs)


@pytest.mark.parametrize(("dropout", "settings"), [(NO_DROPOUT, SETTINGS), (DROPOUT, SOME_STEPS)])
def test_gathering_the_masked_positions_changes_rounding_alone(passages, tmp_path, dropout, settings):
    """The same sums over fewer rows, added up in other blocks; the heads have no dropout, so the draws are the same.

    Measured: the losses differ from step 1 (without dropout) or 3 on, in the last one or two bits, and no further after
    a hundred steps.  Not asserted: another processor may round alike.
    """
    model = small_model(passages, **dropout)
    theirs = in_transformers(model, tmp_path / "start")
    ours = our_loop(Pretraining(model, gather=True), passages, tmp_path / "run", settings)
    losses = plain_loop(theirs, passages, settings)
    differences = [abs(a - b) / b for a, b in zip(ours, losses, strict=True)]
    assert max(differences) <= GATHERED_LOSSES
    assert furthest(weights(model), weights(theirs)) <= GATHERED_WEIGHTS


# --- fine-tuning ---


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A small checkpoint, and a file of toy data for each task."""
    folder = tmp_path_factory.mktemp("data")
    return toy_checkpoint(folder / "start"), {task: write_toy(task, folder / task, 100) for task in HEADED}


def ready(task, data, **settings):
    """The model, examples and objective that ``finetune`` would train."""
    checkpoint, files = data
    rows = task.read(files[task.name])
    words = BertTokenizer.from_pretrained(checkpoint)
    model = prepare_model(task, checkpoint, {**task.settings(rows), **settings}, seed=4)
    return model, task.examples(rows, words, model.config, 12, 0), task.objective(model)


def task_named(name):
    """With transformers' loss."""
    return Answers(masks_padding=False) if name == "answers" else TASKS[name]()


@pytest.mark.parametrize("name", HEADED)
def test_fine_tuning_is_transformers_to_the_last_bit(data, tmp_path, name):
    model, examples, objective = ready(task_named(name), data, **NO_DROPOUT)
    theirs = in_transformers(model, tmp_path / "start")
    ours = our_loop(objective, examples, tmp_path / "run")
    losses = plain_loop(theirs, examples)
    assert ours == losses
    assert losses[-1] < losses[0]
    assert_same_weights(model, theirs)


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("name", HEADED)
def test_fine_tuning_with_dropout_too(data, tmp_path, name, attention):
    model, examples, objective = ready(task_named(name), data, **DROPOUT, attn_implementation=attention)
    theirs = in_transformers(model, tmp_path / "start", attention)
    ours = our_loop(objective, examples, tmp_path / "run", SOME_STEPS)
    assert ours == plain_loop(theirs, examples, SOME_STEPS)
    assert_same_weights(model, theirs)


def test_answers_never_point_at_padding(data, tmp_path):
    """Our default differs from transformers' loss in this alone: padding has no chance of being the answer."""

    def masked(output, batch):
        hidden = batch["attention_mask"] == 0
        terms = [
            F.cross_entropy(scores.masked_fill(hidden, -math.inf), batch[name])
            for scores, name in ((output.start_logits, "start_positions"), (output.end_logits, "end_positions"))
        ]
        return (terms[0] + terms[1]) / 2

    model, examples, objective = ready(TASKS["answers"](), data, **NO_DROPOUT)
    theirs = in_transformers(model, tmp_path / "start")
    plainly = in_transformers(model, tmp_path / "start")
    ours = our_loop(objective, examples, tmp_path / "run", SOME_STEPS)
    assert ours == plain_loop(theirs, examples, SOME_STEPS, loss_of=masked)
    assert_same_weights(model, theirs)
    assert ours[0] < plain_loop(plainly, examples, SOME_STEPS)[0]  # fewer places to choose from
