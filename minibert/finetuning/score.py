"""A number for each text or pair of texts, such as the similarity of two sentences or the stars of a review."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from minibert.config import BertConfig
from minibert.data.cells import Cells, number_in
from minibert.errors import InputError
from minibert.finetuning.crossencoder import activate, activation_settings
from minibert.finetuning.labels import label_settings
from minibert.finetuning.outcomes import NumberOutcome
from minibert.finetuning.task import Predictions
from minibert.finetuning.texts import LabelledText, TextExamples, TextOrPair, TextTask, logits_of
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer

NUMBERS = ("score", "label", "similarity", "rating", "target")


class ScorePrediction(NamedTuple):
    """The number for a text or a pair."""

    score: float


@dataclass(frozen=True)
class Score(TextTask):
    """Texts or pairs of texts, each with a number."""

    name: ClassVar[str] = "score"
    main_score: ClassVar[str] = "pearson"
    libraries: ClassVar[tuple[tuple[str, str], ...]] = (("scipy.stats", "scipy"),)
    usual_labels: ClassVar[tuple[str, ...]] = NUMBERS
    predicted: ClassVar[tuple[str, ...]] = ("score",)

    def label(self, cells: Cells, name: str, known: Sequence[str] | None) -> float:
        return number_in(cells, name)

    def check(self, rows: Sequence[LabelledText], path: Path, column: str) -> None:
        if len({row.label for row in rows}) == 1:
            raise InputError(
                f"{path}: all {len(rows):,} rows have {rows[0].label} in {column!r}; there is nothing to learn."
            )

    def settings(self, rows: Sequence[LabelledText]) -> dict[str, Any]:
        """One label, whose logit is the number; sentence-transformers is told to apply no activation."""
        return {"problem_type": "regression", **label_settings(["score"]), **activation_settings("Identity")}

    def targets(self, rows: Sequence[LabelledText], config: BertConfig) -> list[float]:
        return [float(row.label) for row in rows]

    def outcome(self, model: BertPreTrainedModel, examples: TextExamples) -> NumberOutcome:
        logits = logits_of(model, examples.rows, examples.pad_id, "evaluating")
        return NumberOutcome(examples.labels, self.numbers(logits))

    def numbers(self, logits: Tensor) -> list[float]:
        """The predictions, from (texts, 1) logits."""
        numbers: list[float] = activate(self.activation or "Identity", logits).squeeze(-1).tolist()
        return numbers

    def predict(self, model: BertPreTrainedModel, tokenizer: BertTokenizer, items: Sequence[TextOrPair]) -> Predictions:
        logits, cut = self.logits_for(model, tokenizer, items)
        return [ScorePrediction(score) for score in self.numbers(logits)], cut
