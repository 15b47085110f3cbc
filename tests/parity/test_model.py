"""BertModel against transformers' in one process: every hidden state, map, and the pooler, bit for bit."""

import pytest
import torch

from tests.parity.cases import KINDS_OF_INPUT, NUMBER_OF_CONFIGURATIONS, random_inputs, random_settings
from tests.parity.compare import assert_same_outputs, largest_difference, twins
from tests.parity.tolerances import COMPILED_FLOAT32, EAGER_AGAINST_SDPA, EXACT, FLOAT64

pytestmark = pytest.mark.peers

transformers = pytest.importorskip("transformers")
BOTH = ("eager", "sdpa")


@pytest.mark.parametrize("attention", BOTH)
@pytest.mark.parametrize("number", range(NUMBER_OF_CONFIGURATIONS))
def test_same_bits_for_random_configurations(number: int, attention: str) -> None:
    settings = random_settings(number)
    ours, reference = twins("BertModel", transformers.BertModel, settings, attention)
    wanted = {"output_hidden_states": True, "output_attentions": attention == "eager"}
    for kind in KINDS_OF_INPUT:
        our_inputs, their_inputs = random_inputs(settings, kind, attention)
        compared = assert_same_outputs(ours(**our_inputs, **wanted), reference(**their_inputs, **wanted), EXACT)
        layers = settings["num_hidden_layers"]
        assert compared == 2 + layers + 1 + (layers if attention == "eager" else 0)


@pytest.mark.parametrize("attention", BOTH)
def test_same_bits_in_float64(attention: str) -> None:
    settings = random_settings(3)
    ours, reference = twins("BertModel", transformers.BertModel, settings, attention, torch.float64)
    our_inputs, their_inputs = random_inputs(settings, "padding", attention)
    wanted = {"output_hidden_states": True}
    assert_same_outputs(ours(**our_inputs, **wanted), reference(**their_inputs, **wanted), FLOAT64)


@pytest.mark.parametrize("attention", BOTH)
def test_same_bits_on_a_real_checkpoint(minilm, attention: str, threads: int) -> None:
    import minibert

    ours = minibert.BertModel.from_pretrained(minilm, attn_implementation=attention)
    reference = transformers.BertModel.from_pretrained(minilm, attn_implementation=attention)
    assert not ours.training
    wanted = {"output_hidden_states": True, "output_attentions": attention == "eager"}
    for kind in KINDS_OF_INPUT[:6]:
        inputs, same = random_inputs(ours.config.to_dict(), kind, attention)
        assert_same_outputs(ours(**inputs, **wanted), reference(**same, **wanted), EXACT)


@pytest.mark.parametrize("attention", BOTH)
def test_training_draws_the_same_dropout(attention: str) -> None:
    """The same generator state gives the same masks: the draws happen in the same order."""
    settings = random_settings(1)
    ours, reference = twins("BertModel", transformers.BertModel, settings, attention)
    inputs, same = random_inputs(settings, "padding", attention)
    torch.manual_seed(5)
    found = ours.train()(**inputs)
    torch.manual_seed(5)
    assert_same_outputs(found, reference.train()(**same), EXACT)


def test_chunks_that_do_not_divide_the_length() -> None:
    """The reference refuses these; the values are those of the whole."""
    settings = random_settings(0)
    whole, _ = twins("BertModel", transformers.BertModel, settings | {"chunk_size_feed_forward": 0}, "eager")
    chunked, _ = twins("BertModel", transformers.BertModel, settings | {"chunk_size_feed_forward": 5}, "eager")
    inputs, _ = random_inputs(settings, "padding", "eager")
    assert_same_outputs(chunked(**inputs), whole(**inputs), EAGER_AGAINST_SDPA)


@pytest.mark.parametrize("attention", BOTH)
def test_compiles_as_one_graph(attention: str) -> None:
    settings = random_settings(2)
    ours, _ = twins("BertModel", transformers.BertModel, settings, attention)
    inputs, _ = random_inputs(settings, "padding", attention)
    with torch.no_grad():
        compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")(**inputs, output_hidden_states=True)
        plain = ours(**inputs, output_hidden_states=True)
    assert type(compiled) is type(plain)
    assert_same_outputs(compiled, plain, COMPILED_FLOAT32)


def test_asking_for_attentions_switches_to_eager() -> None:
    settings = random_settings(2)
    fused, _ = twins("BertModel", transformers.BertModel, settings, "sdpa")
    written, _ = twins("BertModel", transformers.BertModel, settings, "eager")
    inputs, _ = random_inputs(settings, "padding", "sdpa")
    asked = fused(**inputs, output_attentions=True)
    assert_same_outputs(asked, written(**inputs, output_attentions=True), EXACT)
    plain = fused(**inputs).last_hidden_state
    assert largest_difference(plain, asked.last_hidden_state) <= EAGER_AGAINST_SDPA
    boolean = inputs["attention_mask"].bool()[:, None, None, :].expand(-1, 1, 12, -1)
    again = fused(inputs["input_ids"], boolean, output_attentions=True)
    assert_same_outputs(again, asked, EXACT)


def test_functional_call_and_hooks_see_the_published_tree() -> None:
    settings = random_settings(2)
    ours, reference = twins("BertModel", transformers.BertModel, settings, "eager")
    inputs, _ = random_inputs(settings, "padding", "eager")
    plain = ours(**inputs)
    called = torch.func.functional_call(ours, dict(ours.named_parameters()), (), inputs)
    assert_same_outputs(called, plain, EXACT)

    def record(model, into):
        for name, module in model.named_modules():
            module.register_forward_hook(lambda _m, _i, out, name=name: into.__setitem__(name, out))

    seen, expected = {}, {}
    record(ours, seen)
    record(reference, expected)
    ours(**inputs)
    reference(**inputs)
    shared_names = set(seen) & set(expected) - {"", "encoder"}
    assert len(shared_names) > 20
    for name in shared_names:
        mine, theirs = seen[name], expected[name]
        assert isinstance(mine, tuple) == isinstance(theirs, tuple), name
        pairs = zip(mine, theirs, strict=True) if isinstance(mine, tuple) else [(mine, theirs)]
        assert all(largest_difference(a, b) == 0.0 for a, b in pairs), name
