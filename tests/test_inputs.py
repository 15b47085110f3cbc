"""Inputs that do not fit: each has its sentence, with the limit and what was found."""

import numpy
import pytest
import torch

import minibert
from minibert import BertConfig, BertForMultipleChoice, BertForQuestionAnswering, BertModel, ConfigError, InputError
from minibert.inputs import explain_lookup_failure


@pytest.fixture(scope="module")
def model() -> BertModel:
    torch.manual_seed(0)
    return BertModel(
        BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=20,
        )
    ).eval()


IDS = torch.ones(2, 5, dtype=torch.long)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({}, "Give exactly one of input_ids and inputs_embeds; got neither."),
        ({"input_ids": IDS, "inputs_embeds": torch.zeros(2, 5, 16)}, "got both."),
        ({"input_ids": IDS[0]}, "input_ids has shape (5,), expected (B, T): batch, tokens. Add the batch dimension"),
        ({"input_ids": IDS.float()}, "input_ids is torch.float32, expected torch.int64"),
        ({"inputs_embeds": torch.zeros(2, 5, 8)}, "inputs_embeds has shape (2, 5, 8), expected (B, T, 16)"),
        (
            {"input_ids": torch.ones(1, 21, dtype=torch.long)},
            "The sequence has 21 tokens; this model has position embeddings for 20 (max_position_embeddings)",
        ),
        (
            {"input_ids": torch.tensor([[1, 2, 50, 3]])},
            "input_ids holds 50 at (0, 2); this model's are 0 to 49 (vocab_size is 50)",
        ),
        ({"input_ids": torch.tensor([[1, -1]])}, "input_ids holds -1 at (0, 1)"),
        (
            {"input_ids": IDS, "token_type_ids": IDS * 2},
            "token_type_ids holds 2 at (0, 0); this model's are 0 to 1 (type_vocab_size is 2)",
        ),
        (
            {"input_ids": IDS, "position_ids": IDS * 20},
            "position_ids holds 20 at (0, 0); this model's are 0 to 19 (max_position_embeddings is 20)",
        ),
        ({"input_ids": IDS, "token_type_ids": IDS[:, :4]}, "token_type_ids has shape (2, 4), expected (2, 5)"),
        ({"input_ids": IDS, "position_ids": torch.ones(3, 5).long()}, "position_ids has shape (3, 5), expected (2, 5)"),
        ({"input_ids": IDS, "attention_mask": torch.ones(2, 4)}, "attention_mask has shape (2, 4), expected (2, 5)"),
        ({"input_ids": IDS, "attention_mask": torch.ones(2, 5, 4)}, "attention_mask has shape (2, 5, 4)"),
        ({"input_ids": IDS, "attention_mask": torch.ones(2, 3, 5, 5)}, "or (2, 1 or 2, 5, 5)"),
        ({"input_ids": IDS, "attention_mask": torch.ones(5)}, "attention_mask has shape (5,)"),
        (
            {"input_ids": IDS, "attention_mask": torch.ones(2, 1, 5, 5, dtype=torch.long)},
            "A 4-D attention_mask is taken as it is, so it must be boolean",
        ),
        ({"input_ids": IDS, "encoder_hidden_states": torch.zeros(1)}, "there is no cross-attention in an encoder"),
        ({"input_ids": IDS, "head_mask": torch.zeros(1)}, "forward() got head_mask=…"),
        ({"input_ids": IDS, "use_cache": True}, "has no cache of past tokens"),
        ({"input_ids": IDS, "inputs_id": IDS}, "forward() got inputs_id=…: it is not an argument"),
        ({"input_ids": [[1, 2]]}, "input_ids is a list, expected a tensor: torch.tensor(input_ids), or tokenize with"),
        (
            {"input_ids": numpy.ones((1, 2), dtype=int)},
            "input_ids is a numpy array, expected a tensor: torch.from_numpy",
        ),
        (
            {"input_ids": "a text"},
            "input_ids is text; tokenize it first: model(**tokenizer(text, return_tensors='pt'))",
        ),
        ({"input_ids": ["a text"]}, "input_ids is text; tokenize it first"),
        ({"input_ids": {"input_ids": IDS}}, "input_ids is a dict with the inputs by name; unpack it: model(**inputs)"),
        ({"input_ids": 7}, "input_ids is a int, expected a tensor"),
        ({"input_ids": IDS.to_sparse()}, "input_ids is a sparse_coo tensor, expected a dense one"),
        ({"input_ids": IDS.bool()}, "input_ids is torch.bool, expected torch.int64"),
        ({"input_ids": IDS[:, :0]}, "The sequence has no tokens; the shortest text has two, [CLS] and [SEP]"),
        ({"input_ids": IDS, "attention_mask": [[1] * 5] * 2}, "attention_mask is a list, expected a tensor"),
        ({"input_ids": IDS, "attention_mask": IDS[0]}, "attention_mask has shape (5,), expected (2, 5) for padding"),
        ({"input_ids": IDS, "token_type_ids": torch.tensor(0)}, "token_type_ids has shape (), expected (2, 5)"),
        ({"input_ids": IDS, "position_ids": IDS.float()}, "position_ids is torch.float32, expected torch.int64"),
        ({"inputs_embeds": torch.zeros(2, 5, 16).double()}, "inputs_embeds is torch.float64, the model torch.float32"),
        ({"inputs_embeds": torch.zeros(2, 5, 16).long()}, "inputs_embeds is torch.int64, expected vectors"),
        (
            {"input_ids": IDS, "attention_mask": torch.zeros(2, 1, 5, 5, dtype=torch.float64)},
            "it must have the model's dtype, torch.float32; found torch.float64",
        ),
        ({"input_ids": IDS, "output_attentions": "yes"}, "output_attentions is a str; expected True or False"),
        ({"input_ids": IDS, "return_dict": IDS}, "return_dict is a Tensor; expected True or False"),
        ({"input_ids": IDS, "labels": IDS}, "forward() got labels=…: this model has no loss; choose a head"),
        ({"input_ids": IDS, "num_items_in_batch": 3}, "this model has no loss to divide by it"),
        ({"input_ids": IDS, "cache_position": IDS}, "has no cache of past tokens"),
        ({"input_ids": IDS, "offset_mapping": IDS}, "it describes the text and is no input of the model"),
    ],
)
def test_the_sentence(model: BertModel, inputs: dict, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        model(**inputs)
    assert sentence in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_ids_are_not_scanned_when_they_are_good(model: BertModel, monkeypatch) -> None:
    """Bad ids are noticed by the embedding's own failure: the explanation is not computed on a good call."""

    def never(*_args: object) -> None:
        raise AssertionError("scanned")

    monkeypatch.setattr("minibert.model.explain_lookup_failure", never)
    model(IDS)


def test_arguments_of_other_berts_that_ask_for_nothing_pass(model: BertModel) -> None:
    plain = model(IDS).last_hidden_state
    assert torch.equal(model(IDS, head_mask=None, use_cache=False, past_key_values=None).last_hidden_state, plain)


def test_inputs_that_are_taken_as_they_are(model: BertModel) -> None:
    plain = model(IDS).last_hidden_state
    ones = torch.ones(2, 5)
    for mask in (ones.bool(), ones.int(), ones.half(), ones[:, None].expand(2, 5, 5), ones.bool()[:, None, None]):
        assert (model(IDS, mask).last_hidden_state - plain).abs().max() < 1e-6
    assert torch.equal(model(IDS, token_type_ids=torch.zeros(1, 5).long()).last_hidden_state, plain)
    assert model(IDS[:0]).last_hidden_state.shape == (0, 5, 16)  # no texts: no answers
    assert model(IDS, output_attentions=1, return_dict=0)[2][0].shape == (2, 2, 5, 5)
    bfloat16 = BertModel(model.config).to(torch.bfloat16)
    scores = torch.zeros(2, 1, 5, 5)
    with pytest.raises(InputError, match="it must have the model's dtype, torch.bfloat16"):
        bfloat16(IDS, scores)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(IDS, scores.bfloat16()).last_hidden_state.shape == (2, 5, 16)


def test_another_device_is_named_after_the_lookup_has_failed(model: BertModel) -> None:
    """Not before: whoever spreads a model over devices moves the inputs inside."""
    failure = RuntimeError("Expected all tensors to be on the same device")
    with pytest.raises(
        InputError, match=r"token_type_ids is on meta, the model on cpu\. Move the inputs: token_type_ids"
    ):
        explain_lookup_failure(model, failure, IDS, IDS.to("meta"), None, None)
    assert explain_lookup_failure(model, failure, IDS, None, None, None) is None


def test_a_failure_that_is_not_the_inputs_passes_through(model: BertModel) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("out of memory")

    handle = model.embeddings.LayerNorm.register_forward_hook(broken)
    try:
        with pytest.raises(RuntimeError, match="out of memory"):
            model(IDS)
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("bert-base-uncased", r"To load a checkpoint: BertModel\.from_pretrained\('bert-base-uncased'\)"),
        ({"hidden_size": 3}, r"config is a builtins\.dict, not ours\. Make one of it: minibert\.BertConfig\.from_dict"),
        (None, "config is a builtins.NoneType, not ours"),
    ],
)
def test_a_config_that_is_none(config: object, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        BertModel(config)


HEADS = [name for name in minibert.__all__ if name.startswith("BertFor")]


def test_fill_mask_with_either_pretraining_head_and_its_sentences() -> None:
    folder = str(minibert.__path__[0]) + "/goldens/random-bert"
    tokenizer = minibert.BertTokenizer.from_pretrained(folder)
    one, other = (getattr(minibert, name).from_pretrained(folder) for name in ("BertForMaskedLM", "BertForPreTraining"))
    text = "the [MASK] tree"
    assert minibert.fill_mask(one, tokenizer, text) == minibert.fill_mask(other, tokenizer, text)
    assert len(minibert.fill_mask(one, tokenizer, text, top_k=10**6)[0]) == one.config.vocab_size
    one.config.return_dict = False
    assert minibert.fill_mask(one, tokenizer, text) == minibert.fill_mask(other, tokenizer, text)
    for arguments, sentence in (
        ((one.bert, tokenizer, text), "needs a model with a vocabulary at its end"),
        ((one, None, text), "tokenizer is a NoneType"),
        ((one, tokenizer, [text]), "text is a list; expected one text"),
        ((one, tokenizer, text, 0), "top_k is 0; expected a whole number of at least 1"),
        ((one, tokenizer, text, 2.0), "top_k is 2.0"),
        ((one, tokenizer, "no gap"), r"The text has no \[MASK\]"),
    ):
        with pytest.raises(InputError, match=sentence):
            minibert.fill_mask(*arguments)


@pytest.mark.parametrize("name", ["BertModel", *HEADS])
def test_old_state_dicts_load_strictly(name: str, model: BertModel) -> None:
    """With the buffers of transformers up to 4.30, and with one name of a tied pair, as files have it."""
    torch.manual_seed(1)
    ours = getattr(minibert, name)(model.config)
    state = {key: torch.randn_like(value) for key, value in ours.state_dict().items()}
    for tied, source in ours.tied_names().items():
        state[tied] = state[source]
    prefix = "" if name == "BertModel" else "bert."
    old = state | {
        f"{prefix}embeddings.position_ids": torch.arange(20)[None],
        f"{prefix}embeddings.token_type_ids": torch.zeros(1, 20, dtype=torch.long),
    }
    keys = list(old)
    assert str(ours.load_state_dict(old, strict=True)) == "<All keys matched successfully>"
    assert list(old) == keys  # the caller's dict is left alone
    assert all(torch.equal(value, state[key]) for key, value in ours.state_dict().items())
    for tied, source in ours.tied_names().items():
        for one in (tied, source):
            ours.load_state_dict({key: value for key, value in state.items() if key != one}, strict=True)
            assert all(torch.equal(value, state[key]) for key, value in ours.state_dict().items())
        with pytest.raises(InputError, match="differ in this state dict, but the config says they are one tensor"):
            ours.load_state_dict(state | {tied: state[tied] + 1})
    for buffer, wrong, sentence in (
        ("position_ids", torch.arange(20).flip(0)[None], "position_ids is not 0, 1, 2, …"),
        ("position_ids", torch.arange(2, 22)[None], "position_ids is not 0, 1, 2, …"),
        ("token_type_ids", torch.ones(1, 20), "token_type_ids is not all 0"),
    ):
        with pytest.raises(InputError, match=sentence):
            ours.load_state_dict(old | {f"{prefix}embeddings.{buffer}": wrong})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        ours.load_state_dict(state | {"nonsense": torch.ones(1)})
    assert ours.load_state_dict(old | {"nonsense": torch.ones(1)}, strict=False).unexpected_keys == ["nonsense"]
    inside = torch.nn.ModuleDict({"model": ours})  # within another module, too
    inside.load_state_dict({f"model.{key}": value for key, value in old.items()}, strict=True)


def test_positions_may_be_shared_by_the_batch_and_int32(model: BertModel) -> None:
    plain = model(IDS).last_hidden_state
    assert torch.equal(model(IDS.int(), position_ids=torch.arange(5)[None]).last_hidden_state, plain)


def test_an_all_ones_mask_is_dropped(model: BertModel) -> None:
    assert torch.equal(model(IDS, torch.ones(2, 5)).last_hidden_state, model(IDS).last_hidden_state)


def test_multiple_choice_wants_choices() -> None:
    settings = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    with pytest.raises(InputError, match=r"reads input_ids \(B, C, T\).*found shape \(2, 5\)"):
        BertForMultipleChoice(BertConfig(**settings))(IDS)
    with pytest.raises(ConfigError, match="num_labels is 3; question answering has 2 scores"):
        BertForQuestionAnswering(BertConfig(**settings, num_labels=3))
