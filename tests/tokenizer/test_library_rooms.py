"""The rooms with a tokenizer that is not WordPiece: vectors, words, gaps, the command line, fine-tuning."""

import json
import re

import pytest
import torch
import torch.nn.functional as F

import minibert
from minibert.cli import main
from minibert.corpus.model import tokenizer_digest
from minibert.embedding import Embedder
from minibert.finetuning.answers import Answers
from minibert.finetuning.placing import Placer
from minibert.tokenizer import LibraryTokenizer
from minibert.tokenizer.windows import without_spaces
from tests.support.command import mistake
from tests.support.library_tokenizers import TEXTS, write_checkpoint

TEXT = "나는 배를 타고 여행을 간다."
ROOMS = [("unigram", "XLM-R"), ("byte-level bpe", "RoBERTa"), ("unigram", "none")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[tuple[str, str], str]:
    root = tmp_path_factory.mktemp("rooms")
    return {(kind, frame): write_checkpoint(root / kind / frame, kind, frame) for kind, frame in ROOMS}


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_vectors_are_the_model_s(folders, room):
    embedder = Embedder.from_pretrained(folders[room])
    assert isinstance(embedder.tokenizer, LibraryTokenizer)
    begin, end = embedder.tokenizer.frame.ends
    assert (begin, end) == ((0, 0) if room[1] == "none" else (1, 1))
    texts = [text.strip() for text in TEXTS]
    mean, inner = embedder.encode(texts), embedder.encode(texts, include_special_tokens=False)
    for number, text in enumerate(texts):
        inputs = embedder.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            states = embedder.model(**inputs).last_hidden_state[0]  # (T, H)
        torch.testing.assert_close(mean[number], states.mean(0), rtol=0, atol=1e-5)
        torch.testing.assert_close(inner[number], states[begin : len(states) - end].mean(0), rtol=0, atol=1e-5)
        words = embedder.words(text)
        for word in words:
            assert word.text == text[word.start : word.end] == word.text.strip()
            of_word = states[word.positions.start : word.positions.stop].mean(0)
            torch.testing.assert_close(word.vector, of_word, rtol=0, atol=1e-5)
            assert word.position_ids == tuple(word.positions)
    assert [word.text for word in embedder.words(TEXT, find="배")] == ["배"]
    windows = embedder.words("배를 타고 " * 40, long="windows")
    assert len(windows) >= 80
    assert max(position for word in windows for position in word.position_ids) < 64


def test_a_checkpoint_without_a_pooler_is_embedded(tmp_path):
    folder = write_checkpoint(tmp_path, "unigram", "XLM-R")
    embedder = Embedder.from_pretrained(folder)
    assert embedder.model.pooler is None
    vectors = embedder.encode(TEXTS[:3], normalize=True)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(vectors, F.normalize(embedder.encode(TEXTS[:3]), dim=-1))


def test_the_corpus_knows_the_pipeline(folders, tmp_path):
    """Another score of a piece is another tokenizer, though its vocabulary is the same."""
    embedder = Embedder.from_pretrained(folders["unigram", "XLM-R"])
    content = json.loads(embedder.tokenizer.pipeline)
    content["model"]["vocab"][-1][1] -= 1
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    other = minibert.AutoTokenizer.from_pretrained(tmp_path / "tokenizer.json", model_max_length=64)
    assert other.get_vocab() == embedder.tokenizer.get_vocab()
    assert tokenizer_digest(Embedder(embedder.model, other)) != tokenizer_digest(embedder)


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_places_of_words_and_answers(folders, room):
    """What is labelled or answered is the characters of the text, without the space that a piece covers."""
    tokenizer = minibert.AutoTokenizer.from_pretrained(folders[room])
    begin = tokenizer.frame.start()
    placed, spans = Placer(tokenizer, 64, 8, by_character=False).text(TEXT)
    assert all(TEXT[start:end] == TEXT[start:end].strip() for start, end in spans)
    offsets = tokenizer(TEXT, return_offsets_mapping=True)["offset_mapping"]
    for (start, end), place in zip(spans, placed.places, strict=True):
        assert place is not None
        row, position = place
        assert row == 0
        assert position >= begin
        assert offsets[position][0] <= start  # the first piece may be the space alone
        assert offsets[position][1] <= end
    question = tokenizer.tokens_with_offsets("누가?").ids
    (window,) = Answers().windows_of(tokenizer, question, tokenizer.tokens_with_offsets(TEXT), 64)
    pair = tokenizer("누가?", TEXT)
    assert window.row.ids == pair["input_ids"]
    assert window.first == pair.sequence_ids().index(1)
    assert without_spaces("a  b ", (1, 5)) == (3, 4)
    assert without_spaces("a  b", (1, 3)) == (1, 3)


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_verbs(folders, room, capsys, tmp_path):
    model = ["--model", folders[room]]
    page = str(tmp_path / "page.html")
    for arguments in (
        ["tokenize", *model, TEXT],
        ["fill-mask", *model, "배를 <mask> 간다", "-k", "2"],
        ["embed", *model, TEXT, "hello"],
        ["similar", *model, "배", "배를 타고", "나는 배를 타고", "--match-positions"],
        ["trace", *model, TEXT],
        ["logit-lens", *model, "배를 <mask>"],
        ["explore", *model, TEXT, "배를 먹었다", "-o", page],
        ["convert", folders[room], "-o", str(tmp_path / "converted")],
    ):
        assert main(arguments) == 0, arguments
    capsys.readouterr()
    assert "The text has no <mask>" in mistake(capsys, ["fill-mask", *model, "배"], after_others=True)
    files = {path.name for path in (tmp_path / "converted").iterdir()}
    assert {"model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= files


def test_verbs_that_need_wordpiece_say_so(folders, capsys, tmp_path):
    folder = folders["unigram", "XLM-R"]
    (tmp_path / "text.txt").write_text("\n".join(f"배를 {n} 타고" for n in range(900)), encoding="utf-8")
    for arguments, sentence in (
        (["explore", "--model", folder, TEXT, "--live", "-o", str(tmp_path / "p.html")], "A page that computes has"),
        (["verify-tokenizer", folder, "--against", "transformers"], "there are no rules of ours to compare"),
        (
            [
                "pretrain",
                str(tmp_path / "text.txt"),
                "--output",
                str(tmp_path / "run"),
                "--from",
                folder,
                "--task",
                "mlm",
                "--document",
                "line",
                "--max-length",
                "32",
            ],
            "Pre-training reads",
        ),
    ):
        assert sentence in mistake(capsys, arguments, after_others=True)
    assert not (tmp_path / "p.html").exists()


def test_finetuning(folders, tmp_path, capsys):
    rows = [("배를 타고 간다", "good"), ("배가 고프다", "bad"), ("hello world", "good"), ("今天天气很好", "bad")] * 4
    lines = ["text\tlabel", *(f"{text}\t{label}" for text, label in rows)]
    (tmp_path / "rows.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "dev.tsv").write_text("\n".join(lines[:5]) + "\n", encoding="utf-8")
    data, dev, run = (str(tmp_path / name) for name in ("rows.tsv", "dev.tsv", "run"))
    arguments = ["finetune", "classify", data, "--dev", dev, "--output", run, "--epochs", "2", "--batch-size", "4"]
    assert main([*arguments, "--model", folders["unigram", "XLM-R"]]) == 0
    assert main(["predict", run, "배를 타고 간다"]) == 0
    assert capsys.readouterr().out
    assert isinstance(minibert.AutoTokenizer.from_pretrained(run), LibraryTokenizer)


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_a_text_without_any_token_has_the_vector_0(folders, backend, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path))
    embedder = Embedder.from_pretrained(folders[("unigram", "none")], backend=backend)
    vectors = embedder.encode([TEXT, "", TEXT[:5], ""], pooling=["mean", "cls"])
    assert vectors[[1, 3]].abs().max() == 0.0 < vectors[[0, 2]].abs().min(dim=1).values.min()
    torch.testing.assert_close(vectors[2], embedder.encode(TEXT[:5], pooling=["mean", "cls"]), rtol=0, atol=1e-5)
    assert embedder.encode("").shape == (embedder.model.config.hidden_size,)
    assert [len(words) for words in embedder.words(["", TEXT])] == [0, 5]


@pytest.mark.parametrize("verb", ["trace", "attention", "logit-lens", "noise", "explore", "fill-mask"])
def test_a_text_without_any_token_on_the_command_line(folders, verb, capsys):
    where = ["-o", "page.html"] if verb == "explore" else []
    sentence = mistake(capsys, [verb, "", *where, "--model", folders[("unigram", "none")]], after_others=True)
    assert re.search(r"has no (token|<mask>)|is empty", sentence)
