"""Export with proof: a model as a file for another runtime, compared with the model before it is written.

``exporting.py`` is the order of work: ``subject.py`` loads, ``formats.py`` writes, ``runtimes.py`` runs,
``proof.py`` compares on the nine kinds of input of ``kinds.py`` with what ``right.py`` computes, ``refusal.py`` says
why there is no file, ``card.py`` writes the card, ``folder.py`` the files that loaders
look for beside a graph.  ``sentence.py`` is the graph of a text's vector; the others are in
minibert/graphs.  Start with :func:`export_model`.
"""

from minibert.export.exporting import export_model
from minibert.export.kinds import nine_kinds
from minibert.export.proof import CosineLoss, LargestDifference, Measured, Proof, prove
from minibert.export.refusal import Reason
from minibert.export.report import ExportReport
from minibert.export.right import right_values
from minibert.export.sentence import Sentence

__all__ = [
    "CosineLoss",
    "ExportReport",
    "LargestDifference",
    "Measured",
    "Proof",
    "Reason",
    "Sentence",
    "export_model",
    "nine_kinds",
    "prove",
    "right_values",
]
