"""Fine-tuning: a small module on top of a checkpoint, trained for a task (paper, section 4), and used on real text.

Six tasks, one file each: ``classify.py``, ``score.py``, ``entities.py``, ``answers.py``, ``choice.py``,
``embeddings.py``.  Start with ``run.py``; ``task.py`` says what a task is, ``predict.py`` uses a fine-tuned model, and
``evaluation.py`` scores one on test data.
"""

from minibert.finetuning.answers import Answers
from minibert.finetuning.choice import MultipleChoice
from minibert.finetuning.classify import Classify, MultiLabel
from minibert.finetuning.comparison import Comparison, compare
from minibert.finetuning.embeddings import Embeddings
from minibert.finetuning.entities import Entities
from minibert.finetuning.evaluation import Evaluation, evaluate
from minibert.finetuning.lora import Lora
from minibert.finetuning.pictures import draw_evaluation
from minibert.finetuning.predict import Predictor
from minibert.finetuning.run import TASKS, Finetuned, finetune, task_of
from minibert.finetuning.score import Score
from minibert.finetuning.seeds import Seeds, finetune_seeds
from minibert.finetuning.task import Task

__all__ = [
    "TASKS", "Answers", "Classify", "Comparison", "Embeddings", "Entities", "Evaluation", "Finetuned", "Lora",
    "MultiLabel", "MultipleChoice", "Predictor", "Score", "Seeds", "Task", "compare", "draw_evaluation", "evaluate",
    "finetune", "finetune_seeds", "task_of",
]  # fmt: skip
