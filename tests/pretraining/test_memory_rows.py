"""Pre-training from rows in memory: the documents of a table, held out and taken out of the text like files."""

import json

import pytest

from minibert import BertConfig
from minibert.errors import InputError
from minibert.pretraining.decontamination import without_heldout
from minibert.pretraining.documents import read_documents
from minibert.pretraining.run import Start, TrainingText, pretrain
from minibert.training.settings import Settings

TEXTS = [f"The cat number {n} sat.\nIt ran to the mat {n}.\nThe bird sang." for n in range(60)]
ROWS = [{"id": n, "text": text} for n, text in enumerate(TEXTS)]


def frame():
    return pytest.importorskip("pandas").DataFrame(ROWS)


def dataset():
    return pytest.importorskip("datasets").Dataset.from_list(ROWS)


KINDS = {
    "a DataFrame": frame,
    "a Dataset": dataset,
    "a list of dicts": lambda: ROWS,
    "a column": lambda: dataset()["text"],
    "a Series": lambda: frame()["text"],
    "texts in a list": lambda: [TEXTS],
    "several": lambda: [frame().iloc[:20], ROWS[20:40], TEXTS[40:]],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_documents_are_those_of_the_file(kind: str, tmp_path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    for reading in ({}, {"split_sentences": True}, {"document": "line"}):
        expected = [one.sentences for one in read_documents(file, **reading)]
        assert [one.sentences for one in read_documents(KINDS[kind](), **reading)] == expected
    assert len(expected) == 180
    first = next(iter(read_documents(KINDS[kind]())))
    assert first.source.startswith("the ") and first.line == 1


def test_a_list_of_str_names_files() -> None:
    with pytest.raises(InputError, match=r"The cat number 0 sat.* does not exist"):
        list(read_documents(TEXTS))


def test_mistakes_name_the_row() -> None:
    with pytest.raises(InputError, match=r"^Row 2 of the list of dicts has None in 'text', expected text. Mend it\.$"):
        list(read_documents([{"text": "a"}, {"text": None}]))
    with pytest.raises(InputError, match="the list of texts has no columns"):
        list(read_documents([TEXTS], column="text"))
    with pytest.raises(InputError, match="the list of texts is empty"):
        list(read_documents([[" ", ""]]))
    with pytest.raises(InputError, match=r"^one of files is a DatasetDict with the splits train; give one of them"):
        TrainingText(pytest.importorskip("datasets").DatasetDict(train=dataset()))


def test_held_out_rows_are_taken_out() -> None:
    kept, removed = without_heldout([frame(), TEXTS[:5]], [frame()])
    assert len(kept) == 1 and removed == ["the DataFrame"]
    text = TrainingText(frame(), [TEXTS[:10]])
    assert [one.sentences[0] for one in text.documents(held_out=False)] == [t.split("\n")[0] for t in TEXTS[10:]]


@pytest.mark.parametrize("kind", ["a DataFrame", "texts in a list"])
def test_a_run_goes_on_with_the_same_rows(kind: str, tmp_path, caplog) -> None:
    pytest.importorskip("tokenizers")
    caplog.set_level("INFO", "minibert.pretraining")
    config = BertConfig(
        vocab_size=1, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=32,
    )  # fmt: skip

    def run(rows, steps: int | None = None):
        text = TrainingText(rows, heldout_share=0.2, max_length=32, step_tokens=128)
        settings = Settings(steps=4, stop_after=steps)
        return pretrain(text, tmp_path / "run", settings, start=Start(config, vocab_size=90))

    assert run(KINDS[kind](), 2).steps == 2
    assert "Training text: 50 documents" in caplog.text and "The text is ready after" in caplog.text
    assert "MiB of memory at most" in caplog.text
    assert run(KINDS[kind]()).steps == 4
    with pytest.raises(InputError, match="was made with another text"):
        run([TEXTS[1:]])
