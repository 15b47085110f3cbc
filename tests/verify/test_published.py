"""Values that other projects printed."""

import json

import pytest

from minibert import CheckpointError
from minibert.cli import main
from minibert.verify import verify_published
from minibert.verify.published import FILE


def test_minilm_holds_and_the_others_wait(minilm) -> None:
    report = verify_published(minilm)
    assert report.checkpoint == "sentence-transformers/all-MiniLM-L6-v2"
    assert report.same
    held = {result.output: result for result in report.results if result.verdict == "holds"}
    assert set(held) == {"embedding", "cosine_matrix"}
    assert held["embedding"].difference <= 2e-6
    waiting = [result for result in report.results if result.verdict == "waits for its weights"]
    assert len(waiting) == 16
    assert "2 hold, 0 differ; 18 of the 20 wait." in str(report)


def test_the_file_holds_every_value_that_was_collected(shared) -> None:
    collected = json.loads((shared / "reference" / "published_values.json").read_text(encoding="utf-8"))
    ours = json.loads(FILE.read_text(encoding="utf-8"))
    assert [(e["checkpoint"], e["head"], [(x["values"], x["atol"]) for x in e["expect"]]) for e in ours["entries"]] == [
        (e["checkpoint"], e["head"], [(x["values"], x["atol"]) for x in e["expect"]]) for e in collected["entries"]
    ]


def test_a_checkpoint_that_is_another_differs(minilm, capsys) -> None:
    """The wrong name on the right weights: the printed numbers are not met, and it says so."""
    assert main(["verify", str(minilm), "--published", "google/bert_uncased_L-2_H-128_A-2"]) == 1
    assert "DIFFERS" in capsys.readouterr().out
    assert main(["verify", str(minilm), "--published"]) == 0


def test_a_folder_that_is_not_recognised(tmp_path, minilm) -> None:
    with pytest.raises(CheckpointError, match="is 'someone/bert'; values are published for"):
        verify_published(minilm, "someone/bert")
