"""The workbook: the reader writes BERT and is told, at each step, the first value that is wrong and why.

``folder.py`` writes the folder from ``reference.py``, the teacher's copy.  ``checking.py`` checks what the reader has
written: ``child.py`` runs it in a process of its own, ``judge.py`` says what is wrong.  The inputs of each step and its
known mistakes are in ``model_steps.py`` (those of minibert.verify), ``text_steps.py``, ``training_steps.py``,
``masking_step.py`` and ``checkpoint_steps.py``; the words in ``texts/``.
"""

from minibert.learn.workbook.checking import check
from minibert.learn.workbook.folder import build, language_of
from minibert.learn.workbook.report import Report
from minibert.learn.workbook.steps import NAMES, STEPS
from minibert.learn.workbook.verdict import Verdict

__all__ = ["NAMES", "STEPS", "Report", "Verdict", "build", "check", "language_of"]
