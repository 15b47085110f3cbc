"""The picture of a run: what is drawn on which scale, and from how many steps."""

import json

import pytest

from minibert import InputError
from minibert.training.curve import POINTS, draw_curves, panels_of


def entry(step: int, **losses: float) -> dict:
    return {
        "step": step,
        "epoch": 0,
        "loss": sum(losses.values()),
        **losses,
        "learning_rate": 1e-3,
        "gradient_norm": 2.0,
    }


SCORES = {
    "mlm_loss": 3.0, "unigram_loss": 7.0, "top1": 0.4, "masked": 900.0, "pairs": 50.0, "mlm_gain": 4.0,
    "mlm_loss/latin": 2.5, "top1/latin": 0.5, "nsp_accuracy": 0.75,
}  # fmt: skip


def test_losses_have_a_panel_each_and_shares_one_together() -> None:
    entries = [entry(1, mlm=9.0), entry(2, mlm=8.0, nsp=0.7), {"step": 2, "scores": SCORES}, entry(3, mlm=7.0, nsp=0.5)]
    mlm, nsp, shares, rate = panels_of(entries)
    assert mlm.training == {"mlm": ([1, 2, 3], [9, 8, 7])}
    assert nsp.training == {"nsp": ([2, 3], [0.7, 0.5])}  # step 1 had no pairs
    assert set(mlm.heldout) == {"mlm_loss", "mlm_loss/latin", "unigram_loss"} and nsp.heldout == {}
    assert mlm.heldout["mlm_loss/latin"] == ([2], [2.5])
    assert set(shares.heldout) == {"top1", "top1/latin", "nsp_accuracy"} and shares.training == {}
    assert rate.training == {"": ([1, 2, 3], [1e-3] * 3)}


def test_a_count_is_no_curve_however_small() -> None:
    """One held-out pair, or none, lies between -1 and 1, and so does a small gain."""
    small = {**SCORES, "masked": 1.0, "pairs": 0.0, "mlm_gain": 0.3, "pairs/latin": 1.0, "masked/latin": 0.0}
    _, shares, _ = panels_of([entry(1, mlm=9.0), {"step": 1, "scores": small}])
    assert set(shares.heldout) == {"top1", "top1/latin", "nsp_accuracy"}


def test_of_a_single_loss_the_sum_is_drawn_once() -> None:
    loss, rate = panels_of([entry(1, **{"class": 0.7}), {"step": 1, "scores": {"rank": 12.0}}])
    assert loss.training == {"loss": ([1], [0.7])} and rate.label == "learning rate"
    assert panels_of([{"step": 0, "scores": SCORES}]) == []


def test_many_steps_are_averaged() -> None:
    count = 3 * POINTS
    steps, values = panels_of([entry(n, mlm=float(n % 3), nsp=1.0) for n in range(1, count + 1)])[0].training["mlm"]
    assert len(steps) == POINTS and steps[:2] == [2, 5]
    assert values == [1.5] * POINTS  # of 1, 2, 0: a loss of nothing at all is that of a step without terms


def test_it_is_drawn(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    lines = [entry(1, mlm=9.0, nsp=0.7), {"step": 1, "scores": SCORES}, entry(2, mlm=8.0, nsp=0.6)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert draw_curves(tmp_path) == tmp_path / "loss.svg"
    first = (tmp_path / "loss.svg").read_bytes()
    assert first.startswith(b"<?xml") and b"<svg" in first
    draw_curves(tmp_path)
    assert (tmp_path / "loss.svg").read_bytes() == first
    draw_curves(tmp_path, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_to_draw_is_a_sentence(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(InputError, match="holds no metrics.jsonl of a run"):
        draw_curves(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(InputError, match="has no step yet"):
        draw_curves(tmp_path)
    with pytest.raises(InputError, match=r"a picture ends in \.png, \.svg or \.pdf"):
        draw_curves(tmp_path, tmp_path / "loss.gif")
