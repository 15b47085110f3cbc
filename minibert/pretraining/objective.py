"""The sum of both pre-training losses (paper, sections 3.1 and A.2).

Only the masked positions, a seventh of all, go through the projection to the vocabulary, as in Google's
run_pretraining.py (gather_indexes).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.heads import BertForPreTraining, BertPreTrainingHeads
from minibert.pretraining.masking import NOT_ASKED
from minibert.pretraining.pairs import NEITHER
from minibert.training.examples import Batch
from minibert.training.objective import Objective


class Pretraining(Objective):
    """Masked language modelling and next-sentence prediction."""

    model: BertForPreTraining

    def __init__(self, model: BertForPreTraining, *, gather: bool = True) -> None:
        """``gather=False`` projects every position to the vocabulary, as the paper reads; the losses are the same."""
        super().__init__(model)
        self.gather = gather

    def counts(self, batch: Batch) -> dict[str, int]:
        """Pieces to be guessed, and pairs to be told."""
        return {
            "mlm": int((batch["labels"] != NOT_ASKED).sum()),
            "nsp": int((batch["next_sentence_label"] != NEITHER).sum()),
        }

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The summed cross-entropy of both tasks, in nats."""
        outputs = self.model.bert(batch["input_ids"], batch.get("attention_mask"), batch["token_type_ids"])
        hidden_states = outputs.last_hidden_state.flatten(0, 1)  # (B · T, H)
        labels = batch["labels"].flatten()  # (B · T,)
        if self.gather:
            asked = (labels != NOT_ASKED).nonzero()[:, 0]
            hidden_states, labels = hidden_states[asked], labels[asked]
        heads = heads_of(self.model)
        return {
            "mlm": summed(heads.predictions(hidden_states), labels),
            "nsp": summed(heads.seq_relationship(outputs.pooler_output), batch["next_sentence_label"]),
        }


def heads_of(model: BertForPreTraining) -> BertPreTrainingHeads:
    """Both heads."""
    assert isinstance(model.cls, BertPreTrainingHeads)
    return model.cls


def summed(logits: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy of (n, classes) against (n,), summed over those that are asked for; never in half precision."""
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    return F.cross_entropy(logits, labels, ignore_index=NOT_ASKED, reduction="sum")
