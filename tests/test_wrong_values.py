"""Public signatures of the model and the heads with values nobody should hand them: an answer, or a sentence of ours.

The values are drawn with a seed from one list: other types, dtypes, shapes, devices and ranges.  Whatever comes back is
an output or a MinibertError; no other exception, whichever argument it was.
"""

import inspect
import random
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import minibert
from minibert import MinibertError
from tests.support.small_models import ALL

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 20,
}
RANDOM_BERT = Path(minibert.__file__).parent / "goldens" / "random-bert"
FOREIGN = (  # arguments of transformers' forwards, of its trainers and of what tokenizers return
    "head_mask",
    "encoder_hidden_states",
    "encoder_attention_mask",
    "past_key_values",
    "use_cache",
    "cache_position",
    "num_items_in_batch",
    "labels",
    "next_sentence_label",
    "start_positions",
    "offset_mapping",
    "special_tokens_mask",
    "return_loss",
)


def values() -> list[Any]:
    """Everything that is handed about: fresh each time, since some are changed by use."""
    ids = torch.randint(50, (2, 5))
    dtypes = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.bool, torch.float16, torch.bfloat16)
    shapes = ((), (0,), (2,), (5,), (2, 0), (0, 5), (2, 1), (5, 2), (2, 5, 16), (2, 3, 5), (2, 1, 5, 5), (2, 2, 5, 5))
    return [
        None, True, False, 0, -1, 7, 10**30, 1.5, float("nan"), "text", b"bytes", "", [], [1, 2], [[1, 2], [3, 4]],
        ["a", "b"], (), (1, 2), {}, {"input_ids": ids}, {1, 2}, object(), Ellipsis, print, torch, torch.float16,
        numpy.ones((2, 5), dtype=numpy.int64), numpy.float32(1.5), numpy.bool_(True),
        minibert.BertConfig(**SMALL), torch.nn.Linear(16, 50), torch.nn.Linear(16, 50, bias=False),
        torch.nn.Embedding(50, 16), torch.nn.Identity(), torch.Generator(),
        ids, ids * 0 + 50, ids * 0 - 1, ids * 0 - 100, ids * 0 + 10**12, ids.double(), ids.to(torch.complex64),
        ids.to("meta"), ids.to_sparse(), ids.T.contiguous().T, torch.full((2, 5), float("nan")),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), torch.ones(2, 21, dtype=torch.long),
        torch.tensor([0, 1]), torch.tensor([0.0, 1.0]), torch.tensor([1, -100]), torch.tensor([-100, -100]),
        torch.randn(2, 5, 16), torch.randn(2, 5, 16, dtype=torch.float64), torch.randn(2, 5, 16).half(),
        *(ids.to(dtype) for dtype in dtypes),
        *(torch.zeros(shape) for shape in shapes),
        *(torch.zeros(shape, dtype=torch.long) for shape in shapes),
    ]  # fmt: skip


def good_inputs(name: str) -> dict[str, Any]:
    ids = torch.randint(50, (2, 3, 5) if name == "BertForMultipleChoice" else (2, 5))
    return {"input_ids": ids}


def answer(call: Any, *arguments: Any, **options: Any) -> str:
    """What came of it; any exception but ours goes through, with what was handed over."""
    try:
        call(*arguments, **options)
    except MinibertError as error:
        assert len(str(error)) > 20
        assert "\n" not in str(error).strip()
        return "sentence"
    except Exception as error:
        raise AssertionError(f"{call} of {arguments!r} {options!r}: {type(error).__name__}: {error}") from error
    return "value"


@pytest.mark.parametrize("name", ALL)
def test_forward(name: str) -> None:
    """Each argument with each value, and 150 draws of two arguments at once."""
    torch.manual_seed(0)
    model = getattr(minibert, name)(minibert.BertConfig(**SMALL))
    parameters = inspect.signature(model.forward).parameters
    arguments = [name for name, p in parameters.items() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    arguments += [name for name in (*FOREIGN, "output_attentions", "return_dict") if name not in arguments]
    came_of_it = {"value": 0, "sentence": 0}
    for argument in arguments:
        for value in values():
            came_of_it[answer(model, **(good_inputs(name) | {argument: value}))] += 1
    draw = random.Random(7)
    for _ in range(150):
        chosen = {argument: draw.choice(values()) for argument in draw.sample(arguments, 2)}
        came_of_it[answer(model, **(good_inputs(name) | chosen))] += 1
    assert came_of_it["value"] > 50
    assert came_of_it["sentence"] > 500
    assert answer(model, *([None] * 5)) == "sentence"


@pytest.mark.parametrize("problem", ["regression", "single_label_classification", "multi_label_classification", None])
@pytest.mark.parametrize("num_labels", [1, 3])
def test_labels_of_a_classifier(problem: str | None, num_labels: int) -> None:
    model = minibert.BertForSequenceClassification(
        minibert.BertConfig(**SMALL, num_labels=num_labels, problem_type=problem)
    )
    found = [answer(model, labels=value, **good_inputs("")) for value in values()]
    found += [
        answer(model, labels=torch.tensor([0, 1]), num_items_in_batch=value, **good_inputs("")) for value in values()
    ]
    assert {"value", "sentence"} == set(found)


METHODS = {
    "resize_token_embeddings": ("new_num_tokens", "pad_to_multiple_of"),
    "set_input_embeddings": ("value",),
    "set_output_embeddings": ("new_embeddings",),
    "set_attn_implementation": ("name",),
    "gradient_checkpointing_enable": ("gradient_checkpointing_kwargs", "every_n_layers", "offload"),
    "num_parameters": ("only_trainable", "exclude_embeddings"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM"])
def test_methods(name: str, method: str) -> None:
    for argument in METHODS[method]:
        for value in values():
            model = getattr(minibert, name)(minibert.BertConfig(**SMALL))
            answer(getattr(model, method), **{argument: value})


def test_constructors() -> None:
    for value in values():
        answer(minibert.BertConfig.from_dict, value)
        for name in ALL:
            answer(getattr(minibert, name), value)
            answer(getattr(minibert, name).from_config, value)
        for setting in (*SMALL, "hidden_act", "layer_norm_eps", "attn_implementation", "num_labels", "problem_type"):
            answer(
                lambda setting=setting, value=value: minibert.BertModel(minibert.BertConfig(**SMALL | {setting: value}))
            )


def test_fill_mask() -> None:
    model = minibert.BertForMaskedLM.from_pretrained(RANDOM_BERT)
    tokenizer = minibert.BertTokenizer.from_pretrained(RANDOM_BERT)
    good = {"model": model, "tokenizer": tokenizer, "text": "the [MASK]", "top_k": 2}
    for argument in good:
        for value in values():
            answer(minibert.fill_mask, **(good | {argument: value}))


def test_saving() -> None:
    model = minibert.BertModel(minibert.BertConfig(**SMALL))
    for value in values():
        for option in ("state_dict", "safe_serialization", "max_shard_size", "push_to_hub", "variant"):
            answer(model.save_pretrained, "/nonexistent\0", **{option: value})
