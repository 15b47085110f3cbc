"""The demo's training, small: stages that go on from each other, a float16 checkpoint, a card with measured numbers."""

import dataclasses
import json
import re
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from minibert import BertConfig, BertForPreTraining, BertTokenizer
from minibert.pretraining.evaluation import heldout_scores
from minibert.pretraining.examples import PretrainingExamples
from minibert.pretraining.run import HELD_OUT, TRAINING
from minibert.pretraining.tokenized import TokenizedText
from minibert.training.metrics import read_metrics
from tests.support.texts import revealing_documents

STEPS = 4


@pytest.fixture
def script(monkeypatch, tmp_path) -> ModuleType:
    """The script with a tiny model, a few steps a stage, and a folder of its own to install into."""
    pytest.importorskip("tokenizers")
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts" / "tools"))
    import train_demo

    few = {"epochs": 1, "steps": STEPS, "stop_after": None, "evaluate_every": 0}
    stages = [
        dataclasses.replace(stage, settings=dataclasses.replace(stage.settings, **few)) for stage in train_demo.STAGES
    ]
    stages[0] = dataclasses.replace(stages[0], settings=dataclasses.replace(stages[0].settings, stop_after=STEPS - 1))
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    monkeypatch.setattr(train_demo, "STAGES", tuple(stages))
    monkeypatch.setattr(train_demo, "CONFIG", BertConfig(**{**train_demo.CONFIG.to_dict(), **tiny}))
    monkeypatch.setattr(train_demo, "VOCABULARY", 300)
    monkeypatch.setattr(train_demo, "DRAWS", 1)
    monkeypatch.setattr(train_demo, "LEAST", (1, 12, train_demo.LONG))
    monkeypatch.setattr(train_demo, "STEPS_A_LINE", 2)
    monkeypatch.setattr(train_demo, "TARGET", tmp_path / "demo")
    return train_demo


def write_text(folder: Path) -> None:
    """The four files, as demo_text.py leaves them."""
    folder.mkdir(parents=True)
    for part, count, seed in (("train", 500, 1), ("heldout", 300, 2)):
        for language, documents in zip(("korean", "english"), halves(count, seed), strict=True):
            text = "\n\n".join("\n".join(document.sentences) for document in documents)
            (folder / f"{language}.{part}.txt").write_text(text + "\n", encoding="utf-8")


def halves(count: int, seed: int):
    """The documents of each language."""
    found = revealing_documents(count, seed)
    return found[0::2], found[1::2]


@pytest.mark.slow
def test_stages_go_on_from_each_other_and_the_card_tells_what_was_measured(
    script, tmp_path, monkeypatch, capsys
) -> None:
    work = tmp_path / "work"
    write_text(work / "text")
    monkeypatch.setattr("sys.argv", ["train_demo.py", "--work", str(work), "--install"])
    begun, pretrain = [], script.pretrain
    monkeypatch.setattr(
        script, "pretrain", lambda *args, start, **more: begun.append(start) or pretrain(*args, start=start, **more)
    )
    assert script.main() == 0
    names = [stage.name for stage in script.STAGES]
    assert [start.checkpoint and start.checkpoint.name for start in begun] == [None, *names[:-2], "pairs-again"]
    logs = {name: [entry for entry in read_metrics(work / name) if "loss" in entry] for name in names}
    assert [len(logs[name]) for name in names] == [STEPS - 1, *[STEPS] * (len(names) - 1)]
    for name in names:
        assert all(("mlm" in entry) != name.startswith("pairs") for entry in logs[name])
    weights = [load_file(work / name / "model.safetensors") for name in names]
    heads = [tensors["bert.pooler.dense.weight"] for tensors in weights]
    assert not any(torch.equal(before, after) for before, after in pairwise(heads))
    demo = tmp_path / "demo"
    stored = load_file(demo / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    averaged = [load_file(work / name / "model.safetensors") for name in script.AVERAGED]
    assert len(averaged) == 2
    for name, tensor in stored.items():
        first, second = (tensors[name] for tensors in averaged)
        assert torch.equal(tensor, ((first + second) / 2).half()) and not torch.equal(first, second)
    assert BertForPreTraining.from_pretrained(demo).config.hidden_dropout_prob == 0.1
    assert len(BertTokenizer.from_pretrained(demo)) == 300
    steps = [entry["step"] for entry in read_metrics(demo)]
    assert steps == sorted(steps)
    assert "<svg" in (demo / "loss.svg").read_text(encoding="utf-8")
    card = (demo / "README.md").read_text(encoding="utf-8")
    texts = [
        TokenizedText.load(work / names[-1] / part, json.loads(script.origin_in(work / names[-1] / part)))
        for part in (TRAINING, HELD_OUT)
    ]
    mean, tokenizer = BertForPreTraining.from_pretrained(work / names[-1]), BertTokenizer.from_pretrained(demo)
    mean.load_state_dict(
        {name: (averaged[0][name] + averaged[1][name]) / 2 for name in stored}, strict=False
    )  # the rest is tied
    measured = heldout_scores(mean, PretrainingExamples(texts[1], tokenizer), texts[0].piece_counts(300))
    assert f"| all | {measured['mlm_loss']:.2f} | {measured['unigram_loss']:.2f} | {measured['top1']:.1%} |" in card
    assert f"| words | both tasks | {STEPS - 1} of {STEPS} | 2,048 | 0.001 | 6% | 0 |" in card and "300 pieces" in card
    assert len(re.findall(r"^\| .*\[MASK\].* \| .+% \|$", card, re.MULTILINE)) == len(script.LINES)
    (row,) = re.findall(r"^\| all \|((?: [\d.]+% of [\d,]+ \|){3})$", card, re.MULTILINE)
    pairs = [int(count.replace(",", "")) for count in re.findall(r"of ([\d,]+)", row)]
    assert pairs == sorted(pairs, reverse=True) and len(set(pairs)) == 3  # the longer, the fewer
    assert not re.search(r"[{}]|nan", card)
    assert "MiB" in capsys.readouterr().out
