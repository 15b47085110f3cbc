"""What the answers of lesson 6 are held to: vectors for words and sentences, computed with the model itself."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from minibert.embedding import Embedder, word_similarity
from minibert.model import BertModel
from minibert.tokenizer import BatchEncoding, BertTokenizer

BOAT, PEAR = "나는 배를 타고 여행을 간다.", "추석에 먹은 배가 맛있었다."
SENSES = (
    (BOAT, "그는 배를 타고 섬에 갔다.", "선장은 배에 올랐다.", "바다에 배가 떠 있다.", "배가 항구를 떠났다."),
    (PEAR, "사과와 배를 먹었다.", "나는 배를 깎아 먹었다.", "달콤한 배를 샀다.", "배를 한 개 먹었다."),
    ("나는 배가 고프다.", "배가 아파서 병원에 갔다.", "너무 웃어서 배가 아프다.", "배가 불러서 못 먹겠다.",
     "배를 따뜻하게 해라."),
)  # fmt: skip
BATCH = (
    "The weather is lovely today.", "오늘은 날씨가 정말 좋다.", "今天天气很好。",
    "This film was boring.", "이 영화는 지루했다.", "这部电影很无聊。",
    "The file could not be saved.", "파일을 저장할 수 없습니다.", "无法保存文件。",
    "Click the button to close the window.", "단추를 눌러 창을 닫으십시오.", "单击按钮关闭窗口。",
    "The story moved me to tears.", "이야기가 감동적이어서 눈물이 났다.", "这个故事让我感动得流泪。",
    "My mother is in the kitchen.", "어머니는 부엌에 계신다.", "我母亲在厨房里。",
    "The moon is bright tonight.", "오늘 밤 달이 밝다.", "今晚月亮很亮。",
    "Enter your name and password.", "이름과 암호를 입력하십시오.", "请输入用户名和密码。",
)  # fmt: skip


@cache
def demo() -> tuple[BertTokenizer, BertModel]:
    """The tokenizer and the model of the lesson."""
    return BertTokenizer.from_pretrained("minibert-demo"), BertModel.from_pretrained("minibert-demo")


@torch.no_grad()
def hidden_states_of(texts: str | list[str]) -> tuple[BatchEncoding, tuple[Tensor, ...], Tensor]:
    """The batch, its L + 1 hidden states (B, T, H) and the pooler's output (B, H)."""
    tokenizer, model = demo()
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    outputs = model(**batch, output_hidden_states=True, return_dict=True)
    assert not isinstance(outputs, tuple)
    assert outputs.hidden_states is not None and outputs.pooler_output is not None
    return batch, outputs.hidden_states, outputs.pooler_output


def same(answer: Any, value: Tensor) -> bool:
    """Whether an answer has the shape and, but for rounding, the values."""
    return answer.shape == value.shape and torch.allclose(answer.double(), value.double(), rtol=1e-4, atol=1e-5)


def first_that_matches(answer: Any, known: dict[str, list[Tensor]]) -> str:
    """The key of the first value that the answer is; ``other`` if it is none."""
    return next((key for key, values in known.items() if any(same(answer, value) for value in values)), "other")


def stack(answer: Any) -> str:
    """(L + 1, H): 배 in the sentence with the pear."""
    _, hidden_states, _ = hidden_states_of(PEAR)
    stacked = torch.stack(hidden_states)[:, 0]  # (L + 1, T, H)
    states, T, H = stacked.shape
    known = {
        "right": [stacked[:, 6]],
        "batch": [stacked[:, None, 6], stacked[None, :, 6]],
        "place": list(stacked.unbind(dim=1)),
        "layer": list(stacked.unbind(dim=0)),
        "view": [stacked.reshape(T, states, H)[6]],
    }
    return first_that_matches(answer, known)


def shift(answer: Any) -> str:
    """From position 2 to position 6."""
    return {4: "right", 6: "place", -4: "backwards", 2: "place"}.get(int(answer), "other")


def belly(answer: Any) -> str:
    """Places of 배 whose nearest neighbour has their sense: last hidden state, positions matched."""
    if isinstance(answer, list):
        return "list"
    tokenizer, model = demo()
    sense = torch.arange(3).repeat_interleave(5)
    texts = [text for texts in SENSES for text in texts]
    counts = {}
    for matched in (True, False):
        found = word_similarity(Embedder(model, tokenizer), "배", texts, match_positions=matched)
        counts[matched] = int((sense[found.matrix(-1).fill_diagonal_(-1).argmax(dim=1)] == sense).sum())
    known = {len(sense): "itself", counts[False]: "written", counts[True]: "right"}
    return known.get(int(answer), "other")


def concat(answer: Any) -> str:
    """(T, 4 · H): the last four hidden states of the sentence with the pear, side by side."""
    _, hidden_states, _ = hidden_states_of(PEAR)
    states = [state[0] for state in hidden_states]
    last_four, first_four = states[-4:], states[:4]
    side_by_side = torch.cat(last_four, dim=-1)
    known = {
        "right": [side_by_side, torch.cat(last_four[::-1], dim=-1)],
        "batch": [side_by_side[None]],
        "tokens": [torch.cat(last_four, dim=0), torch.cat(last_four, dim=0)[None]],
        "sum": [torch.stack(last_four).sum(dim=0), torch.stack(last_four).sum(dim=0)[None]],
        "embeddings": [torch.cat(first_four, dim=-1), torch.cat(first_four, dim=-1)[None]],
        "all": [torch.cat(states, dim=-1), torch.cat(states, dim=-1)[None]],
    }
    return first_that_matches(answer, known)


def mean(answer: Any) -> str:
    """(B, H): the mean of the tokens that are not padding."""
    batch, hidden_states, pooler_output = hidden_states_of(list(BATCH))
    last = hidden_states[-1]
    mask = batch["attention_mask"][:, :, None].to(last)  # (B, T, 1)
    total, count = (last * mask).sum(dim=1), mask.sum(dim=1)
    ends = last[:, 0] + last[torch.arange(len(last)), count[:, 0].long() - 1]  # [CLS] and [SEP]
    known = {
        "right": [total / count],
        "padding": [last.mean(dim=1)],
        "count": [total / last.shape[1]],
        "sum": [total],
        "words": [(total - ends) / (count - 2)],
        "cls": [last[:, 0], pooler_output],
    }
    return first_that_matches(answer, known)
