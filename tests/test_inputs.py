"""Inputs that do not fit: each has its sentence, with the limit and what was found."""

import pytest
import torch

from minibert import BertConfig, BertForMultipleChoice, BertForQuestionAnswering, BertModel, ConfigError, InputError


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
