"""Training adapters: every loss and every matrix of a plain loop around peft and transformers."""

import pytest
import torch

from minibert import BertTokenizer
from minibert.finetuning import Lora
from minibert.finetuning.run import prepare_model
from tests.parity.test_training import SOME_STEPS, our_loop, plain_loop, task_named
from tests.support.toy_tasks import HEADED, toy_checkpoint, write_toy

pytestmark = pytest.mark.peers
BOUND = 1e-6  # the issue's


@pytest.mark.parametrize("name", HEADED)
def test_steps_are_those_of_peft(tmp_path, name):
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    task, lora = task_named(name), Lora(r=4, lora_alpha=8, target_modules=("query", "value", "dense"))
    checkpoint = toy_checkpoint(tmp_path / "start")
    rows = task.read(write_toy(name, tmp_path / "x", 100))
    fields = task.settings(rows)
    plain = prepare_model(task, checkpoint, fields, seed=4)
    plain.save_pretrained(tmp_path / "plain")
    model = prepare_model(task, checkpoint, fields, seed=4, lora=lora)
    examples = task.examples(rows, BertTokenizer.from_pretrained(checkpoint), model.config, 12, 0)

    theirs = getattr(transformers, type(model).__name__).from_pretrained(tmp_path / "plain")
    head = [part for part, _ in plain.named_children() if part not in ("bert", "dropout")]
    theirs = peft.get_peft_model(theirs, lora.config(modules_to_save=head))
    start = dict(model.named_parameters())
    trained = {bare(key): p for key, p in theirs.named_parameters() if p.requires_grad}
    assert trained.keys() == {key for key, p in start.items() if p.requires_grad}
    with torch.no_grad():
        for key, parameter in trained.items():
            parameter.copy_(start[key])
    ours = our_loop(task.objective(model), examples, tmp_path / "run", SOME_STEPS)
    losses = plain_loop(theirs, examples, SOME_STEPS)
    assert len(ours) == SOME_STEPS.steps
    assert max(abs(a - b) for a, b in zip(ours, losses, strict=True)) <= BOUND
    assert losses[-1] < losses[0]
    assert max(float((trained[key] - p).abs().max()) for key, p in start.items() if p.requires_grad) <= BOUND
    frozen = dict(plain.named_parameters())
    kept = {key.replace(".base_layer", ""): p for key, p in start.items() if not p.requires_grad}
    assert all(torch.equal(p, frozen[key]) for key, p in kept.items())
    assert frozen.keys() - kept.keys() == {key for key in trained if ".lora_" not in key}


def bare(key: str) -> str:
    """A parameter's name without what peft puts around the model and the head."""
    return key.removeprefix("base_model.model.").replace(".modules_to_save.default", "")
