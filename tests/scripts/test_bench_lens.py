"""scripts/bench/bench_lens.py compares with a model that has no marks, and is otherwise the same."""

import importlib.util
from pathlib import Path

import pytest
import torch

import minibert.model
import minibert.pretrained
from tests.support.small_models import assert_same_bits, inputs_for, small


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).parents[2] / "scripts" / "bench" / "bench_lens.py"
    spec = importlib.util.spec_from_file_location("bench_lens", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_mark_is_left(bench) -> None:
    for module in (minibert.model, minibert.pretrained):
        names = {"BertPreTrainedModel": minibert.BertPreTrainedModel} if module is minibert.model else {}
        _, source, removed = bench.without_marks(module, names)
        assert removed == {"minibert.model": 14, "minibert.pretrained": 1}[module.__name__]
        for word in ("self.point('", "point_fields", "is_watched", "Observable", "minibert.watch", "by_chunks"):
            assert word not in source, word


def test_the_twin_computes_the_same_bits_with_the_same_tensors(bench) -> None:
    for settings in ({}, {"attn_implementation": "eager"}, {"chunk_size_feed_forward": 4}):
        model, inputs = small(**settings), inputs_for()
        twin = bench.plain_twin(model)
        assert_same_bits(twin(**inputs), model(**inputs))
        assert all(a.data_ptr() == b.data_ptr() for a, b in zip(model.parameters(), twin.parameters(), strict=True))
        assert not isinstance(twin, minibert.BertPreTrainedModel)


def test_prints_ratios_with_intervals(bench, monkeypatch, capsys) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr("sys.argv", ["bench_lens.py", "--pairs", "4", "--tokens", "3"])
    assert bench.main() in (0, 1)
    torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert printed.count("4 pairs") == 2 and "within 1%: " in printed


def test_intervals(bench, capsys) -> None:
    low, high = bench.report("x", [1.0 + number / 1000 for number in range(400)])
    assert (low, high) == (pytest.approx(1.180), pytest.approx(1.219))
    assert "median 1.1995" in capsys.readouterr().out
