"""What the answers of lesson 9 are held to: noise, its limit and heads, computed with the model itself."""

from functools import cache
from math import isclose
from typing import Any

import torch
from torch import Tensor

from minibert.heads import BertForMaskedLM
from minibert.lens import ablate_heads, edit, jacobian_block, sensitivity
from minibert.model import BertModel
from minibert.outputs import BertModelOutput, HeadOutput
from minibert.tokenizer import BatchEncoding, BertTokenizer

TEXT, NEW, YORK = "She moved from New York to San Francisco, and never came back.", 4, 5
LAST = "encoder.layer.3"
LINES = {
    "보는 내내 [MASK] 났다.": "눈물이",
    "가족과 [MASK] 보기 좋은 영화": "함께",
    "스토리가 [MASK] 지루했어요.": "너무",
    "다시 [MASK] 싶은 영화.": "보고",
    "He opened the [MASK] and went in.": "door",
    "She was very [MASK] to see him.": "happy",
    "Click the [MASK] button to close the window.": "window",
    '"I do not [MASK] what you mean," said she.': "know",
    "您可以选[MASK]一个文件。": "择",
    "打开一个新的文[MASK]。": "档",
    "在窗[MASK]的右边有一个按钮。": "口",
    "打[MASK]机没有纸了。": "印",
}


@cache
def demo() -> tuple[BertTokenizer, BertModel, BatchEncoding]:
    """The tokenizer, the model and the sentence of the lesson."""
    tokenizer = BertTokenizer.from_pretrained("minibert-demo")
    return tokenizer, BertModel.from_pretrained("minibert-demo"), tokenizer(TEXT, return_tensors="pt")


@torch.no_grad()
def reach(answer: Any) -> str:
    """How many tokens have changed after one layer: all of them."""
    _, model, inputs = demo()
    noise = torch.zeros(model.config.hidden_size)
    noise[0] = 1.0
    states = []
    for size in (0.0, 1.0):
        place = torch.nn.functional.one_hot(torch.tensor(YORK), inputs["input_ids"].shape[1])[:, None]  # (T, 1)
        with edit(model, "embeddings", lambda value, step=size * noise, at=place: value + at * step):
            outputs = model(**inputs, output_hidden_states=True, return_dict=True)
        assert isinstance(outputs, BertModelOutput) and outputs.hidden_states is not None
        states.append(outputs.hidden_states[1][0])
    count = int(((states[1] - states[0]).norm(dim=-1) > 0).sum())
    return {1: "itself", 2: "near", 3: "near", 5: "near", count - 2: "special", count: "right"}.get(
        int(answer), "other"
    )


@cache
def responses() -> tuple[float, ...]:
    """The change of a token in the last layer per unit of noise at the input of each layer."""
    _, model, inputs = demo()
    starts = ["embeddings", *(f"encoder.layer.{k}" for k in range(3))]
    maps = [
        sensitivity(model, inputs, std=0.1, samples=4, at=each, points=LAST, progress=False).maps for each in starts
    ]
    return tuple(each[0].diagonal().mean().item() for each in maps)


def afresh(answer: Any) -> str:
    """Independent changes add up in their squares."""
    response = responses()
    squares = sum(each**2 for each in response)
    known = {
        "right": squares**0.5,
        "same": sum(response),
        "squares": squares,
        "mean": sum(response) / len(response),
        "root": (squares / len(response)) ** 0.5,
    }
    return nearest(answer, known)


def norm(answer: Any) -> str:
    """‖∂h_j/∂h_i‖_F / √H."""
    _, model, inputs = demo()
    block = jacobian_block(model, inputs, "embeddings", YORK, LAST, NEW, dtype=None)
    H = len(block)
    known = {
        "right": block.norm().item() / H**0.5,
        "frobenius": block.norm().item(),
        "h": block.norm().item() / H,
        "spectral": torch.linalg.matrix_norm(block, 2).item(),
    }
    return nearest(answer, known)


def nearest(answer: Any, known: dict[str, float]) -> str:
    """The key of the number that an answer is, within 1 %."""
    return next((key for key, value in known.items() if isclose(float(answer), value, rel_tol=0.01)), "other")


@torch.no_grad()
def neighbour(answer: Any) -> str:
    """The head of layer 1 that looks at the next token."""
    _, model, inputs = demo()
    outputs = model(**inputs, output_attentions=True, return_dict=True)
    assert isinstance(outputs, BertModelOutput) and outputs.attentions is not None
    heads = outputs.attentions[0][0]  # (N, T, T)
    best = {shift: int(heads.diagonal(shift, 1, 2).mean(dim=1).argmax()) for shift in (-1, 0, 1)}
    known = {best[1] + 1: "from-one", best[0]: "itself", best[-1]: "previous", best[1]: "right"}
    return known.get(int(answer), "other")


@cache
def heads_table() -> Tensor:
    """(L, N): the change of the words' mean log-probability without each head."""
    tokenizer, model = demo()[0], BertForMaskedLM.from_pretrained("minibert-demo")
    batch = tokenizer(list(LINES), padding=True, return_tensors="pt")
    rows, columns = (batch["input_ids"] == tokenizer.mask_token_id).nonzero(as_tuple=True)
    expected = torch.tensor(tokenizer.convert_tokens_to_ids(list(LINES.values())))

    def metric(outputs: HeadOutput) -> Tensor:
        assert outputs.logits is not None
        return outputs.logits[rows, columns].log_softmax(dim=-1)[rows, expected].mean()

    return ablate_heads(model, batch, metric)


def head(answer: Any) -> str:
    """The head without which the words lose most."""
    layer, number = (int(each) for each in answer)
    table = heads_table()
    worst, best = (divmod(int(place), table.shape[1]) for place in (table.argmin(), table.argmax()))
    least = divmod(int(table.abs().argmin()), table.shape[1])
    known = {(worst[0] + 1, worst[1] + 1): "from-one", least: "least", best: "largest", worst: "right"}
    return known.get((layer, number), "other")
