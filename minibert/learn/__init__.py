"""The course: ten lessons in English, Korean and Chinese, with exercises that check themselves, and the workbook.

``lesson.py`` reads a lesson from its folder in ``lessons/``; ``notebook.py`` and ``text.py`` write it as a notebook and
for the terminal.  ``workbook/`` is the other half: the reader writes BERT and is told what is wrong.
"""

from minibert.learn.lesson import Cell, Exercise, Lesson, Prose, lesson_model, lesson_numbers, open_lesson
from minibert.learn.notebook import to_notebook
from minibert.learn.text import to_text

__all__ = [
    "Cell",
    "Exercise",
    "Lesson",
    "Prose",
    "lesson_model",
    "lesson_numbers",
    "open_lesson",
    "to_notebook",
    "to_text",
]
