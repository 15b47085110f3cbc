"""The pre-training objective: masked language modelling plus next-sentence prediction (paper, sections 3.1 and A.2).

Only the masked positions, a seventh of all, are projected to the vocabulary, as in Google's run_pretraining.py
(gather_indexes).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.heads import BertForPreTraining, BertPreTrainingHeads
from minibert.losses import IGNORE_INDEX
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
        """The numbers of masked pieces and of labelled pairs."""
        return {
            "mlm": int((batch["labels"] != IGNORE_INDEX).sum()),
            "nsp": int((batch["next_sentence_label"] != IGNORE_INDEX).sum()),
        }

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The summed cross-entropy of both tasks, in nats."""
        outputs = self.model.bert(batch["input_ids"], batch.get("attention_mask"), batch["token_type_ids"])
        hidden_states = outputs.last_hidden_state.flatten(0, 1)  # (B · T, H)
        labels = batch["labels"].flatten()  # (B · T,)
        if self.gather:
            masked = (labels != IGNORE_INDEX).nonzero()[:, 0]
            hidden_states, labels = hidden_states[masked], labels[masked]
        heads = heads_of(self.model)
        return {
            "mlm": summed_cross_entropy(heads.predictions(hidden_states), labels),
            "nsp": summed_cross_entropy(heads.seq_relationship(outputs.pooler_output), batch["next_sentence_label"]),
        }


def heads_of(model: BertForPreTraining) -> BertPreTrainingHeads:
    """The MLM and the NSP head."""
    assert isinstance(model.cls, BertPreTrainingHeads)
    return model.cls


def summed_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The summed cross-entropy of (n, classes) against (n,) labels, in float32 also where the logits are narrower."""
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    return F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="sum")
