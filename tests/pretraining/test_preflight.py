"""What pre-training checks before it works, and that its advice works in the same folder when it is followed."""

import json
import math
import os
import re
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from minibert import BertConfig, BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining, BertModel
from minibert.auto import load_architecture
from minibert.cli import main
from minibert.errors import InputError, MinibertError, MissingExtraError
from minibert.pretraining import run as room
from minibert.pretraining.documents import read_documents
from minibert.pretraining.run import Start, TrainingText, pretrain
from minibert.training.settings import Settings
from tests.support.toy_tasks import toy_checkpoint

pytest.importorskip("tokenizers")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return toy_checkpoint(tmp_path_factory.mktemp("toy") / "model")


def sentence(number: int) -> str:
    return f"The {('red', 'green', 'blue', 'old', 'new', 'big')[number % 6]} cat {number} sat on the mat."


def book(path: Path, documents: int, first: int = 0) -> Path:
    """Documents of three sentences."""
    parts = ["\n".join(sentence(3 * n + m) for m in range(3)) for n in range(first, first + documents)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(parts) + "\n")
    return path


def typed(model: Path, output: Path, *texts: object, start: bool = True) -> list[str]:
    shape = ["--config", str(model / "config.json"), "--vocab-size", "150"] if start else []
    return [
        "pretrain", *map(str, texts), "--output", str(output), *shape, "--max-length", "32", "--step-tokens", "256",
        "--steps", "1",
    ]  # fmt: skip


def refused(capsys, command: list[str]) -> str:
    capsys.readouterr()
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def one_line(folder: Path) -> list[Path]:
    path = folder / "one.txt"
    path.write_text(" ".join(map(sentence, range(40))))
    return [path]


# Texts of which no document is held out, and what the advice must name.
LACKING = {
    "a few files": (lambda folder: [book(folder / f"{n} b.txt", n, 9 * n) for n in (3, 1, 2)], "--heldout '"),
    "a folder": (lambda folder: [book(folder / "in" / f"{n}.txt", n, 9 * n).parent for n in (3, 2)][:1], "--heldout "),
    "one file of a few documents": (lambda folder: [book(folder / "a.txt", 4)], "--heldout-share 0."),
    "two copies of one file": (
        lambda folder: [book(folder / "a.txt", 4), book(folder / "b.txt", 4)],
        "--heldout-share",
    ),
    "one document of lines": (lambda folder: [book(folder / "a.txt", 1)], "--document line"),
}


@pytest.mark.parametrize("kind", LACKING)
def test_advice_for_want_of_held_out_text_works_in_the_same_folder(kind: str, model, tmp_path, capsys) -> None:
    make, named = LACKING[kind]
    command = typed(model, tmp_path / "run", *make(tmp_path))
    said = refused(capsys, command)
    assert "No document fell among the 1.0% that are kept for scores" in said and named in said
    assert not (tmp_path / "run").exists() or not [path for path in (tmp_path / "run").iterdir() if path.suffix]
    options = re.search(r": (--.*?)(, or|\.?$)", said.strip().splitlines()[-1].split("scores: ")[1])[1]
    assert main([*command, *shlex.split(options)]) == 0, options
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_prose_in_one_paragraph_becomes_documents_or_another_file_is_asked_for(model, tmp_path, capsys) -> None:
    command = typed(model, tmp_path / "run", *one_line(tmp_path), "--prose")
    assert "there is 1. Name another file that is kept: --heldout FILE" in refused(capsys, command)
    book(tmp_path / "other.txt", 3, 50)
    assert main([*command, "--heldout", str(tmp_path / "other.txt")]) == 0
    assert "B of a pair is taken from another document, and 1 of 1 documents have" in capsys.readouterr().err


def test_next_sentences_alone_need_two_documents_with_two_sentences(model, tmp_path, capsys) -> None:
    kept = book(tmp_path / "kept.txt", 3, 50)
    command = typed(model, tmp_path / "run", *one_line(tmp_path), "--prose", "--task", "nsp", "--heldout", kept)
    assert "Next sentences cannot be asked about" in refused(capsys, list(map(str, command)))
    assert not (tmp_path / "run" / "vocab.txt").exists()


def test_one_held_out_document_gives_no_pairs_to_score(model, tmp_path, capsys) -> None:
    kept = book(tmp_path / "kept.txt", 1, 500)
    command = typed(model, tmp_path / "run", book(tmp_path / "a.txt", 30), "--heldout", kept)
    assert main(command) == 0
    out, said = capsys.readouterr()
    assert "Next sentences are not scored: B of a pair is of another document, and of the held-out" in said
    assert "nsp accuracy" not in out
    book(tmp_path / "kept.txt", 12, 500)
    assert main([*command[:4], *command[4:], "--output", str(tmp_path / "two")]) == 0
    out, said = capsys.readouterr()
    assert "are not scored" not in said and "nsp accuracy" in out


def test_a_text_that_was_not_split_is_told(model, tmp_path, capsys) -> None:
    kept = book(tmp_path / "kept.txt", 3, 50)
    assert main(typed(model, tmp_path / "run", *one_line(tmp_path), "--heldout", kept)) == 0
    said = capsys.readouterr().err
    assert re.search(
        r"The longest sentence has 1,\d\d\d characters \(in the document of .*one.txt, line 1\).* --prose", said
    )
    assert "Training text: 1 documents, 1 sentences" in said and "0 pairs of neighbours" in said
    assert "have prose split into sentences (--prose)" in said


REFUSALS = {
    "a file as output": (["--output", "{here}/a.txt"], "output is .*a.txt, which is a file"),
    "a file above the output": (["--output", "{here}/a.txt/run"], "a.txt is no folder"),
    "both kinds of held-out text": (["--heldout", "{here}/k.txt", "--heldout-share", "0.1"], "give one of them"),
    "a share of everything": (["--heldout-share", "1"], "heldout_share is 1.0; it must lie between"),
    "a share that is no number": (["--heldout-share", "nan"], "heldout_share is nan"),
    "two vocabularies": (["--from", "minibert-demo", "--tokenizer", "x"], "brings its own vocabulary"),
    "capitals of another's vocabulary": (["--tokenizer", "minibert-demo", "--lowercase"], "decides about capitals"),
    "a head of nothing": (["--config", "bert-tiny", "--fresh-head"], "is for a checkpoint to go on from"),
    "another shape": (["--from", "minibert-demo", "--config", "bert-tiny"], "decides that; leave --config out"),
    "a size of another's vocabulary": (
        ["--tokenizer", "minibert-demo", "--vocab-size", "99"],
        "leave --vocab-size out",
    ),
    "headings of lines": (["--heading", "x", "--document", "line"], "so --heading has nothing to do"),
    "a column of lines": (["--column", "x"], "is for tables"),
    "no room": (["--max-length", "4"], "needs at least 5 tokens"),
    "no positions": (["--config", "bert-tiny", "--max-length", "9999"], "the model has 512 positions"),
    "no config": (["--config", "bert-none"], "bert-none"),
    "no rate": (["--learning-rate", "0"], "learning_rate is 0.0"),
    "a rate that is no number": (["--learning-rate", "nan"], "learning_rate is nan"),
    "a rate without end": (["--learning-rate", "inf"], "learning_rate is inf"),
    "a missing file": (["{here}/none.txt"], "none.txt does not exist"),
    "a missing held-out file": (["--heldout", "{here}/none.txt"], "none.txt does not exist"),
    "a table without texts": (["{here}/n.csv"], "Say which column of .*n.csv holds the texts .*it has a, b"),
    "a bad row": (["{here}/bad.jsonl"], "bad.jsonl: row 2 is not JSON"),
    "a cell without text": (["{here}/null.jsonl"], "row 1 has None in 'text'"),
    "an encoding of a table": (["{here}/ok.jsonl", "--encoding", "latin-1"], "is read as UTF-8 always"),
    "json": (["{here}/x.json"], "ends in '.json', one value"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_refused_before_anything_is_made(kind: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # "no config" is looked for there
    more, why = REFUSALS[kind]
    book(tmp_path / "a.txt", 300)
    book(tmp_path / "k.txt", 3, 500)
    for name, content in {
        "n.csv": "a,b\n1,2\n", "bad.jsonl": '{"text": "a"}\n{"te', "null.jsonl": '{"text": null}\n', "x.json": "[]",
        "ok.jsonl": '{"text": "a"}\n',
    }.items():  # fmt: skip
        (tmp_path / name).write_text(content)

    def never(*_: object, **__: object) -> None:
        pytest.fail("the vocabulary was begun")

    monkeypatch.setattr(room, "train_vocabulary", never)
    monkeypatch.setattr(room, "train", never)
    command = ["pretrain", str(tmp_path / "a.txt"), "--output", str(tmp_path / "run")]
    if "--heldout" not in more and "--heldout-share" not in more:
        command += ["--heldout", str(tmp_path / "k.txt")]
    more = [one.format(here=tmp_path) for one in more]
    if not more[0].startswith("--"):
        command.insert(1, more.pop(0))
    assert re.search(why, refused(capsys, [*command, *more]))
    assert not (tmp_path / "run" / "vocab.txt").exists()


@pytest.mark.parametrize(("name", "options"), [("tokenizers", []), ("tensorboard", ["--tensorboard"])])
def test_a_missing_extra_is_told_first(name: str, options: list[str], model, tmp_path, monkeypatch, capsys) -> None:
    def missing() -> None:
        raise MissingExtraError(f"{name} is not installed.")

    monkeypatch.setattr(room, f"need_{name}", missing)
    monkeypatch.setattr(room, "text_statistics", lambda *_: pytest.fail("the text was read"))
    command = typed(model, tmp_path / "run", book(tmp_path / "a.txt", 3), *options)
    assert f"{name} is not installed." in refused(capsys, command)


def test_a_folder_that_may_not_be_written_into(model, tmp_path, monkeypatch, capsys) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and access(path, mode))
    said = refused(capsys, typed(model, tmp_path / "new" / "run", book(tmp_path / "a.txt", 300)))
    assert f"output is {tmp_path}/new/run, and {tmp_path} may not be written into (permissions)" in said


def test_rows_are_documents_and_no_braces_are_learned(model, tmp_path) -> None:
    texts = ["\n".join(sentence(3 * n + m) for m in range(3)) for n in range(40)]
    lines = [json.dumps({"id": n, "review": text, "label": "}{"}) for n, text in enumerate(texts)]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    documents = list(read_documents(tmp_path / "x.jsonl"))
    assert [document.sentences for document in documents] == [text.split("\n") for text in texts]
    assert [document.line for document in documents] == list(range(1, 41))
    for unit, count in (("line", 120), ("file", 1), ("paragraph", 40)):
        assert len(list(read_documents(tmp_path / "x.jsonl", document=unit))) == count
    prose = list(read_documents(tmp_path / "x.jsonl", split_sentences=True))
    assert [len(document.sentences) for document in prose] == [3] * 40
    command = typed(model, tmp_path / "run", tmp_path / "x.jsonl", "--heldout-share", "0.2")
    assert main(command) == 0
    vocabulary = (tmp_path / "run/vocab.txt").read_text()
    assert "{" not in vocabulary and "label" not in vocabulary and "cat" in vocabulary


@pytest.fixture(scope="module")
def starts(model, tmp_path_factory) -> dict[str, Path]:
    """Checkpoints with both heads, one, none; with and without a pooler."""
    folder = tmp_path_factory.mktemp("starts")
    kinds = {
        "both": BertForPreTraining,
        "mlm": BertForMaskedLM,
        "nsp": BertForNextSentencePrediction,
        "none": BertModel,
    }
    from minibert import BertTokenizer

    for name, kind in kinds.items():
        torch.manual_seed(3)
        kind(load_architecture(model).config).save_pretrained(folder / name)
        BertTokenizer.from_pretrained(model).save_pretrained(folder / name)
    return {name: folder / name for name in kinds}


@pytest.mark.parametrize("task", [None, "mlm", "nsp"])
@pytest.mark.parametrize("name", ["both", "mlm", "nsp", "none"])
def test_from_asks_for_the_heads_that_the_task_trains(name: str, task, starts, model, tmp_path, capsys, caplog) -> None:
    text = book(tmp_path / "a.txt", 60)
    command = typed(model, tmp_path / "run", text, "--from", starts[name], "--heldout-share", "0.3", start=False)
    command = [str(one) for one in command] + (["--task", task] if task else [])
    lacking = {"both": set(), "mlm": {"nsp"}, "nsp": {"mlm"}, "none": {"mlm", "nsp"}}[name]
    needed = {task} if task else {"mlm", "nsp"}
    if lacking & needed:
        said = refused(capsys, command)
        what = " and ".join({"mlm": "masked words", "nsp": "next sentences"}[one] for one in sorted(lacking & needed))
        assert f"has no head for {what}. To begin one anew, add --fresh-head" in said
        assert ("or train the task alone whose head it has" in said) == bool(needed - lacking)
        assert main([*command, "--fresh-head"]) == 0  # in the same folder
    else:
        assert main(command) == 0
    kept = load_file(tmp_path / "run" / "model.safetensors")
    has = {"mlm": "cls.predictions.transform.dense.weight" in kept, "nsp": "cls.seq_relationship.weight" in kept}
    assert has == {"mlm": "mlm" in needed or "mlm" not in lacking, "nsp": "nsp" in needed or "nsp" not in lacking}
    before = load_file(starts[name] / "model.safetensors")
    word = next(key for key in before if key.endswith("word_embeddings.weight"))
    assert math.isclose(
        float((kept["bert.embeddings.word_embeddings.weight"] - before[word]).abs().max()), 0, abs_tol=1e-2
    )


def test_a_head_that_is_there_begins_anew_when_asked(starts, model, tmp_path) -> None:
    name = "cls.predictions.transform.dense.weight"
    before = load_file(starts["both"] / "model.safetensors")[name]
    text = TrainingText((book(tmp_path / "a.txt", 60),), heldout_share=0.3, max_length=32, step_tokens=256)
    for fresh in (False, True):
        start = Start(checkpoint=starts["both"], fresh_head=fresh)
        pretrain(text, tmp_path / str(fresh), Settings(steps=1, learning_rate=1e-6), start=start)
        after = load_file(tmp_path / str(fresh) / "model.safetensors")[name]
        assert bool((after - before).abs().max() > 1e-3) == fresh


@pytest.mark.parametrize("files", [None, 5, (), [None], [5], [[5]], {"text": "a"}])
def test_what_is_no_list_of_files(files) -> None:
    with pytest.raises(InputError, match=r"Give a list of dicts|is empty"):
        TrainingText(files)


WRONG = [5, "x.txt", ["x.txt"], [{"text": "a"}], {}, object()]
PLACES = ("text", "settings", "start", "output")


@pytest.mark.parametrize(
    ("place", "value"),
    [(place, value) for place in PLACES for value in WRONG if (place, value) != ("output", "x.txt")],
)
def test_what_pretrain_is_handed_from_python(place: str, value, tmp_path) -> None:
    text = TrainingText((book(tmp_path / "a.txt", 3),))
    given = {"text": text, "output": tmp_path / "run", "settings": Settings(), "start": Start(), place: value}
    with pytest.raises(MinibertError, match="expected|path"):
        pretrain(**given)


@pytest.mark.parametrize("name", ["checkpoint", "tokenizer", "config"])
@pytest.mark.parametrize("value", [5, ["x"], object(), BertModel(BertConfig.from_pretrained("bert-tiny"))])
def test_what_a_run_cannot_start_from(name: str, value, tmp_path) -> None:
    text = TrainingText((book(tmp_path / "a.txt", 3),))
    with pytest.raises(InputError, match=rf"start\.{name} is a .*expected a folder"):
        pretrain(text, tmp_path / "run", Settings(), start=Start(**{name: value}))


def test_one_path_is_one_file(tmp_path) -> None:
    assert TrainingText(str(tmp_path / "a.txt")).files == (tmp_path / "a.txt",)
    assert TrainingText(tmp_path / "a.txt", str(tmp_path / "b.txt")).heldout_files == (tmp_path / "b.txt",)


def test_a_rate_that_learns_nothing_is_told(caplog) -> None:
    Settings(learning_rate=0.01).warn()
    assert caplog.text == ""
    Settings(learning_rate=50.0).warn()
    assert "learning_rate is 50; Adam moves every weight by about that much" in caplog.text


def test_a_rate_of_50_is_warned_of_before_the_work(model, tmp_path, capsys) -> None:
    command = typed(model, tmp_path / "run", book(tmp_path / "a.txt", 60), "--heldout-share", "0.3")
    main([*command, "--learning-rate", "50"])
    said = capsys.readouterr().err
    assert said.index("learning_rate is 50") < said.index("Training text: ")


@pytest.mark.parametrize(
    "name", ["learning_rate", "epochs", "warmup", "weight_decay", "max_grad_norm", "save_every", "seed"]
)
@pytest.mark.parametrize("value", [None, True, "1", math.nan, math.inf, -math.inf, [1]])
def test_settings_of_a_wrong_kind(name: str, value) -> None:
    with pytest.raises(InputError, match=rf"{name} is .*; it must"):
        Settings(**{name: value})
