"""Examples as batches, stored text, the two losses and the scores of held-out text."""

import json
import math
from itertools import chain, product

import pytest
import torch

from minibert import BertConfig, BertForPreTraining, BertTokenizer, CheckpointError, InputError
from minibert.losses import IGNORE_INDEX
from minibert.pretraining import pairs, surface_features
from minibert.pretraining.documents import Document
from minibert.pretraining.evaluation import heldout_scores
from minibert.pretraining.examples import PretrainingExamples
from minibert.pretraining.objective import Pretraining
from minibert.pretraining.pairs import RANDOM, SPREAD, TRUE
from minibert.pretraining.surface_features import SurfaceFeatures, piece_kinds
from minibert.pretraining.tokenized import FORMAT, TokenizedText, origin_of, script_of
from tests.support.texts import revealing_documents, revealing_text, tokenizer

TOKENIZER = tokenizer()
MASK, PAD, CLS, SEP = 4, 0, 2, 3


@pytest.fixture(scope="module")
def examples() -> PretrainingExamples:
    return PretrainingExamples(revealing_text(60), TOKENIZER, max_length=48, step_tokens=600, seed=1)


def model(**settings) -> BertForPreTraining:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENIZER), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **settings,
    )  # fmt: skip
    return BertForPreTraining(config)


def unmasked(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.where(batch["labels"] >= 0, batch["labels"], batch["input_ids"])


# --- text to ids ---


def test_tokenized_text_is_what_the_tokenizer_says() -> None:
    documents = revealing_documents(20)
    text = TokenizedText.of(documents, TOKENIZER)
    expected = [TOKENIZER(document.sentences, add_special_tokens=False)["input_ids"] for document in documents]
    assert text.pieces.dtype == torch.int32 and text.pieces.tolist() == [*chain(*chain(*expected))]
    sentences = [*chain(*expected)]
    assert text.sentences.diff().tolist() == [len(ids) for ids in sentences]
    assert text.documents.diff().tolist() == [len(document.sentences) for document in documents]
    assert [text.names[label] for label in text.labels.tolist()] == ["hangul", "latin"] * 10
    words = sum(len(sentence.split()) for document in documents for sentence in document.sentences)
    assert int(text.begins_stretch.sum()) == words
    assert text.begins_stretch[text.sentences[:-1]].all()
    assert torch.equal(text.piece_counts(len(TOKENIZER)), torch.bincount(text.pieces.long(), minlength=len(TOKENIZER)))


def test_real_text_is_what_the_tokenizer_says(shared) -> None:
    real = BertTokenizer.from_pretrained(shared / "vocab" / "kcbert-base")
    lines = (shared / "data" / "ko-reviews" / "ko_movie_reviews.txt").read_text(encoding="utf-8").split("\n")[:3000]
    lines += (shared / "data" / "gutenberg" / "carroll-alice.txt").read_text(encoding="utf-8").split("\n")
    lines += ["a\x0bb\x85c\u2028d e\u200bf", "[MASK] ##s [SEP]"]
    text = TokenizedText.of([Document(lines, "x", 1)], real)
    expected = real(lines, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    assert text.pieces.tolist() == [*chain(*expected)]
    assert text.sentences.diff().tolist() == [len(ids) for ids in expected if ids]


def test_special_tokens_in_a_text_are_text() -> None:
    text = TokenizedText.of([Document(["bake [SEP] till [MASK]", "bust"], "x", 1)], TOKENIZER)
    assert not {2, 3, 4} & set(text.pieces.tolist())
    with pytest.raises(InputError, match="There is no text"):
        TokenizedText.of([Document(["\u200b"], "x", 1)], TOKENIZER)
    with pytest.raises(InputError, match="There is no text"):
        TokenizedText.of([], TOKENIZER)


def test_scripts() -> None:
    texts = {"Hello 영": "latin", "영화 ok": "hangul", "漢字 a": "cjk", "привет": "cyrillic", "123!": "none"}
    assert {text: script_of(Document([text], "x", 1)) for text in texts} == texts


# --- stored ---


def test_saved_and_loaded(tmp_path, examples: PretrainingExamples) -> None:
    (tmp_path / "text").write_text("bake till", encoding="utf-8")
    origin = origin_of([tmp_path / "text"], TOKENIZER, split_sentences=True, held_out=0.1)
    examples.save(tmp_path / "run", origin)
    again = PretrainingExamples.load(tmp_path / "run", TOKENIZER, origin, max_length=48, step_tokens=600, seed=1)
    assert again.steps(4) == examples.steps(4) and again.lengths == examples.lengths
    for name, tensor in examples.collate([3, 1, 4], 2).items():
        assert torch.equal(again.collate([3, 1, 4], 2)[name], tensor), name
    assert again.text.names == examples.text.names == ("hangul", "latin")
    assert list((tmp_path / "run").iterdir()) == [tmp_path / "run" / "text.safetensors"]


def test_what_is_stale_or_broken_is_refused(tmp_path, examples: PretrainingExamples) -> None:
    source, run = tmp_path / "text", tmp_path / "run"
    source.write_text("bake till", encoding="utf-8")

    def load(tokenizer: BertTokenizer = TOKENIZER, **reading) -> None:
        PretrainingExamples.load(run, tokenizer, origin_of([source], tokenizer, **{"held_out": 0.1, **reading}))

    with pytest.raises(CheckpointError, match=r"text.safetensors cannot be read \(No such file"):
        load()
    examples.save(run, origin_of([source], TOKENIZER, held_out=0.1))
    load()
    with pytest.raises(InputError, match=r"text.safetensors was made with another held out \(0.1, now 0.2\)"):
        load(held_out=0.2)
    with pytest.raises(InputError, match=r"was made with another split sentences \(None, now True\)"):
        load(split_sentences=True)
    pieces = [*TOKENIZER.get_vocab(), "new"]
    with pytest.raises(InputError, match="was made with another vocabulary"):
        load(BertTokenizer({piece: number for number, piece in enumerate(pieces)}, do_lower_case=False))
    with pytest.raises(InputError, match="was made with another do lower case"):
        load(BertTokenizer(TOKENIZER.get_vocab()))
    source.write_text("bake  till", encoding="utf-8")
    with pytest.raises(InputError, match=r"was made with another text .* Remove it, or name another folder"):
        load()
    source.write_text("bake till", encoding="utf-8")
    load()
    path = run / "text.safetensors"
    content = path.read_bytes()
    other_format = content.replace(f'"format":"{FORMAT}"'.encode(), b'"format":"9"')
    for broken in (content[:-1], content[:100], b"", other_format):
        assert broken != content
        path.write_bytes(broken)
        with pytest.raises(CheckpointError, match="is damaged: its content|is no whole tokenized text"):
            load()


# --- batches ---


def test_a_batch_is_cls_a_sep_b_sep(examples: PretrainingExamples) -> None:
    pairs, passages, pieces = examples.pairs(1), examples.passages, examples.text.pieces
    N, partners = len(passages), pairs.partners()
    numbers = [*range(0, len(examples), 3)]
    batch = examples.collate(numbers, 1)
    ids = unmasked(batch)
    kinds = set()
    for row, number in enumerate(numbers):
        passage, is_exchanged = number % N, number >= N
        label = int(batch["next_sentence_label"][row])
        first, cut, end = (int(place[passage]) for place in (passages.first, pairs.cut, passages.end))
        a = pieces[passages.starts[first] : passages.starts[cut]].tolist()
        expected, types = [CLS, *a, SEP], [0] * (len(a) + 2)
        if end - first > 1:
            other = int(partners[passage]) if is_exchanged else passage
            b = pieces[passages.starts[pairs.cut[other]] : passages.starts[passages.end[other]]].tolist()
            expected, types = [*expected, *b, SEP], types + [1] * (len(b) + 1)
            expected_label = RANDOM if is_exchanged else TRUE
            assert label == (expected_label if partners[passage] != passage else IGNORE_INDEX)
        else:
            assert label == IGNORE_INDEX
        length = len(expected)
        assert length <= examples.lengths[number] <= 48
        assert ids[row, :length].tolist() == expected and (ids[row, length:] == PAD).all()
        assert batch["token_type_ids"][row].tolist() == types + [0] * (ids.shape[1] - length)
        assert batch["attention_mask"][row].tolist() == [1] * length + [0] * (ids.shape[1] - length)
        kinds.add(label)
    assert kinds == {TRUE, RANDOM, IGNORE_INDEX}
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_no_mask_where_nothing_is_padded(examples: PretrainingExamples) -> None:
    lengths = [examples.collate([number], 0)["input_ids"].shape[1] for number in range(len(examples))]
    assert all(0 <= most - length <= 2 * SPREAD for most, length in zip(examples.lengths, lengths, strict=True))
    alike = [number for number in range(len(lengths)) if lengths[number] == lengths[0]]
    assert "attention_mask" not in examples.collate(alike, 0)
    other = next(number for number in range(len(lengths)) if lengths[number] != lengths[0])
    assert "attention_mask" in examples.collate([0, other], 0)


def test_an_example_does_not_depend_on_its_batch(examples: PretrainingExamples) -> None:
    together = examples.collate([0, 7, 20, 31], 3)
    examples.collate([1], 4)  # another epoch in between
    for row, number in enumerate([0, 7, 20, 31]):
        alone = examples.collate([number], 3)
        length = alone["input_ids"].shape[1]
        for name in ("input_ids", "labels", "token_type_ids"):
            assert torch.equal(alone[name][0], together[name][row, :length])
        assert alone["next_sentence_label"] == together["next_sentence_label"][row]
    assert not torch.equal(examples.collate([7], 3)["labels"], examples.collate([7], 4)["labels"])


def test_the_steps_of_an_epoch_hold_every_example_once(examples: PretrainingExamples) -> None:
    for epoch in (0, 1):
        steps = examples.steps(epoch)
        assert sorted(chain(*steps)) == list(range(len(examples)))
        assert all(max(examples.lengths[n] for n in step) * len(step) <= 600 for step in steps)
    assert examples.steps(0) != examples.steps(1) and examples.steps(0) == examples.steps(0)
    padded = sum(max(examples.lengths[n] for n in step) * len(step) for step in examples.steps(0))
    assert sum(examples.lengths) / padded > 0.9


def test_next_sentences_alone_are_couples_with_nothing_hidden(examples: PretrainingExamples) -> None:
    alone = PretrainingExamples(examples.text, TOKENIZER, max_length=48, step_tokens=600, seed=1, task="nsp")
    couples = alone.pairs(0).couples.flatten()
    assert sorted(chain(*alone.steps(0))) == sorted([*couples.tolist(), *(couples + len(alone.passages)).tolist()])
    batch, both = alone.collate(couples[:9].tolist(), 0), examples.collate(couples[:9].tolist(), 0)
    assert (batch["labels"] == -100).all() and torch.equal(batch["input_ids"], unmasked(both))
    assert torch.equal(batch["next_sentence_label"], both["next_sentence_label"])
    assert Pretraining(model()).counts(batch) == {"mlm": 0, "nsp": 9}
    with pytest.raises(InputError, match="No two passages can exchange segments of 30 pieces"):
        PretrainingExamples(examples.text, TOKENIZER, max_length=48, task="nsp", shortest=30)


def test_words_alone_ask_about_no_pair(examples: PretrainingExamples) -> None:
    alone = PretrainingExamples(examples.text, TOKENIZER, max_length=48, step_tokens=600, seed=1, task="mlm")
    assert alone.steps(0) == examples.steps(0)
    batch, both = alone.collate(range(30), 0), examples.collate(range(30), 0)
    assert torch.equal(batch["input_ids"], both["input_ids"]) and torch.equal(batch["labels"], both["labels"])
    assert (batch["next_sentence_label"] == IGNORE_INDEX).all() and (both["next_sentence_label"] != IGNORE_INDEX).any()
    with pytest.raises(InputError, match="task is 'sop'; there are 'mlm' and 'nsp'"):
        PretrainingExamples(examples.text, TOKENIZER, task="sop")


def test_a_tokenizer_without_masks_is_refused() -> None:
    pieces = [piece for piece in TOKENIZER.get_vocab() if piece != "[MASK]"]
    lacking = BertTokenizer({piece: n for n, piece in enumerate(pieces)}, do_lower_case=False, mask_token=None)
    text = TokenizedText.of(revealing_documents(2), lacking)
    with pytest.raises(InputError, match="The tokenizer has no mask_token"):
        PretrainingExamples(text, lacking)


# --- losses ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_are_those_of_the_models_own_loss(examples: PretrainingExamples, dtype: torch.dtype) -> None:
    numbers = [n for n in range(60) if examples.collate([n], 0)["next_sentence_label"] != IGNORE_INDEX]
    bert, batch = model().to(dtype), examples.collate(numbers, 0)
    objective = Pretraining(bert)
    counts, sums = objective.counts(batch), objective(batch)
    assert counts == {"mlm": int((batch["labels"] >= 0).sum()), "nsp": len(numbers)}
    loss = sums["mlm"] / counts["mlm"] + sums["nsp"] / counts["nsp"]
    assert loss.dtype == dtype and loss.item() == pytest.approx(bert(**batch).loss.item(), rel=1e-6)


def test_gathered_and_whole_projection_are_the_same(examples: PretrainingExamples) -> None:
    bert = model().double()
    batch = examples.collate(range(40), 0)
    gradients = []
    for gather in (True, False):
        sums = Pretraining(bert, gather=gather)(batch)
        bert.zero_grad()
        (sums["mlm"] + sums["nsp"]).backward()
        gradients.append({name: parameter.grad.clone() for name, parameter in bert.named_parameters()})
        gradients[-1] |= sums
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=1e-10, atol=1e-12, msg=name)


def test_gathering_projects_the_masked_positions_alone(examples: PretrainingExamples) -> None:
    bert, batch = model(), examples.collate(range(40), 0)
    seen = []
    bert.cls.predictions.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    for gather in (True, False):
        Pretraining(bert, gather=gather)(batch)
    B, T = batch["input_ids"].shape
    assert seen == [(int((batch["labels"] >= 0).sum()), len(TOKENIZER)), (B * T, len(TOKENIZER))]


def test_batches_without_pairs_or_masks_add_nothing(examples: PretrainingExamples) -> None:
    sizes = examples.passages.end - examples.passages.first
    singles = (sizes == 1).nonzero()[:3, 0].tolist()
    batch, bert = examples.collate(singles, 0), model()
    batch["labels"].fill_(-100)
    objective = Pretraining(bert)
    assert objective.counts(batch) == {"mlm": 0, "nsp": 0}
    sums = objective(batch)
    assert sums["mlm"].item() == 0 and sums["nsp"].item() == 0
    (sums["mlm"] + sums["nsp"]).backward()
    assert all(p.grad is not None and not p.grad.any() for p in bert.parameters())  # DDP waits for every gradient


def test_losses_of_an_autocast_model_are_summed_in_float32(examples: PretrainingExamples) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        sums = Pretraining(model())(examples.collate(range(10), 0))
    assert {loss.dtype for loss in sums.values()} == {torch.float32}


# --- held-out text ---


@pytest.mark.parametrize("samples", [1, 2])
def test_scores_by_hand(examples: PretrainingExamples, samples: int) -> None:
    bert = model().train()
    counts = examples.text.piece_counts(len(TOKENIZER))
    found = heldout_scores(bert, examples, counts, batch_tokens=500, samples=samples)
    assert bert.training
    bert.eval()
    losses, unigram, first, five, right, languages, told = [], [], [], [], [], [], []
    share = (counts + 1).double() / (counts + 1).sum()
    with torch.no_grad():
        for draw, number in product(range(samples), range(len(examples))):
            batch = examples.collate([number], draw)
            outputs = bert(batch["input_ids"], token_type_ids=batch["token_type_ids"])
            logits, label = outputs.prediction_logits[0].log_softmax(-1), int(batch["next_sentence_label"])
            for place in (batch["labels"][0] >= 0).nonzero()[:, 0].tolist():
                piece = int(batch["labels"][0, place])
                rank = int((logits[place] > logits[place, piece]).sum())
                losses.append(-float(logits[place, piece]))
                unigram.append(-math.log(float(share[piece])))
                first.append(rank < 1), five.append(rank < 5), languages.append(int(examples.languages()[number]))
            if label != IGNORE_INDEX:
                right.append(int(outputs.seq_relationship_logits.argmax()) == label)
                told.append(int(examples.languages()[number]))

    def mean(values: list, of: list[int] | None = None, name: int = 0) -> float:
        values = values if of is None else [value for value, kind in zip(values, of, strict=True) if kind == name]
        return sum(values) / len(values)

    expected = {
        "mlm_loss": mean(losses), "unigram_loss": mean(unigram), "top1": mean(first), "top5": mean(five),
        "mlm_gain": mean(unigram) - mean(losses), "nsp_accuracy": mean(right), "masked": len(losses),
        "pairs": len(right),
    }  # fmt: skip
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name
    assert found["mlm_loss/latin"] == pytest.approx(mean(losses, languages, 1), rel=1e-5)
    assert found["nsp_accuracy/hangul"] == pytest.approx(mean(right, told, 0), rel=1e-5)
    assert found["masked/latin"] + found["masked/hangul"] == found["masked"]
    assert heldout_scores(bert, examples, counts, batch_tokens=2000, samples=samples) == pytest.approx(found, rel=1e-6)
    json.dumps(found)


def test_scores_of_what_there_is_none_of_are_left_out() -> None:
    text = TokenizedText.of([Document(["bake till bust."], "x", 1)] * 3, TOKENIZER)
    found = heldout_scores(model(), PretrainingExamples(text, TOKENIZER, max_length=32))
    assert set(found) == {"mlm_loss", "top1", "top5", "masked", "pairs"} and found["pairs"] == 0
    with pytest.raises(InputError, match=r"training_counts has shape \(7,\), expected \(\d+,\)"):
        heldout_scores(model(), PretrainingExamples(text, TOKENIZER, max_length=32), torch.ones(7))


def test_where_only_pairs_are_asked_about_nothing_else_is_read(examples: PretrainingExamples) -> None:
    alone = PretrainingExamples(examples.text, TOKENIZER, max_length=48, seed=1, task="nsp")
    bert, read = model(), []
    bert.bert.register_forward_pre_hook(lambda _, args, kwargs: read.append(len(kwargs["input_ids"])), with_kwargs=True)
    found = heldout_scores(bert, alone, samples=2)
    assert sum(read) == found["pairs"] == 4 * sum(len(alone.pairs(draw).couples) for draw in range(2))
    assert sum(read) < 2 * len(examples)


def test_written_without_being_held_in_memory(tmp_path) -> None:
    """The same bytes, and no temporary file is left."""
    documents = [Document([f"bake till {n}.", "", "영화 bake"][: 1 + n % 3], "x", n) for n in range(700)]
    TokenizedText.of(documents, TOKENIZER).save(tmp_path / "held.safetensors", {"text": "x"})
    TokenizedText.write(iter(documents), TOKENIZER, tmp_path / "data" / "written.safetensors", {"text": "x"})
    written = (tmp_path / "data" / "written.safetensors").read_bytes()
    assert written == (tmp_path / "held.safetensors").read_bytes()
    assert len(list((tmp_path / "data").iterdir())) == 1
    with pytest.raises(InputError, match="There is no text"):
        TokenizedText.write([], TOKENIZER, tmp_path / "data" / "empty.safetensors", {})
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"x\.safetensors cannot be written \((File exists|Not a directory)\)"):
        TokenizedText.write(documents, TOKENIZER, tmp_path / "file" / "x.safetensors", {})
    assert len(list((tmp_path / "data").iterdir())) == 1


def test_surface_features_do_not_depend_on_how_many_sentences_are_read_at_once(monkeypatch) -> None:
    documents = [Document([f"bake, till {n}!", "영화 (bake)?", "a"][: 1 + n % 3], "x", n) for n in range(40)]
    text = TokenizedText.of(documents, TOKENIZER)
    kinds = piece_kinds(TOKENIZER.get_vocab(), frozenset(TOKENIZER.all_special_tokens))
    whole = SurfaceFeatures.of(text, text.sentences, kinds)
    counted = torch.stack([(kinds[text.pieces] == kind).cumsum(0) for kind in range(whole.totals.shape[1])], dim=1)
    assert torch.equal(whole.totals[1:].long(), counted[text.sentences[1:] - 1])
    monkeypatch.setattr(surface_features, "SENTENCES_TOGETHER", 7)
    parts = SurfaceFeatures.of(text, text.sentences, kinds)
    assert torch.equal(parts.totals, whole.totals) and torch.equal(parts.edges, whole.edges)


def test_couples_of_a_large_text_are_formed_among_neighbours(monkeypatch) -> None:
    text = revealing_text(60)
    whole = PretrainingExamples(text, TOKENIZER, max_length=48, step_tokens=600, seed=1)
    monkeypatch.setattr(pairs, "ROWS_TOGETHER", 5)
    assert torch.equal(
        PretrainingExamples(text, TOKENIZER, max_length=48, seed=1).pairs(0).couples, whole.pairs(0).couples
    )
    monkeypatch.setattr(pairs, "PASSAGES_TOGETHER", 100)
    parts = PretrainingExamples(text, TOKENIZER, max_length=48, step_tokens=600, seed=1)
    couples = parts.pairs(0).couples
    assert len(whole.passages) > 200 and torch.equal(couples[:, 0] // 100, couples[:, 1] // 100)
    assert len(couples.unique()) == couples.numel() > len(whole.passages) // 3
    assert not torch.equal(whole.pairs(0).couples // 100 * 100, whole.pairs(0).couples.flip(1) // 100 * 100)
    documents = parts.passages.document[couples]
    assert bool((documents[:, 0] != documents[:, 1]).all())
