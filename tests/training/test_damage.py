"""Run folders with flipped bits, cut and exchanged files: the same result as if nothing had happened, or a sentence.

Most damage is shown to the functions that read; some dozens of whole runs go on in a damaged folder.
``python -m tests.training.test_damage COUNT`` tries that many whole runs of each kind.
"""

import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from minibert import BertConfig, BertTokenizer
from minibert.checkpoint.save import write_safetensors
from minibert.checksum import json_digest, read_sealed
from minibert.errors import CheckpointError, InputError, MinibertError, TrainingError
from minibert.finetuning import finetune
from minibert.pretraining.run import HELD_OUT, RECORD, TRAINING, Start, TrainingText, has_vocabulary, pretrain
from minibert.pretraining.tokenized import TokenizedText
from minibert.training.distributed import SINGLE_PROCESS
from minibert.training.identity import check_identity
from minibert.training.loop import train
from minibert.training.metrics import read_metrics
from minibert.training.optimizer import make_optimizer
from minibert.training.settings import Settings
from minibert.training.snapshot import Position, load_best, load_snapshot, save_best, save_snapshot, snapshots
from tests.support.damage import damaged
from tests.support.toy_tasks import TINY, write_toy
from tests.support.toy_training import Toy, ToyObjective, same, toy_model, weights
from tests.support.training_crashes import contents, evaluate

LOADED = 400  # damaged files that only the functions that read them see; 500 more stand in tests/corpus/test_damage.py
RUNS = 15  # of each kind, that go on in a damaged folder
EXAMPLES = Toy(24)
TOKENIZER = ("vocab.txt", "tokenizer_config.json", "tokenizer.json")


def toy_run(folder: Path, stop: int | None = None, seed: int = 0) -> None:
    """The loop alone: 9 steps, a snapshot after every second and third; the best score comes before the end."""
    model = toy_model(dropout=0.1, num_hidden_layers=1)
    steps = {"epochs": 3, "save_every": 2, "evaluate_every": 3, "stop_after": stop}
    settings = Settings(learning_rate=1e-2, keep_best="score", seed=seed, **steps)
    train(ToyObjective(model), EXAMPLES, settings, folder, evaluate=evaluate)
    if not stop:
        model.save_pretrained(folder)


class Case:
    """A run, what it ends with, and a folder in which it was stopped on the way."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.run: Callable[..., object] = getattr(self, kind, toy_run)
        self.data, self.whole, self.parts, self.other = (folder / n for n in ("data", "whole", "parts", "other"))
        self.data.mkdir(parents=True)
        self.run(self.whole)
        self.run(self.parts, 5)
        for name in ("config.json", "model.safetensors"):  # a run that was killed has none of them yet
            (self.parts / name).unlink(missing_ok=True)
        self.run(self.other, 5, seed=1)
        self.expected = contents(self.whole)
        kept = ("snapshots/", "data/", "run.json", "metrics.jsonl")
        self.files = sorted(name for name in contents(self.parts) if name.startswith(kept))
        self.files += TOKENIZER if kind == "pretrain" else ()

    def finetune(self, folder: Path, stop: int | None = None, seed: int = 0) -> None:
        steps = {"epochs": 3, "save_every": 2, "stop_after": stop, "learning_rate": 1e-3, "batch_size": 8}
        rows = [write_toy("classify", self.data / name, count, seed=count) for name, count in (("a", 24), ("b", 8))]
        finetune("classify", TINY, rows[0], folder, rows[1], seed=seed, **steps)

    def pretrain(self, folder: Path, stop: int | None = None, seed: int = 0) -> None:
        draw = random.Random(3)
        for name, count in (("text", 24), ("kept", 6)):
            words = ("the cat", "a dog", "sat on", "ran to", "the mat", "him")
            stories = ("\n".join(" ".join(draw.choices(words, k=4)) + "." for _ in range(4)) for _ in range(count))
            (self.data / f"{name}.txt").write_text("\n\n".join(stories))
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        text = TrainingText((self.data / "text.txt",), (self.data / "kept.txt",), max_length=32, step_tokens=512)
        settings = Settings(learning_rate=1e-3, steps=8, save_every=2, stop_after=stop, seed=seed)
        start = Start(BertConfig(vocab_size=1, max_position_embeddings=32, **small), vocab_size=60)
        pretrain(text, folder, settings, start=start)

    def goes_on(self, folder: Path) -> str:
        """What becomes of a run in a folder: ``"same"``, or the sentence it refused with."""
        try:
            self.run(folder)
        except MinibertError as error:
            return str(error)
        found = contents(folder)
        assert found.keys() == self.expected.keys()
        assert [name for name in found if found[name] != self.expected[name]] == []
        return "same"


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> dict[str, Case]:
    pytest.importorskip("tokenizers")
    return {kind: Case(kind, tmp_path_factory.mktemp(kind)) for kind in ("loop", "finetune", "pretrain")}


def identity_of(folder: Path) -> dict:
    return read_sealed(folder / "run.json")[0]


def test_what_is_loaded_is_what_was_saved(cases, tmp_path) -> None:
    """Every damage to snapshots, best weights and metrics log: the state of a snapshot, to the bit, or a sentence."""
    folder = Path(shutil.copytree(cases["loop"].parts, tmp_path / "out"))
    identity, draw, model = identity_of(folder), random.Random(0), toy_model(num_hidden_layers=1)
    optimizer = make_optimizer(model, Settings())

    def load() -> tuple[Position | None, dict, list]:
        position = load_snapshot(folder, model, optimizer, SINGLE_PROCESS, [json_digest(identity)])
        return position, weights(model), [value for state in optimizer.state.values() for value in state.values()]

    good = {}
    for path in snapshots(folder):  # latest first
        position, found, moments = load()
        good[position.step] = found, [moment.clone() for moment in moments]
        path.rename(path.with_suffix(".aside"))
    for path in folder.glob("snapshots/*.aside"):
        path.rename(path.with_suffix(".safetensors"))
    assert sorted(good) == [4, 5]
    names, outcomes = [name for name in cases["loop"].files if name != "run.json"], Counter()
    for number in range(LOADED):
        path = folder / names[number % len(names)]
        content = path.read_bytes()
        path.write_bytes(damaged(content, draw))
        try:
            position, found, moments = load()
        except CheckpointError as error:
            assert "None of the snapshots of" in str(error) and "is damaged" in str(error)
            outcomes["refused"] += 1
        else:
            assert same(found, good[position.step][0])
            assert all(torch.equal(one, two) for one, two in zip(moments, good[position.step][1], strict=True))
            outcomes[position.step] += 1
        path.write_bytes(content)
    print(outcomes)
    assert (
        outcomes["refused"] > LOADED / 10 and outcomes[4] > LOADED / 10
    )  # metrics log or best weights; the last snapshot


def test_files_that_a_run_prepares_are_made_again(cases, tmp_path) -> None:
    folder, draw = Path(shutil.copytree(cases["pretrain"].parts, tmp_path / "out")), random.Random(1)
    origins = {}
    for name in (TRAINING, HELD_OUT):
        header = (folder / name).read_bytes()
        about = json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])["__metadata__"]
        origins[name] = json.loads(about["origin"])
        TokenizedText.load(folder / name, origins[name])
    assert has_vocabulary(folder)
    names = [TRAINING, HELD_OUT, RECORD, *TOKENIZER]
    for number in range(240):
        path = folder / (name := names[number % len(names)])
        content = path.read_bytes()
        path.write_bytes(damaged(content, draw))
        if name in origins:
            with pytest.raises(CheckpointError, match="it is made again from the text"):
                TokenizedText.load(path, origins[name])
        else:
            assert not has_vocabulary(folder)
        path.write_bytes(content)


def test_run_json_is_written_again(cases, tmp_path) -> None:
    folder, draw = Path(shutil.copytree(cases["loop"].parts, tmp_path / "out")), random.Random(2)
    path, identity = folder / "run.json", identity_of(folder)
    content = path.read_bytes()
    for _ in range(100):
        path.write_bytes(damaged(content, draw))
        with pytest.raises(CheckpointError, match=r"run\.json (is damaged|cannot be read as JSON).* not of a run"):
            check_identity(folder, {**identity, "other": 1})
        check_identity(folder, identity)
        assert path.read_bytes() == content


@pytest.mark.parametrize("kind", ["loop", "finetune", "pretrain"])
def test_runs_go_on_as_if_nothing_had_happened_or_refuse(cases, kind: str, tmp_path) -> None:
    outcomes = series(cases[kind], tmp_path, RUNS)
    print(outcomes)
    assert outcomes["same"] >= RUNS / 3


def series(case: Case, place: Path, count: int) -> Counter:
    """Whole runs in damaged folders; how they ended."""
    draw, outcomes = random.Random(3), Counter()
    for number in range(count):
        folder = Path(shutil.copytree(case.parts, place / str(number)))
        name = case.files[number % len(case.files)]
        stranger = draw.choice((case.other, case.whole)) / name
        if draw.random() < 0.2 and stranger.exists():
            shutil.copy(stranger, folder / name)
        else:
            (folder / name).write_bytes(damaged((folder / name).read_bytes(), draw))
        found = case.goes_on(folder)
        outcomes["same" if found == "same" else "refused"] += 1
        shutil.rmtree(folder)
    return outcomes


def test_exchanged_files(cases, tmp_path) -> None:
    """Of the same folder with each other, and from another run: never taken for what they are not."""
    case = cases["loop"]
    pairs = [(one, two) for one in case.files for two in case.files if one < two and one[-5:] == two[-5:]]
    for number, (one, two) in enumerate(pairs):
        folder = Path(shutil.copytree(case.parts, tmp_path / str(number)))
        (folder / one).write_bytes((case.parts / two).read_bytes())
        (folder / two).write_bytes((case.parts / one).read_bytes())
        assert "None of the snapshots" in case.goes_on(folder)
    for name in case.files:
        folder = Path(shutil.copytree(case.parts, tmp_path / f"other-{name.replace('/', '-')}"))
        if not (case.other / name).exists():
            continue
        shutil.copy(case.other / name, folder / name)
        found = case.goes_on(folder)
        assert found == "same" or "is damaged" in found or "holds a run with settings.seed 1" in found, name
    case = cases["pretrain"]
    folder = Path(shutil.copytree(case.parts, tmp_path / "text"))
    (folder / TRAINING).rename(folder / "aside")
    (folder / HELD_OUT).rename(folder / TRAINING)
    (folder / "aside").rename(folder / HELD_OUT)
    assert "was made with another held out (True, now False)" in case.goes_on(folder)


def test_the_metrics_log_sends_a_run_back_or_stops_it(cases, tmp_path, caplog) -> None:
    case = cases["loop"]
    content = (case.parts / "metrics.jsonl").read_bytes()
    fourth = content.index(b'"step": 5')
    for number, (place, expected) in enumerate(((fourth + 40, "same"), (40, "None of the snapshots"))):
        folder = Path(shutil.copytree(case.parts, tmp_path / str(number)))
        changed = bytearray(content)
        changed[place] ^= 4
        (folder / "metrics.jsonl").write_bytes(changed)
        assert expected in case.goes_on(folder)
        assert "metrics.jsonl is damaged: its first" in caplog.text
    (folder / "metrics.jsonl").unlink()  # as the sentence says
    case.run(folder)
    assert "metrics.jsonl is gone; a new one begins with step 6." in caplog.text
    assert case.expected["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert case.expected["metrics.jsonl"].endswith((folder / "metrics.jsonl").read_bytes())
    assert (folder / "metrics.jsonl").read_bytes().startswith(b'{"step": 6')


def test_a_vocabulary_without_a_record(cases, tmp_path) -> None:
    """Killed in the moment between them; or a file of the user's, which is not written over."""
    case = cases["pretrain"]
    (tmp_path / "vocab.txt").write_bytes(case.expected["vocab.txt"])
    assert case.goes_on(tmp_path) == "same"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "vocab.txt").write_bytes(case.expected["vocab.txt"] + b"word\n")
    assert "vocab.txt is of no run. To use it: --tokenizer" in case.goes_on(tmp_path / "mine")
    assert (tmp_path / "mine" / "vocab.txt").read_bytes().endswith(b"word\n")


def test_a_run_is_not_put_where_another_keeps_its_files(cases, tmp_path) -> None:
    folder = Path(shutil.copytree(cases["loop"].parts, tmp_path / "out"))
    before = contents(folder)
    with pytest.raises(InputError, match="snapshots belongs to the run in .*out, which keeps its files there"):
        toy_run(folder / "snapshots")
    assert contents(folder) == before


def test_another_checkpoint_under_the_same_name_is_refused(cases, tmp_path) -> None:
    """The snapshot has the weights; vocabulary and settings are read from where they were."""
    rows, model = write_toy("classify", tmp_path / "a", 24), Path(shutil.copytree(TINY, tmp_path / "model"))
    steps = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    finetune("classify", model, rows, tmp_path / "out", stop_after=1, **steps)
    words = (model / "vocab.txt").read_text().split("\n")
    words[-3], words[-2] = words[-2], words[-3]
    (model / "vocab.txt").write_text("\n".join(words))
    with pytest.raises(InputError, match="holds a run with vocabulary and config '[0-9a-f]{64}', and this one has"):
        finetune("classify", model, rows, tmp_path / "out", **steps)


def test_a_damaged_metrics_log_is_not_drawn(cases, tmp_path) -> None:
    content = (cases["loop"].parts / "metrics.jsonl").read_bytes()
    for change in ((b"{", b"["), (b"step", b"stop"), (b"}", b"")):
        (tmp_path / "metrics.jsonl").write_bytes(content.replace(*change, 1))
        with pytest.raises(CheckpointError, match="Line 1 of .*metrics.jsonl is damaged"):
            read_metrics(tmp_path)


def test_another_vocabulary_or_other_heldout_files_are_refused(cases, tmp_path) -> None:
    case = cases["pretrain"]
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    start = Start(BertConfig(vocab_size=1, max_position_embeddings=32, **small), vocab_size=55)
    text = TrainingText((case.data / "text.txt",), (case.data / "kept.txt",), max_length=32, step_tokens=512)
    settings = Settings(learning_rate=1e-3, steps=8, save_every=2)
    with pytest.raises(InputError, match=r"holds a run with vocabulary \[60, False\], and this one has \[55, False\]"):
        pretrain(text, shutil.copytree(case.parts, tmp_path / "a"), settings, start=start)
    more = case.data / "more.txt"
    more.write_text((case.data / "kept.txt").read_text().replace("cat", "mat"))
    origins = [
        TrainingText((case.data / "text.txt", more), (case.data / "kept.txt",)),
        TrainingText((case.data / "text.txt",), (more, case.data / "kept.txt")),
    ]
    tokenizer = BertTokenizer.from_pretrained(case.parts)
    assert origins[0].origin(tokenizer) != origins[1].origin(tokenizer)  # the same files in the same order


def test_best_weights_stay_as_long_as_a_snapshot_needs_them(tmp_path, caplog) -> None:
    """The last snapshot is damaged, and a better evaluation came with it: the one before has its own best weights."""
    scores = iter((0.1, 0.5, 0.5, 0.2))

    def run(stop: int | None = None) -> None:
        model = toy_model(num_hidden_layers=1)
        settings = Settings(learning_rate=1e-2, epochs=3, save_every=9, keep_best="score", stop_after=stop)
        train(ToyObjective(model), EXAMPLES, settings, tmp_path, evaluate=lambda _: {"score": next(scores)})

    run(6)
    names = sorted(path.name for path in (tmp_path / "snapshots").iterdir())
    assert names == [f"{kind}-0000000{step}.safetensors" for kind in ("best", "step") for step in (3, 6)]
    latest = tmp_path / "snapshots" / names[-1]
    latest.write_bytes(damaged(latest.read_bytes(), random.Random(0)))
    run()
    assert "So the run cannot go on from step 6." in caplog.text
    names = sorted(path.name for path in (tmp_path / "snapshots").iterdir())
    assert names == ["best-00000006.safetensors", "step-00000006.safetensors", "step-00000009.safetensors"]


def test_nan_is_neither_written_nor_read(tmp_path) -> None:
    model = toy_model(num_hidden_layers=1)
    optimizer = make_optimizer(model, Settings())
    save_snapshot(tmp_path, Position(step=1), model, optimizer, SINGLE_PROCESS, 2)
    before = contents(tmp_path)
    with torch.no_grad():
        model.bert.pooler.dense.bias[3] = float("nan")
    for save in (
        lambda: save_snapshot(tmp_path, Position(step=2), model, optimizer, SINGLE_PROCESS, 2),
        lambda: save_best(tmp_path, 2, model, SINGLE_PROCESS),
    ):
        with pytest.raises(TrainingError, match="After step 2 model.bert.pooler.dense.bias holds NaN or infinite"):
            save()
    assert contents(tmp_path) == before
    tensors = {f"model.{name}": parameter for name, parameter in model.named_parameters()}
    about = {"format": "pt", "run": "", "state": json.dumps({"step": 2})}
    for kind in ("step", "best"):  # as another program, or an earlier version, would have left it
        write_safetensors(tmp_path / f"snapshots/{kind}-00000002.safetensors", tensors, about, sealed=True)
    whole = toy_model(num_hidden_layers=1)
    assert load_snapshot(tmp_path, whole, make_optimizer(whole, Settings())).step == 1
    with pytest.raises(CheckpointError, match="bias holds NaN or infinite"):
        load_best(tmp_path, 2, whole)


def test_folders_of_the_version_before_are_refused(cases, tmp_path) -> None:
    """They have no checksums, and texts were read otherwise."""
    folder = Path(shutil.copytree(cases["loop"].parts, tmp_path / "out"))
    (folder / "run.json").write_text(json.dumps(identity_of(folder), ensure_ascii=False, indent=1) + "\n")
    before = contents(folder)
    with pytest.raises(InputError, match="a run of an earlier version of minibert, without checksums. End it with"):
        toy_run(folder)
    assert contents(folder) == before
    older = Path(shutil.copytree(cases["pretrain"].parts, tmp_path / "older"))
    (older / "run.json").write_text(json.dumps(identity_of(older)))
    (older / RECORD).unlink()
    before = contents(older)
    assert "a run of an earlier version of minibert" in cases["pretrain"].goes_on(older)
    assert contents(older) == before
    (folder / "run.json").unlink()
    for path in folder.glob("snapshots/step-*"):
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        del header["__metadata__"]["checksum"]
        path.write_bytes(content[:8] + json.dumps(header).encode().ljust(size)[:size] + content[8 + size :])
    with pytest.raises(CheckpointError, match="is damaged: it has no checksum. None of the snapshots"):
        toy_run(folder)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        for kind in ("loop", "finetune", "pretrain"):
            print(kind, series(Case(kind, Path(place) / kind), Path(place), int(sys.argv[1])))
