"""Fine-tuning: a small module on top of a checkpoint, trained for a task (paper, section 4), and used on real text.

Four tasks: ``classify`` and ``score`` texts or pairs of them, label ``entities``, find ``answers``.  Start with
``run.py``, the whole story in a page; each task is a file (``texts.py``, ``multilabel.py`` for texts with several
labels, ``entities.py``, ``answers.py``).
"""

from minibert.finetuning.multilabel import MultiLabel
from minibert.finetuning.predict import Predictor
from minibert.finetuning.run import TASKS, Finetuned, finetune, task_of
from minibert.finetuning.task import Task

__all__ = ["TASKS", "Finetuned", "MultiLabel", "Predictor", "Task", "finetune", "task_of"]
