"""Noise and its limit: exact blocks against jacrev, noise against J·ε on the same draws, estimates against exact."""

import json

import pytest
import torch

import minibert
from minibert import InputError, edit, exact_sensitivity, jacobian_block, sensitivity, trace, zero_head
from minibert.lens.jacobian import jacobian_product
from minibert.lens.noise import changes
from minibert.random_normal import standard_normal
from tests.support.small_models import assert_no_trace, inputs_for, small

SENTENCE = {"input_ids": torch.tensor([[3, 7, 11, 5, 40]])}
LAYERS = tuple(f"encoder.layer.{number}" for number in range(3))


def reverse_jacobian(model, inputs, start: str, end: str) -> torch.Tensor:
    """∂end/∂start by reverse mode, through an edit: (B, T, H, B, T, H)."""

    def function(value: torch.Tensor) -> torch.Tensor:
        with edit(model, start, value):
            return trace(model, inputs, points=end, grad=True)[end]

    return torch.func.jacrev(function)(trace(model, inputs)[start])


@pytest.mark.parametrize("start", ["embeddings", "encoder.layer.0", "encoder.layer.1.attention.self.query"])
def test_exact_blocks_are_jacrevs(start: str) -> None:
    model = small().double()
    found = exact_sensitivity(model, SENTENCE, at=start, chunk=5)
    watched = {"embeddings": LAYERS, "encoder.layer.0": LAYERS[1:]}.get(start, LAYERS[1:])
    assert found.points == watched
    assert found.maps.shape == (len(watched), 5, 5) and found.maps.dtype == torch.float64
    for number, end in enumerate(watched):
        whole = reverse_jacobian(model, SENTENCE, start, end)[0, :, :, 0]  # (T out, H, T in, H)
        norms = whole.square().sum(dim=(1, 3)).sqrt().T / 12**0.5
        assert (found.maps[number] - norms).abs().max() < 1e-10
        for i, j in ((0, 0), (1, 3), (4, 2)):
            block = jacobian_block(model, SENTENCE, start, i, end, j, chunk=7)
            assert block.shape == (12, 12)
            assert (block - whole[j, :, i]).abs().max() < 1e-10
    assert found.maps[-1].min() > 1e-3
    assert (found.standard_error == 0).all()
    assert_no_trace(model)


def test_exact_afresh_is_jacrev_of_each_layer_alone() -> None:
    model = small().double()
    found = exact_sensitivity(model, SENTENCE, mode="per_layer")
    assert found.points == LAYERS and found.at == ("embeddings", *LAYERS[:2])
    for number, (start, end) in enumerate(zip(found.at, LAYERS, strict=True)):
        whole = reverse_jacobian(model, SENTENCE, start, end)[0, :, :, 0]
        assert (found.maps[number] - whole.square().sum(dim=(1, 3)).sqrt().T / 12**0.5).abs().max() < 1e-10


def test_exact_in_float64_of_a_float32_model_leaves_the_model_as_it_was() -> None:
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = exact_sensitivity(model, SENTENCE)
    assert model.dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    rough = exact_sensitivity(model, SENTENCE, dtype=None)
    assert 0 < (rough.maps - found.maps).abs().max() < 1e-5
    assert (exact_sensitivity(model.double(), SENTENCE).maps - found.maps).abs().max() < 1e-12
    assert_no_trace(model)


def test_noise_comes_to_j_times_noise_in_proportion_to_the_deviation() -> None:
    model = small().double()
    noise = torch.randn(1, 5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    linear = jacobian_product(model, SENTENCE, noise)
    deviations = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]
    errors = {point: [] for point in LAYERS}
    for deviation in deviations:
        for point, moved in changes(model, SENTENCE, deviation * noise).items():
            errors[point].append(((moved / deviation - linear[point]).norm() / linear[point].norm()).item())
    for point in LAYERS:  # Δ = J ε σ + O(σ²): after division by σ the rest falls as σ does
        rates = [error / deviation for error, deviation in zip(errors[point], deviations, strict=True)]
        assert errors[point][-1] < 1e-4
        for rate in rates[2:]:
            assert rate == pytest.approx(rates[1], rel=0.1)


@pytest.mark.parametrize("mode", ["single", "per_layer"])
def test_the_tables_are_of_these_draws_and_come_to_j_times_them(mode: str) -> None:
    model = small().double()
    names = ("embeddings",) if mode == "single" else ("embeddings", *LAYERS[:2])
    draws = standard_normal(3, range(4), 12 * len(names)).view(4, -1, 12)
    errors = []
    for deviation in (1e-2, 1e-3, 1e-4):
        found = sensitivity(model, SENTENCE, mode=mode, positions=2, samples=4, seed=3, std=deviation)
        squares = torch.zeros(2, 3, 5, dtype=torch.float64)
        for one in draws:
            for number, at in enumerate(names):
                noise = torch.zeros(1, 5, 12, dtype=torch.float64)
                noise[0, 2] = deviation * one[number]
                ends = LAYERS if mode == "single" else LAYERS[number : number + 1]
                for kind, run in enumerate((changes, jacobian_product)):
                    moved = run(model, SENTENCE, noise, at=at, points=ends)
                    for end, value in moved.items():
                        squares[kind, LAYERS.index(end)] += value[0].square().sum(dim=-1) / noise.square().sum() / 4
        by_hand, linear = squares.sqrt()
        torch.testing.assert_close(found.maps[:, 0], by_hand, atol=1e-10, rtol=1e-8)
        errors.append(((found.maps[:, 0] - linear).abs().max() / deviation).item())
    assert errors[2] == pytest.approx(errors[1], rel=0.1)


@pytest.mark.parametrize("mode", ["single", "per_layer"])
def test_estimates_lie_within_4_standard_errors_of_the_exact_norms(mode: str) -> None:
    model, inputs = small().double(), inputs_for()
    found = sensitivity(model, inputs, mode=mode, std=1e-5, samples=400)
    exact = exact_sensitivity(model, inputs, mode=mode)
    known = ~exact.maps.isnan()
    assert torch.equal(known, ~found.maps.isnan())
    assert known.sum() == 3 * (9 * 9 + 6 * 6 + 3 * 3)
    away = (found.maps - exact.maps)[known].abs() / found.standard_error[known]
    assert away.max() < 4
    assert 0.55 < (away < 1).double().mean() < 0.80  # 0.68 if the standard errors are right
    assert (found.standard_error[known] / exact.maps[known]).max() < 0.05


def test_a_value_that_is_handed_on_has_1_with_itself() -> None:
    model = small().double()
    with torch.no_grad():
        for layer in model.encoder.layer:
            layer.attention.output.dense.weight.zero_()  # no token sees another
    for found in (sensitivity(model, SENTENCE, samples=3), exact_sensitivity(model, SENTENCE)):
        beside = ~torch.eye(5, dtype=torch.bool)
        assert found.maps[:, beside].abs().max() < 1e-12
        assert found.maps[:, ~beside].min() > 0.01
    same = sensitivity(model, SENTENCE, points="embeddings", at="embeddings.dropout", samples=2)
    torch.testing.assert_close(same.maps[0], torch.eye(5, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(same.standard_error[0][same.maps[0] > 0.5], torch.zeros(5).double(), atol=1e-7, rtol=0)


@pytest.mark.parametrize("mode", ["single", "per_layer"])
def test_the_seed_alone_decides(mode: str) -> None:
    model, inputs = small(), inputs_for()
    first = sensitivity(model, inputs, mode=mode, seed=5)
    for chunk in (1, 7, 1000):
        again = sensitivity(model, inputs, mode=mode, seed=5, chunk=chunk)
        torch.testing.assert_close(again.maps, first.maps, atol=1e-5, rtol=1e-4, equal_nan=True)
    torch.testing.assert_close(sensitivity(model, inputs, mode=mode, seed=5).maps, first.maps, equal_nan=True)
    other = sensitivity(model, inputs, mode=mode, seed=6)
    assert (other.maps - first.maps).nan_to_num().abs().max() > 1e-3
    wide = sensitivity(model.double(), inputs, mode=mode, seed=5)
    assert 0 < (wide.maps - first.maps).nan_to_num().abs().max() < 1e-4


def test_padding_is_not_perturbed_and_texts_stand_by_themselves() -> None:
    model, inputs = small().double(), inputs_for()
    found = exact_sensitivity(model, inputs)
    assert found.maps.shape == (3, 3, 9, 9)
    for number, length in enumerate((9, 6, 3)):
        alone = {name: value[number : number + 1, :length] for name, value in inputs.items()}
        one = exact_sensitivity(model, alone)
        assert one.maps.shape == (3, length, length)
        cut = found.text(number)
        torch.testing.assert_close(cut.maps, one.maps, atol=1e-12, rtol=0)
        assert cut.positions == one.positions == tuple((i,) for i in range(length))
        assert found.maps[number, :, length:].isnan().all() and found.maps[number, :, :, length:].isnan().all()
    content = json.loads(json.dumps(found.to_dict()))
    assert content["maps"][2][0][0][3] is None and content["maps"][2][0][0][2] > 0
    padded_in_two = exact_sensitivity(model, inputs, positions=[7, 2])
    assert padded_in_two.text(1).positions == ((2,),)
    assert padded_in_two.text(0).positions == ((7,), (2,))


def test_several_positions_and_groups() -> None:
    model = small().double()
    every = exact_sensitivity(model, SENTENCE)
    some = exact_sensitivity(model, SENTENCE, positions=[3, (1, 2), -1])
    assert some.positions == ((3,), (1, 2), (4,))
    assert torch.equal(some.maps[:, 0], every.maps[:, 3]) and torch.equal(some.maps[:, 2], every.maps[:, 4])
    group = every.maps[:, 1:3].square().mean(dim=1).sqrt()
    torch.testing.assert_close(some.maps[:, 1], group, atol=1e-12, rtol=0)
    noise = sensitivity(model, SENTENCE, positions=[3, (1, 2), -1], std=1e-5, samples=300)
    assert ((noise.maps - some.maps).abs() / noise.standard_error).max() < 4


def test_relative_deviation_is_in_the_spread_of_the_text() -> None:
    model, inputs = small().double(), inputs_for()
    tokens = trace(model, inputs)["embeddings"][2, :3]
    alone = {name: value[2:, :3] for name, value in inputs.items()}
    spread = tokens.std(correction=0).item()
    relative = sensitivity(model, alone, std=0.5, relative=True)
    absolute = sensitivity(model, alone, std=0.5 * spread)
    torch.testing.assert_close(relative.maps, absolute.maps, atol=1e-12, rtol=0)
    assert (relative.maps - sensitivity(model, alone, std=0.5).maps).abs().max() > 1e-3


def test_edits_act_on_every_run() -> None:
    model = small().double()
    point = "encoder.layer.0.attention.self.context_heads"
    exact = exact_sensitivity(model, SENTENCE)
    with edit(model, point, zero_head(0)):
        found = exact_sensitivity(model, SENTENCE)
        noise = sensitivity(model, SENTENCE, std=1e-5, samples=200)
    assert (found.maps - exact.maps).abs().max() > 1e-2
    assert ((noise.maps - found.maps).abs() / noise.standard_error).max() < 4.5
    with edit(model, point, zero_head(0, 1)):
        found = exact_sensitivity(model, SENTENCE)
    assert found.maps[0][~torch.eye(5, dtype=torch.bool)].max() < 1e-12  # without heads no token sees another
    assert_no_trace(model)


@pytest.mark.parametrize("chunk", [0, 4])
def test_a_model_with_a_head_takes_the_encoders_names(chunk: int) -> None:
    model = small("BertForMaskedLM", chunk_size_feed_forward=chunk).double()
    found = exact_sensitivity(model, SENTENCE)
    assert found.points[0] == "bert.encoder.layer.0" and found.at[0] == "bert.embeddings"
    alone = exact_sensitivity(model.bert, SENTENCE)
    torch.testing.assert_close(found.maps, alone.maps, atol=1e-12, rtol=0)
    logits = sensitivity(model, SENTENCE, at="encoder.layer.1", points="cls.predictions", samples=2)
    assert logits.points == ("cls.predictions",) and logits.maps.shape == (1, 5, 5)


def test_tokens_and_progress(minilm) -> None:
    model = minibert.BertModel.from_pretrained(minilm)
    tokenizer = minibert.BertTokenizer.from_pretrained(minilm)
    inputs = tokenizer("New York is large.", return_tensors="pt")
    told = []
    found = sensitivity(model, inputs, samples=2, chunk=5, progress=lambda done, total: told.append((done, total)))
    assert found.tokens == (("[CLS]", "new", "york", "is", "large", ".", "[SEP]"),)
    assert told == [(5, 14), (10, 14), (14, 14)]
    exact = exact_sensitivity(model, inputs, positions=[2], progress=False)
    near = sensitivity(model.double(), inputs, positions=[2], std=1e-4, samples=60)
    assert ((near.maps - exact.maps).abs() / near.standard_error).max() < 5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"std": 0}, "expected a number above 0"),
        ({"std": float("nan")}, "expected a number above 0"),
        ({"samples": 0}, "samples is 0; expected a whole number of at least 1"),
        ({"mode": "twice"}, "mode is 'twice'; there are 'single', and 'per_layer'"),
        ({"mode": "per_layer", "at": "encoder.layer.0"}, "at is for mode 'single'"),
        ({"mode": "per_layer", "points": "pooler"}, "the outputs of layers are measured; pooler is none"),
        ({"at": "encoder.layer.2"}, "No layer comes after encoder.layer.2"),
        ({"at": "encoder.layer.1", "points": "encoder.layer.0"}, "encoder.layer.0 comes after encoder.layer.1"),
        ({"at": "encoder.layer.*"}, "names 3 points; noise goes in at one"),
        ({"at": "nowhere"}, "There is no point 'nowhere'"),
        ({"at": "embeddings.position_embeddings"}, r"has shape \(1, T, H\)"),
        ({"at": "encoder.layer.0.attention.self.scores"}, "a vector for each token"),
        ({"points": "pooler"}, "a vector for each token"),
        ({"positions": 5}, "There is no position 5: the text has 0 to 4"),
        ({"positions": []}, "positions is empty"),
        ({"positions": [()]}, "There is no position"),
        ({"chunk": 0}, "chunk is 0"),
    ],
)
def test_mistakes_are_sentences(arguments, sentence: str) -> None:
    model = small()
    with pytest.raises(InputError, match=sentence):
        sensitivity(model, SENTENCE, **arguments)
    assert_no_trace(model)


def test_more_mistakes() -> None:
    inputs = inputs_for()
    inputs["attention_mask"][:, 8] = 0
    with pytest.raises(InputError, match="Position 8 is padding"):
        sensitivity(small(), inputs, positions=8)
    with pytest.raises(InputError, match="call model.eval"):
        sensitivity(small().train(), SENTENCE)
    with pytest.raises(InputError, match="a block is of one point|A block is of one point"):
        jacobian_block(small(), inputs_for(), "embeddings", 0, "encoder.layer.0", 7, text=2)
    with pytest.raises(InputError, match="expected"):
        changes(small(), SENTENCE, torch.zeros(1, 4, 12))


def test_older_modes_and_arguments_are_taken() -> None:
    model = small()
    expected = sensitivity(model, SENTENCE, mode="per_layer", std=0.2, samples=1)
    with pytest.warns(DeprecationWarning, match="'afresh' is now 'per_layer'") as warned:
        older = sensitivity(model, SENTENCE, mode="afresh", deviation=0.2, samples=1)
    assert {warning.filename for warning in warned} == {__file__} and older.mode == "per_layer"
    assert torch.equal(older.maps, expected.maps)
    with pytest.warns(DeprecationWarning, match="'once' is now 'single'") as warned:
        assert exact_sensitivity(model, SENTENCE, mode="once", positions=1).mode == "single"
    assert {warning.filename for warning in warned} == {__file__}
