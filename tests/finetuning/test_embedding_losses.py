"""The losses of sentence embeddings are sentence-transformers', on the same batch and weights: values and gradients."""

from pathlib import Path

import pytest
import torch

from minibert import BertModel, BertTokenizer
from minibert.embedding.pooling import TOKEN_POOLINGS, pool_padded
from minibert.finetuning import Embeddings
from minibert.finetuning.embedding_losses import LOSSES
from minibert.finetuning.embedding_rows import TextGroup
from tests.support.toy_tasks import toy_checkpoint

LOSS = 1e-6  # float32; relative, where a value is above 1
GRADIENT = 1e-6  # of the largest; in float64, but for the scores of CosineSimilarityLoss in the library
PARTS = 1e-5  # gradients in float32, added up in another order
FIRST = ["she sat by the river bank", "hello", "the pear tree is in bloom again", "so was her home", "by the river"]
SECOND = ["the river", "hello hello so", "pear", "home is her tree", "he went by of the bank"]
THIRD = ["a pear", "in bloom", "her river", "the tree of the pear", "again"]
SCORES = [0.2, 0.9, 0.5, 0.5, -0.3]
PAIRS = [TextGroup(texts) for texts in zip(FIRST, SECOND, strict=True)]
TRIPLETS = [TextGroup(texts) for texts in zip(FIRST, SECOND, THIRD, strict=True)]
SCORED = [TextGroup(group.texts, score) for group, score in zip(PAIRS, SCORES, strict=True)]
CASES = [
    ("MultipleNegativesRankingLoss", PAIRS), ("MultipleNegativesRankingLoss", TRIPLETS), ("CoSENTLoss", SCORED),
    ("CosineSimilarityLoss", SCORED),
]  # fmt: skip


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip(
        "sentence_transformers", reason="compared with sentence-transformers, which is not installed"
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return toy_checkpoint(tmp_path_factory.mktemp("toy"))


def ready(task: Embeddings, groups: list[TextGroup], checkpoint: Path):
    """Our objective, and the batch of all groups."""
    model, tokenizer = BertModel.from_pretrained(checkpoint), BertTokenizer.from_pretrained(checkpoint)
    examples = task.examples(groups, tokenizer, model.config, batch_size=8)
    return task.objective(model).train(), examples.collate(range(len(groups)))


def in_the_library(library, task: Embeddings, checkpoint: Path, folder: Path):
    """The same model and pooling in sentence-transformers."""
    model = BertModel.from_pretrained(checkpoint)
    model.save_pretrained(folder)
    BertTokenizer.from_pretrained(checkpoint).save_pretrained(folder)
    task.write_settings(folder, model.config)
    return library.SentenceTransformer(str(folder), device="cpu").train()


def mean_loss(objective, batch) -> torch.Tensor:
    sums, counts = objective(batch), objective.counts(batch)
    assert sums.keys() == counts.keys()
    return sum(sums[name] / counts[name] for name in sums)


def assert_close(found: torch.Tensor, expected: torch.Tensor, most: float) -> None:
    assert (found - expected).abs().max().item() <= most * max(1.0, expected.abs().max().item())


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize(("loss", "groups"), CASES)
def test_losses_and_gradients_are_the_librarys(library, checkpoint, tmp_path, loss, groups, pooling) -> None:
    from sentence_transformers.sentence_transformer import losses

    task = Embeddings(loss=loss, pooling=pooling, max_length=32)
    objective, batch = ready(task, groups, checkpoint)
    theirs = in_the_library(library, task, checkpoint, tmp_path / "theirs")
    features = [theirs.preprocess(list(column)) for column in zip(*(group.texts for group in groups), strict=True)]
    labels = torch.tensor([group.score or 0.0 for group in groups])
    expected, found = getattr(losses, loss)(theirs)(features, labels), mean_loss(objective, batch)
    assert_close(found, expected, LOSS)
    objective.double()
    theirs.double()
    mean_loss(objective, batch).backward()
    getattr(losses, loss)(theirs)(features, labels.double()).backward()
    gradients = {name: parameter.grad for name, parameter in theirs[0].model.named_parameters()}
    largest = max(gradient.abs().max().item() for gradient in gradients.values() if gradient is not None)
    assert largest > 1e-5
    for name, parameter in objective.model.named_parameters():
        assert (parameter.grad is None) == (gradients[name] is None) == name.startswith("pooler")
        if parameter.grad is not None:
            assert (parameter.grad - gradients[name]).abs().max().item() <= GRADIENT * largest


@pytest.mark.parametrize("scale", [1.0, 50.0])
@pytest.mark.parametrize("loss", ["MultipleNegativesRankingLoss", "CoSENTLoss"])
def test_the_scale_is_the_librarys(library, loss, scale) -> None:
    from sentence_transformers.sentence_transformer import losses

    vectors = torch.randn(2, 40, 12, generator=torch.Generator().manual_seed(0))
    scores = torch.randint(0, 4, (40,), generator=torch.Generator().manual_seed(1)) / 3  # with ties
    ours = LOSSES[loss](scale)
    expected = getattr(losses, loss)(None, scale=scale).compute_loss_from_embeddings(list(vectors), scores)
    assert_close(ours.sum(vectors, scores) / ours.terms(40), expected, LOSS)


def test_cosent_by_hand() -> None:
    """log(1 + exp(20 · (cos of the pair with score 0 - cos of the pair with score 1)))."""
    vectors = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.6, 0.8], [0.8, 0.6]]])  # cosines 0.6 and 0.8
    loss = LOSSES["CoSENTLoss"]()
    assert loss.sum(vectors, torch.tensor([1.0, 0.0])).item() == pytest.approx(4 + 0.01815, abs=1e-4)
    assert loss.sum(vectors, torch.tensor([0.0, 1.0])).item() == pytest.approx(0.01815, abs=1e-4)
    assert loss.sum(vectors, torch.tensor([0.5, 0.5])).item() == 0.0


@pytest.mark.parametrize("pooling", TOKEN_POOLINGS)
def test_padding_does_not_count_in_a_pooling(pooling) -> None:
    states = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0))
    lengths, skipped = [7, 4, 2], torch.tensor([0, 2, 1])
    mask = (torch.arange(7) < torch.tensor(lengths)[:, None]).long()
    together = pool_padded(states, mask, [pooling], skipped)
    for row, (length, skip) in enumerate(zip(lengths, skipped.tolist(), strict=True)):
        alone = pool_padded(states[row : row + 1, :length], mask[row : row + 1, :length], [pooling], skipped[row, None])
        assert torch.allclose(together[row], alone[0], atol=1e-6)
        if pooling == "mean":
            assert torch.allclose(together[row], states[row, skip:length].mean(dim=0), atol=1e-6)


@pytest.mark.parametrize(("loss", "groups"), CASES)
def test_parts_of_a_step_change_memory_alone(checkpoint, loss, groups) -> None:
    """``micro_tokens``: the same loss and the same gradients, with the negatives of the whole step."""
    task = Embeddings(loss=loss)
    whole, batch = ready(task, groups, checkpoint)
    parts, _ = ready(task, groups, checkpoint)
    parts.micro_tokens = 20
    seen: list[int] = []
    forward = parts.model.forward
    parts.model.forward = lambda ids, *others, **more: seen.append(ids.numel()) or forward(ids, *others, **more)
    first, second = mean_loss(whole, batch), mean_loss(parts, batch)
    assert len(seen) > 2
    assert max(seen) <= 20
    assert_close(second, first, LOSS)
    first.backward()
    second.backward()
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            assert_close(other.grad, one.grad, PARTS)


def test_prompts_that_do_not_count(library, checkpoint, tmp_path) -> None:
    """``include_prompt`` false: the prompt is read, and its vectors are left out of the mean, as in the library."""
    stored = {"include_prompt": False, "prompts": {"query": "so the river"}}
    task = Embeddings(loss="MultipleNegativesRankingLoss", max_length=32, stored=stored)
    objective, batch = ready(task, PAIRS, checkpoint)
    theirs = in_the_library(library, task, checkpoint, tmp_path / "theirs").eval()
    with torch.no_grad():
        vectors = objective.eval().vectors(batch)
    assert batch["skipped"][:, 0].tolist() == [4, 0]
    for column, texts, encode in zip(
        vectors, (FIRST, SECOND), (theirs.encode_query, theirs.encode_document), strict=True
    ):
        assert_close(column, torch.tensor(encode(texts)), 1e-5)


def test_bfloat16_gives_losses_in_float32(checkpoint) -> None:
    objective, batch = ready(Embeddings(loss="CoSENTLoss"), SCORED, checkpoint)
    with torch.autocast("cpu", torch.bfloat16):
        (loss,) = objective(batch).values()
    assert loss.dtype == torch.float32
