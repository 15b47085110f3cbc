"""The benchmarks say how sure they are, count operations right, compare like with like, and explain themselves."""

import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from minibert import BertConfig, BertModel, mean_pooling

SCRIPTS = Path(__file__).parents[2] / "scripts" / "bench"


@pytest.fixture(autouse=True)
def beside_each_other(monkeypatch) -> None:
    """Scripts import each other as files of one folder."""
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.fixture
def rounds() -> ModuleType:
    import rounds

    return rounds


@pytest.mark.parametrize(
    ("count", "place", "confidence"),
    [
        (2, 1, 0.5),
        (5, 1, 0.9375),  # too few for 95%: lowest to highest, and what that is worth
        (6, 1, 0.96875),
        (9, 2, 1 - 20 / 512),
        (25, 8, 0.9567),  # the tables' 8th and 18th of 25
    ],
)
def test_interval_of_the_median_is_the_sign_tests(rounds, count: int, place: int, confidence: float) -> None:
    values = [float(number) for number in range(1, count + 1)]
    random.Random(0).shuffle(values)
    low, high, held = rounds.median_interval(values)
    assert (low, high) == (place, count + 1 - place)
    assert held == pytest.approx(confidence, abs=5e-5)


def test_interval_holds_the_true_median_as_often_as_it_says(rounds) -> None:
    """Of a lopsided distribution, whose mean is far from its median; 3 standard errors around the promise."""
    draw, median, trials, inside = random.Random(1), 0.6931471805599453, 4000, 0
    for _ in range(trials):
        low, high, held = rounds.median_interval([draw.expovariate(1) for _ in range(9)])
        inside += low <= median <= high
    assert inside / trials == pytest.approx(held, abs=3 * (held * (1 - held) / trials) ** 0.5)


def test_a_ratio_is_taken_within_each_round(rounds) -> None:
    """The machine was ten times slower in the last round: both sides felt it, and the ratio does not."""
    ratio = rounds.Ratio.of([3.0, 4.0, 5.0, 4.0, 4.0, 40.0], [2.0, 2.0, 2.0, 2.0, 2.0, 20.0])
    assert (ratio.median, ratio.lowest, ratio.highest) == (2.0, 1.5, 2.5)
    assert (ratio.low, ratio.high, ratio.confidence, ratio.rounds) == (1.5, 2.5, 0.96875, 6)
    assert str(ratio) == "2.00 [1.50–2.50]"
    assert ratio.interval == "1.50–2.50 (97%)"
    assert "a tie" in rounds.Ratio.of([1.0, 3.0], [2.0, 2.0]).interval


def test_everyone_is_first_equally_often(rounds) -> None:
    called: list[str] = []
    runs = {name: lambda name=name: called.append(name) or len(called) for name in "ABC"}
    found = rounds.take_turns(runs, 6)
    assert "".join(called) == "ABCBCACAB" * 2
    assert {name: len(values) for name, values in found.items()} == {"A": 6, "B": 6, "C": 6}
    assert found["A"][:2] == [1, 6]  # one value a round, in the order of the rounds


def test_operations_are_those_that_torch_counts() -> None:
    """Against torch's own counter, attention written out."""
    from bench_gemm import forward_operations

    config = BertConfig(vocab_size=50, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40)
    model = BertModel(config).eval()
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randint(50, (5, 7)))
    assert forward_operations(config, 5, 7, pooler=True) == counter.get_total_flops()
    base = BertConfig.from_pretrained("bert-base-uncased")
    assert round(forward_operations(base, 32, 128, pooler=False) / 1e9) == 715


def test_lists_of_every_size_have_the_same_mix_of_lengths() -> None:
    from bench_scaling import nested

    draw = random.Random(2)
    lengths = [int(draw.lognormvariate(3.5, 1)) + 3 for _ in range(8000)]
    chosen = nested([""] * 8000, lengths, [500, 1000, 8000])
    assert sorted(chosen[8000]) == list(range(8000))
    everything = sum(lengths) / 8000
    for size in (500, 1000):
        assert len(set(chosen[size])) == size
        assert sum(lengths[number] for number in chosen[size]) / size == pytest.approx(everything, rel=0.01)


def test_a_text_has_exactly_the_tokens_that_were_asked_for() -> None:
    """Where a word is two tokens and no longer fits, the next that fits is taken."""
    from bench_single import text_of

    def count(text: str) -> int:
        return 2 + sum(2 if word.endswith((",", ".")) else 1 for word in text.split())

    for tokens in (3, 16, 17, 128):
        assert count(text_of(tokens, count)) == tokens
    with pytest.raises(SystemExit, match="no text of exactly 16 tokens"):
        text_of(16, lambda text: 2 * len(text.split()) + 1)


def test_peers_batches_are_padded_and_pooled_over_tokens_alone() -> None:
    from peer import mean_over, padded

    ids, mask = padded([[5, 6, 7], [8]], pad=9)
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    hidden_states = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mean_over(hidden_states, mask), mean_pooling(hidden_states, mask))


def test_different_vectors_are_never_timed() -> None:
    from peers import check_agreement, disagreement

    ours = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    assert check_agreement(ours, 7 * ours, "other") == "0e+00"  # length is not direction
    turned = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert disagreement(ours, turned) == (1.0, 1.0)
    for theirs in (turned, torch.full((2, 2), float("nan"))):
        with pytest.raises(SystemExit, match="other gives other vectors than minibert"):
            check_agreement(ours, theirs, "other")


def test_a_missing_peer_is_left_out_with_a_line(capsys) -> None:
    from peers import PEERS, Transformers, installed, named

    class Unknown(Transformers):
        name, packages = "unknown", ("no-such-package",)

    assert installed([Unknown]) == []
    assert capsys.readouterr().out.startswith("unknown is left out: no-such-package missing (pip install ")
    assert named("openvino, transformers,openvino") == [PEERS["openvino"], PEERS["transformers"]]
    assert named("all") == list(PEERS.values())
    with pytest.raises(SystemExit, match="'tensorflow' is no peer here; there are sentence-transformers,"):
        named("tensorflow")


def test_texts_come_from_a_file_or_a_sentence_says_why_not(tmp_path, capsys) -> None:
    from material import read_texts

    file = tmp_path / "corpus.txt"
    file.write_text("one\n\ntwo\nthree\n", encoding="utf-8")
    assert read_texts(2, file) == ["one", "two"]
    assert read_texts(9, file) == ["one", "two", "three"]
    assert "has 3 texts, not 9" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="is not there"):
        read_texts(9, tmp_path / "absent.txt")


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("bench_*.py")))
def test_every_benchmark_explains_itself(rounds, script: str, tmp_path) -> None:
    """From anywhere, with a line to copy."""
    command = [sys.executable, str(SCRIPTS / script), "--help"]
    environment = rounds.child_environment()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert f"python scripts/bench/{script}" in done.stdout
