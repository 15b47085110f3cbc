"""Examples and an objective small enough to train in milliseconds, with all that makes a real run difficult."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert import BertConfig, BertForPreTraining
from minibert.training.examples import Batch, example_steps, generator
from minibert.training.objective import Objective


class Toy:
    """Random ids with masks and pairs; some examples have no pair, and lengths differ."""

    def __init__(self, count: int = 40, size: int = 8, seed: int = 0, longest: int = 20) -> None:
        draw = generator(seed, count)
        self.size, self.seed = size, seed
        self.lengths = torch.randint(4, longest + 1, (count,), generator=draw).tolist()
        self.ids = [torch.randint(5, 46, (length,), generator=draw) for length in self.lengths]
        self.nsp = torch.randint(0, 3, (count,), generator=draw).sub(1).tolist()  # -1: no pair

    def steps(self, epoch: int) -> list[list[int]]:
        return example_steps(len(self.ids), self.size, generator(self.seed, epoch))

    def collate(self, numbers: Sequence[int], epoch: int) -> Batch:
        width = max(self.lengths[number] for number in numbers)
        ids = torch.zeros(len(numbers), width, dtype=torch.long)
        labels = torch.full_like(ids, -100)
        for row, number in enumerate(numbers):
            length = self.lengths[number]
            ids[row, :length] = self.ids[number]
            chosen = torch.randperm(length, generator=generator(self.seed, epoch, number))[: max(1, length // 5)]
            labels[row, chosen] = ids[row, chosen]
            ids[row, chosen] = 4
        real = torch.tensor([self.lengths[number] for number in numbers])
        pairs = torch.tensor([self.nsp[number] for number in numbers])
        return {
            "input_ids": ids,
            "attention_mask": (torch.arange(width) < real[:, None]).long(),
            "labels": labels,
            "next_sentence_label": torch.where(pairs < 0, -100, pairs),
        }


class ToyObjective(Objective):
    """Both tasks of pre-training, written out."""

    def counts(self, batch: Batch) -> dict[str, int]:
        return {
            "mlm": int((batch["labels"] != -100).sum()),
            "nsp": int((batch["next_sentence_label"] != -100).sum()),
        }

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        output = self.model(batch["input_ids"], batch["attention_mask"])
        return {
            "mlm": F.cross_entropy(output.prediction_logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum"),
            "nsp": F.cross_entropy(output.seq_relationship_logits, batch["next_sentence_label"], reduction="sum"),
        }


def toy_model(seed: int = 0, dropout: float = 0.0, **settings: object) -> BertForPreTraining:
    torch.manual_seed(seed)
    small = {
        "vocab_size": 46, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
        "max_position_embeddings": 32, "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout,
    }  # fmt: skip
    return BertForPreTraining(BertConfig(**{**small, **settings}))


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def furthest(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)
