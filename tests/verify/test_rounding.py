"""Rounding is told from a difference: right ports in another order of computation, and ports with a mistake."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import minibert
from minibert.cli import main
from minibert.verify import verify, verify_models
from minibert.verify.batches import batches_from_config, batches_from_text
from minibert.verify.compare import BOUND, compare_points, rounding_bounds

GOLDENS = Path(minibert.__file__).parent / "goldens"
DEMO = Path(minibert.__file__).parent / "demo"


@pytest.fixture(scope="module")
def demo():
    """The trained checkpoint that comes with minibert: 4 layers, with the large values training makes."""
    return minibert.BertForPreTraining.from_pretrained(DEMO, attn_implementation="eager")


@pytest.fixture(scope="module")
def batches(demo):
    return batches_from_text(minibert.BertTokenizer.from_pretrained(DEMO), demo.config)


class FusedQueryKeyValue(nn.Module):
    """A right port of the self-attention: one product for query, key and value, and sums by einsum."""

    def __init__(self, theirs: nn.Module, config: minibert.BertConfig) -> None:
        super().__init__()
        parts = (theirs.query, theirs.key, theirs.value)
        self.weight = nn.Parameter(torch.cat([part.weight for part in parts]))
        self.bias = nn.Parameter(torch.cat([part.bias for part in parts]))
        self.heads = config.num_attention_heads

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, output_attentions: bool = False):
        B, T, H = hidden_states.shape
        joined = torch.einsum("bth,oh->bto", hidden_states, self.weight) + self.bias
        q, k, v = joined.view(B, T, 3, self.heads, H // self.heads).unbind(2)
        scores = torch.einsum("bqnd,bknd->bnqk", q / (H // self.heads) ** 0.5, k)
        scores = scores if attention_mask is None else scores + attention_mask
        weights = (scores - scores.amax(-1, keepdim=True)).exp()
        weights = weights / weights.sum(-1, keepdim=True)
        return torch.einsum("bnqk,bknd->bqnd", weights, v).reshape(B, T, H), weights


class OwnGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 0.5 * (1.0 + torch.erf(x / 2.0**0.5))


def changed(model, change):
    port = copy.deepcopy(model)
    for layer in port.bert.encoder.layer:
        change(layer)
    return port


def fuse(layer) -> None:
    layer.attention.self = FusedQueryKeyValue(layer.attention.self, layer.attention.self.config)


def tanh_gelu(layer) -> None:
    layer.intermediate.intermediate_act_fn = minibert.model.ACTIVATIONS["gelu_new"]


def own_gelu(layer) -> None:
    layer.intermediate.intermediate_act_fn = OwnGelu()


def pre_layer_norm(layer) -> None:
    """Normalise before the sub-layer, as GPT-2 does."""
    layer.attention.register_forward_pre_hook(lambda module, args: (module.output.LayerNorm(args[0]), *args[1:]))


def forget_mask(layer) -> None:
    layer.attention.self.register_forward_pre_hook(lambda module, args: (args[0], None, *args[2:]))


def with_eps(model, eps: float):
    port = copy.deepcopy(model)
    for module in port.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps
    return port


def dropout_left_on(model):
    return copy.deepcopy(model).train()


@pytest.mark.parametrize("change", [fuse, own_gelu])
def test_a_right_port_in_another_order_is_rounding(demo, batches, change) -> None:
    report = verify_models(demo, changed(demo, change), batches, explain=False)
    assert report.verdict == "rounding"
    assert report.same
    assert report.first_difference is None
    off = [result for result in report.results if result.verdict == "rounding"]
    assert len(off) > 40
    assert all(0 < result.difference <= result.bound for result in off)
    assert max(result.difference / result.bound for result in off) < 0.5  # not by a hair
    assert verify_models(demo, changed(demo, change), batches, dtype="float64", explain=False).verdict == "rounding"
    assert report.conclusion().startswith("Rounding: no point differs beyond its bound")


def test_every_pair_of_attentions_is_rounding_and_the_header_says_which_ran(demo, batches) -> None:
    fused = copy.deepcopy(demo)
    fused.set_attn_implementation("sdpa")
    report = verify_models(demo, fused, batches, explain=False)
    assert (report.verdict, report.attention, report.reference_attention) == ("rounding", "sdpa", "eager")
    assert "float32, sdpa attention against eager" in str(report)
    assert "1 of 3 rows of “a row of padding” may see nothing" in str(report)
    both = verify_models(copy.deepcopy(fused), fused, batches, explain=False)
    assert (both.verdict, both.attention, both.reference_attention) == ("same", "sdpa", "sdpa")
    assert "float32, sdpa attention\n" in str(both)
    assert not any("may see nothing" in note for note in both.notes)  # the same definition on both sides
    asked = copy.deepcopy(fused)
    asked.config.output_attentions = True  # which is written out, whatever the config's attn_implementation says
    assert verify_models(demo, asked, batches, explain=False).attention == "eager"


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_transformers_other_attention_is_rounding(demo, batches, attention: str) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertForPreTraining.from_pretrained(DEMO, dtype="float32", attn_implementation=attention)
    report = verify_models(theirs.eval(), demo, batches, explain=False)
    assert report.verdict == ("same" if attention == "eager" else "rounding")
    assert (report.attention, report.reference_attention) == ("eager", attention)


@pytest.mark.parametrize("dtype", [None, "float64"])
@pytest.mark.parametrize(
    ("change", "point"),
    [
        (tanh_gelu, "encoder.layer.0.intermediate"),
        (pre_layer_norm, "encoder.layer.0.attention.self.query"),
        (forget_mask, "encoder.layer.0.attention.self.probabilities"),
    ],
)
def test_a_mistake_differs_at_its_first_point(demo, batches, change, point: str, dtype: str | None) -> None:
    report = verify_models(demo, changed(demo, change), batches, dtype=dtype, explain=False)
    assert report.verdict == "differs"
    assert report.first_difference.point == point
    assert report.first_difference.difference > 5 * report.first_difference.bound  # not by a hair either
    assert "; the bound for rounding is " in report.conclusion()


@pytest.mark.parametrize("eps", [1e-5, 1e-6, 1e-7])
def test_an_eps_that_is_not_googles_differs_at_the_embeddings(demo, batches, eps: float) -> None:
    first = verify_models(demo, with_eps(demo, eps), batches, explain=False).first_difference
    assert first.point == "embeddings"
    assert first.difference > 5 * first.bound


def test_float64_shows_an_eps_that_float32_rounds_away() -> None:
    """Embeddings as large as an untrained model's never are: 1e-7 beside a variance of 0.27 is two units."""
    model = minibert.BertForPreTraining.from_pretrained(GOLDENS / "random-bert")
    batches = batches_from_config(model.config)
    port = with_eps(model, 1e-7)
    assert verify_models(model, port, batches, explain=False).verdict == "rounding"
    report = verify_models(model, port, batches, dtype=torch.float64, explain=False)
    assert report.first_difference.point == "embeddings"
    assert report.dtype == "float64"
    assert next(port.parameters()).dtype == torch.float32  # copies were run


def test_dropout_that_was_left_on_differs(demo, batches) -> None:
    torch.manual_seed(0)
    assert verify_models(demo, dropout_left_on(demo), batches, explain=False).first_difference.point == "embeddings"


def test_the_bound_is_settable_and_grows_with_depth(demo, batches) -> None:
    port = changed(demo, fuse)
    exact = verify_models(demo, port, batches, bound=0, explain=False)
    assert exact.verdict == "differs"
    assert exact.first_difference.point.startswith("encoder.layer.0.attention.self.")
    assert exact.first_difference.bound == 0
    assert verify_models(demo, port, batches, bound=1e9, explain=False).verdict == "rounding"
    values = {name: torch.tensor([2.0, -4.0]) for name in ("embeddings", "encoder.layer.2.output", "pooler")}
    values["encoder.layer.2.attention.self.context"] = torch.tensor([1.0, float("inf")])
    eps = torch.finfo(torch.float32).eps
    assert rounding_bounds(values, 4, eps) == {
        "embeddings": 0.5 * BOUND * eps * 4,
        "encoder.layer.2.output": 3 * BOUND * eps * 4,
        "pooler": 5 * BOUND * eps * 4,
        "encoder.layer.2.attention.self.context": 4 * 3 * BOUND * eps,
    }
    infinite = {"p": torch.tensor([float("inf"), 1.0])}
    assert compare_points("b", infinite, {"p": infinite["p"].clone()}, ["p"])[0].verdict == "same"
    assert compare_points("b", infinite, {"p": torch.tensor([1.0, 1.0])}, ["p"], {"p": 1e9})[0].differs


def test_one_batch_and_a_port_that_returns_plain_tensors(demo) -> None:
    batch = minibert.BertTokenizer.from_pretrained(DEMO)("배를 타고", return_tensors="pt")
    port = changed(demo, fuse)
    for layer in port.bert.encoder.layer:  # the context alone, without a map
        layer.attention.self.register_forward_hook(lambda module, args, output: output)
    report = verify_models(demo, port, batch, explain=False)
    assert {result.batch for result in report.results} == {"batch"}
    assert report.verdict == "rounding"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"reference": nn.Linear(2, 2)}, "The reference model \\(Linear\\) has no module encoder.layer"),
        ({"batches": {}}, "batches is empty"),
        ({"batches": {"x": [1, 2]}}, "Batch 'x' is no dict of tensors"),
        ({"batches": {"x": {"input_ids": [[1]]}}}, "Batch 'x' is no dict of tensors"),
        ({"bound": -1}, "bound is -1; expected"),
        ({"bound": float("nan")}, "bound is nan; expected"),
        ({"bound": "2"}, "bound is '2'; expected"),
        ({"bound": True}, "bound is True; expected"),
        ({"dtype": "float16"}, "dtype is 'float16'; parity is measured in float32 or float64"),
        ({"dtype": 32}, "dtype is 32; parity is measured"),
    ],
)
def test_arguments_that_make_no_sense(demo, batches, arguments: dict, sentence: str) -> None:
    with pytest.raises(minibert.MinibertError, match=sentence):
        verify_models(**({"reference": demo, "theirs": demo, "batches": batches} | arguments))


def test_on_the_command_line(tmp_path, capsys) -> None:
    folder = GOLDENS / "random-bert"
    model = minibert.BertForPreTraining.from_pretrained(folder)
    model.config.layer_norm_eps = 1e-7
    model.save_pretrained(tmp_path)
    command = ["verify", str(tmp_path), "--against", str(folder)]
    assert main([*command, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["verdict"], content["same"], content["first_difference"]) == ("rounding", True, None)
    assert main([*command, "--bound", "0"]) == 1
    assert "differs" in capsys.readouterr().out
    assert main([*command, "--dtype", "float64"]) == 1
    capsys.readouterr()
    assert main([*command, "--attention", "sdpa"]) == 0
    printed = capsys.readouterr().out
    assert "float32, sdpa attention\n" in printed
    assert "rounding" in printed
    assert "bound" in printed
    for wrong in ("-1", "many", "nan"):
        with pytest.raises(SystemExit) as caught:
            main([*command, "--bound", wrong])
        assert caught.value.code == 2
        assert "is not a number of at least 0" in capsys.readouterr().err
    golden = GOLDENS / "minibert-demo.safetensors"
    assert main(["verify", "--against", str(golden), "--bound", "3"]) == 2
    assert "brings its own bounds" in capsys.readouterr().err


def test_a_fused_run_against_a_golden_leaves_out_rows_that_see_nothing(tmp_path) -> None:
    from minibert.verify import make_golden

    make_golden(GOLDENS / "random-bert", tmp_path / "g.safetensors")
    report = verify(GOLDENS / "random-bert", tmp_path / "g.safetensors", attention="sdpa")
    assert report.verdict == "rounding"
    assert (report.attention, report.reference_attention) == ("sdpa", "eager")
    assert sum("may see nothing" in note for note in report.notes) == 2  # once for each dtype
