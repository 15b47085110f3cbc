"""Several seeds: each is the run that it would be alone; mean and deviation; the best is kept; nothing is lost."""

import json
import signal
import statistics
from pathlib import Path

import pytest

from minibert import Embedder, InputError
from minibert.cli import main
from minibert.finetuning import Predictor, Seeds, evaluate, finetune, finetune_seeds
from minibert.finetuning import run as module
from minibert.training.metrics import MetricsLog, read_metrics
from tests.support.command import mistake
from tests.support.toy_tasks import TINY, write_toy

pytest.importorskip("sklearn")
pytest.importorskip("scipy")
FAST = {"epochs": 2, "learning_rate": 5e-3, "batch_size": 8}


def files(folder: Path, task: str = "classify") -> tuple[Path, Path]:
    return write_toy(task, folder / "train", 32), write_toy(task, folder / "dev", 48, seed=1)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, Seeds]:
    """Three seeds, from 5 on."""
    folder = tmp_path_factory.mktemp("seeds")
    train, dev = files(folder, "score")
    return folder, finetune_seeds("score", TINY, train, folder / "runs", dev, seed=5, **FAST)


def test_each_run_is_that_of_its_seed(done, tmp_path) -> None:
    folder, found = done
    assert (found.seeds, [run.folder for run in found.runs]) == (
        (5, 6, 7), [str(folder / "runs" / f"seed-{seed}") for seed in (5, 6, 7)],
    )  # fmt: skip
    alone = finetune("score", TINY, folder / "train.jsonl", tmp_path / "alone", folder / "dev.jsonl", seed=6, **FAST)
    assert alone.scores == found.runs[1].scores
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "alone" / name).read_bytes() == (folder / "runs" / "seed-6" / name).read_bytes()


def test_mean_and_deviation(done) -> None:
    folder, found = done
    pearsons = [run.scores["pearson"] for run in found.runs]
    assert len(set(pearsons)) > 1
    assert found.mean["pearson"] == pytest.approx(sum(pearsons) / 3)
    assert found.std["pearson"] == pytest.approx((sum((a - found.mean["pearson"]) ** 2 for a in pearsons) / 2) ** 0.5)
    assert list(found.mean) == list(found.std) == ["pearson", "spearman"]
    assert found.std["spearman"] == statistics.stdev(run.scores["spearman"] for run in found.runs)
    lines = str(found).splitlines()
    assert lines[0] == f"{folder / 'runs'}: score, 3 seeds, 32 examples; on the dev data"
    assert lines[2].split() == ["seed", "pearson", "spearman", "step"]
    assert lines[4].split() == ["5", f"{pearsons[0]:.4f}", *lines[4].split()[2:]]
    assert [line.split()[0] for line in lines[4:9]] == ["5", "6", "7", "mean", "std"]
    assert lines[8].split()[1] == f"{found.std['pearson']:.4f}"


def test_the_best_is_kept_in_the_folder_itself(done, tmp_path) -> None:
    folder, found = done
    pearsons = {seed: run.scores["pearson"] for seed, run in zip(found.seeds, found.runs, strict=True)}
    assert found.best == max(pearsons, key=pearsons.__getitem__)
    best, kept = folder / "runs" / f"seed-{found.best}", folder / "runs"
    assert str(found).endswith(f"kept: {kept}, a copy of {best}, the best by pearson")
    copied = {path.name for path in kept.iterdir() if path.is_file()} - {"seeds.json"}
    assert copied >= {"config.json", "model.safetensors", "tokenizer_config.json"}
    assert copied.isdisjoint(("run.json", "metrics.jsonl", "loss.svg"))
    for name in copied:
        assert (kept / name).read_bytes() == (best / name).read_bytes()
    scores = evaluate(kept, folder / "dev.jsonl", resamples=10).scores
    assert scores["pearson"].value == pytest.approx(pearsons[found.best])
    assert json.loads((kept / "seeds.json").read_text()) == json.loads(json.dumps(found.to_dict()))


def test_the_same_call_does_nothing_again_and_more_seeds_extend_it(done) -> None:
    folder, found = done
    train, dev = folder / "train.jsonl", folder / "dev.jsonl"
    before = {path: path.read_bytes() for path in (folder / "runs").glob("seed-*/metrics.jsonl")}
    assert finetune_seeds("score", TINY, train, folder / "runs", dev, seed=5, **FAST) == found
    more = finetune_seeds("score", TINY, train, folder / "runs", dev, seed=5, seeds=4, **FAST)
    assert more.runs[:3] == found.runs
    assert more.seeds == (5, 6, 7, 8)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_interrupted_the_same_command_goes_on(tmp_path, capsys, monkeypatch) -> None:
    train, dev = files(tmp_path)
    typed = [
        "finetune",
        "classify",
        str(train),
        "--dev",
        str(dev),
        "--model",
        str(TINY),
        "--seeds",
        "2",
        "--epochs",
        "2",
    ]
    typed += ["--batch-size", "8", "--learning-rate", "5e-3"]
    assert main([*typed, "--output", str(tmp_path / "whole")]) == 0
    write, steps = MetricsLog.write, 0

    def pressing(metrics: MetricsLog, entry: dict) -> None:
        nonlocal steps
        write(metrics, entry)
        steps += "loss" in entry
        if steps == 8 + 3 and "loss" in entry:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(MetricsLog, "write", pressing)
        capsys.readouterr()
        cut = tmp_path / "cut"
        assert main([*typed, "--output", str(cut)]) == 130
    assert capsys.readouterr().out == f"{cut}: seed 1 of 2 seeds stopped after 4 of 8 steps; the same command goes on\n"
    assert not (cut / "model.safetensors").exists()
    assert main([*typed, "--output", str(cut), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["interrupted"], report["seeds"], [run["steps"] for run in report["runs"]]) == (False, [0, 1], [8, 8])
    assert [Path(curve).name for curve in report["curves"]] == ["loss.svg", "loss.svg"]
    for name in ("model.safetensors", "seed-0/metrics.jsonl", "seed-1/metrics.jsonl", "seed-1/model.safetensors"):
        assert (cut / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_share_of_dev_rows_is_the_same_for_all_seeds(tmp_path, monkeypatch) -> None:
    train, _ = files(tmp_path)
    split, drawn = module.split_rows, []

    def noted(rows, share, seed):
        drawn.append(split(rows, share, seed)[1])
        return split(rows, share, seed)

    monkeypatch.setattr(module, "split_rows", noted)
    finetune_seeds("classify", TINY, train, tmp_path / "runs", "25%", seeds=2, seed=3, **FAST, steps=2)
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 8
    stored = [json.loads((tmp_path / "runs" / f"seed-{seed}" / "run.json").read_text()) for seed in (3, 4)]
    assert "dev seed" not in json.dumps(stored[0])  # resumes a plain run of this seed, and the other way round
    assert '"dev seed": 3' in json.dumps(stored[1])
    finetune("classify", TINY, train, tmp_path / "runs" / "seed-3", "25%", seed=3, **FAST, steps=2)
    with pytest.raises(InputError, match="dev seed"):
        finetune("classify", TINY, train, tmp_path / "runs" / "seed-4", "25%", seed=4, **FAST, steps=2)


def test_an_embedders_folder_is_copied_whole(tmp_path) -> None:
    train, dev = files(tmp_path, "embedding")
    found = finetune_seeds("embedding", TINY, train, tmp_path / "runs", dev, seeds=2, **{**FAST, "epochs": 1})
    assert found.score == "spearman"
    best = Embedder.from_pretrained(tmp_path / "runs" / f"seed-{found.best}").encode(["a tree"])
    assert Embedder.from_pretrained(tmp_path / "runs").encode(["a tree"]).tolist() == best.tolist()
    assert Predictor.from_pretrained(tmp_path / "runs").task.name == "embedding"


def test_misuse(done, tmp_path, capsys) -> None:
    folder, _ = done
    train, dev = str(folder / "train.jsonl"), str(folder / "dev.jsonl")
    new = ["--output", str(tmp_path / "new"), "--model", str(TINY)]
    runs = ["--output", str(folder / "runs"), "--model", str(TINY)]
    one = ["--output", str(folder / "runs" / "seed-5"), "--model", str(TINY)]
    for typed, part in (
        ([*new, "--seeds", "3"], "compared on dev data, and there are none: name them (--dev FILE, or --dev 10%)"),
        ([*new, "--seeds", "1", "--dev", dev], "seeds is 1; a standard deviation needs 2 or more"),
        ([*new, "--seeds", "2", "--dev", dev, "--stop-after", "2"], "stop_after (--stop-after) ends a run on purpose"),
        ([*new, "--seeds", "2", "--dev", train], "is the training file"),
        ([*runs, "--dev", dev], "holds runs of several seeds (--seeds). Name another folder for a single run"),
        ([*one, "--seeds", "2", "--dev", dev], "seed-5 holds a run of one seed. Name another folder for several"),
    ):
        assert part in mistake(capsys, ["finetune", "score", train, *typed])
    assert not (tmp_path / "new").exists()
    for arguments, sentence in (({"seeds": 2.5}, "seeds is 2.5; expected"), ({"seed": "a"}, 'seed is "a"; expected')):
        with pytest.raises(InputError, match=sentence):
            finetune_seeds("score", TINY, train, tmp_path / "new", dev, **arguments)
    assert len(read_metrics(folder / "runs" / "seed-5")) == 10
