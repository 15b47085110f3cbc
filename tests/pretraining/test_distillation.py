"""A teacher's sentence vectors are learned beside the tasks of pre-training."""

import pytest
import torch

from minibert import BertConfig, BertForPreTraining, Embedder
from minibert.errors import InputError
from minibert.pretraining.distillation import (
    TaughtExamples,
    TaughtPretraining,
    TeacherVectors,
    principal_components,
    tokenize_sentences,
)
from minibert.pretraining.documents import Document
from minibert.pretraining.examples import PretrainingExamples
from minibert.pretraining.run import Start, TrainingText, pretrain
from minibert.tokenizer import BertTokenizer
from minibert.training.settings import Settings

SENTENCES = [
    f"{who} {does} {what}." for who in ("she", "he", "it") for does in ("saw", "ate") for what in ("bread", "fish")
]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "she", "he", "it", "saw", "ate", "bread", "fish"]


@pytest.fixture
def tokenizer(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return BertTokenizer(str(tmp_path / "vocab.txt"))


def config(**more):
    return BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **more,
    )  # fmt: skip


def teacher(size=8, **more):
    return TeacherVectors(SENTENCES, torch.randn(len(SENTENCES), size, generator=torch.manual_seed(0)), **more)


def examples(tokenizer, taught):
    documents = [Document(SENTENCES[start : start + 4], "here", start) for start in range(0, 12, 4)]
    passages = PretrainingExamples.of(documents, tokenizer, max_length=16, step_tokens=64)
    return TaughtExamples(passages, taught, tokenizer, tokenize_sentences(taught, tokenizer))


def test_a_step_has_passages_and_sentences_and_every_sentence_comes(tokenizer):
    both = examples(tokenizer, teacher(step_tokens=24))
    first = len(both.passages.lengths)
    steps = both.steps(0)
    assert all(min(step) < first <= max(step) for step in steps)
    seen = {number - first for step in steps for number in step if number >= first}
    assert seen == set(range(12)) or len(steps) < 4
    assert both.steps(1) != steps


def test_the_loss_is_what_the_formula_says(tokenizer):
    both = examples(tokenizer, teacher(step_tokens=64, weight=3.0))
    torch.manual_seed(1)
    model = BertForPreTraining(config()).eval()
    objective = TaughtPretraining(model, weight=3.0)
    batch = both.collate(both.steps(0)[0], 0)
    losses = objective(batch)
    assert objective.counts(batch)["vectors"] == len(batch["vectors"]) > 0
    expected = 0.0
    for ids, mask, vector in zip(batch["sentence_ids"], batch["sentence_mask"], batch["vectors"], strict=True):
        mean = model.bert(ids[mask.bool()][None]).last_hidden_state[0].mean(0)
        expected += 3 * (1 - float((mean @ vector / mean.norm() / vector.norm()).detach()))
    assert losses["vectors"].item() == pytest.approx(expected, rel=1e-5)


def test_pretraining_with_a_teacher_turns_the_vectors_and_resumes_to_the_bit(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "start")
    torch.manual_seed(2)
    model = BertForPreTraining(config())
    model.save_pretrained(tmp_path / "start")
    (tmp_path / "text.txt").write_text("\n".join(SENTENCES[:6]) + "\n\n" + "\n".join(SENTENCES[6:]) + "\n")
    text = TrainingText((tmp_path / "text.txt",), (tmp_path / "text.txt.held",), max_length=16, step_tokens=64)
    (tmp_path / "text.txt.held").write_text("fish ate bread.\nbread ate fish.\n\nfish saw.\nbread saw.\n")
    taught, start = teacher(step_tokens=256, weight=20.0), Start(checkpoint=tmp_path / "start")

    def cosine(folder):
        vectors = Embedder.from_pretrained(folder).encode(SENTENCES, pooling="mean")
        return float(torch.nn.functional.cosine_similarity(vectors, taught.vectors).mean())

    def run(name, taught=taught, **more):
        settings = Settings(steps=60, learning_rate=0.01, evaluate_every=60, save_every=10, **more)
        return pretrain(text, tmp_path / name, settings, start=start, teacher=taught)

    run("whole")
    run("parts", stop_after=30)
    run("parts")
    assert cosine(tmp_path / "start") < 0.4 and cosine(tmp_path / "whole") > 0.6
    whole, parts = (BertForPreTraining.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    with pytest.raises(InputError, match="teacher_tokens"):
        run("whole", teacher(step_tokens=8, weight=20.0))


def test_components_keep_the_differences():
    vectors = (
        torch.randn(40, 3, generator=torch.manual_seed(3)) @ torch.randn(3, 10, generator=torch.manual_seed(4)) + 5
    )
    kept = principal_components(vectors, 3)
    distances = (torch.cdist(one.double(), one.double()) for one in (kept, vectors))
    assert torch.allclose(*distances, atol=1e-3)
    with pytest.raises(InputError, match="11 components"):
        principal_components(vectors, 11)


@pytest.mark.parametrize(
    ("vectors", "found"),
    [
        (torch.zeros(11, 8), r"\(12, H\)"),
        (torch.zeros(12, 8).long(), "int64"),
        (torch.full((12, 8), torch.nan), "finite"),
    ],
)
def test_vectors_that_do_not_fit_are_a_sentence(vectors, found):
    with pytest.raises(InputError, match=found):
        TeacherVectors(SENTENCES, vectors)


def test_vectors_of_another_size_are_a_sentence(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "start")
    BertForPreTraining(config()).save_pretrained(tmp_path / "start")
    (tmp_path / "text.txt").write_text("\n\n".join("\n".join(SENTENCES) for _ in range(2)) + "\n")
    (tmp_path / "held.txt").write_text("fish ate.\nbread ate.\n\nfish saw.\nbread saw.\n")
    text = TrainingText((tmp_path / "text.txt",), (tmp_path / "held.txt",), max_length=16)
    with pytest.raises(InputError, match="12 numbers and the model's 8"):
        pretrain(
            text, tmp_path / "run", Settings(steps=1), start=Start(checkpoint=tmp_path / "start"), teacher=teacher(12)
        )
