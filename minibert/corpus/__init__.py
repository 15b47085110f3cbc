"""Whole corpora: a file of texts in, a folder of numbered shards of vectors out, and the nearest texts from it.

Start with ``run.py``.  ``shards.py`` and ``manifest.py`` say what lies in the folder, ``search.py`` answers from it;
``minibert/data/`` reads the input.
"""

from minibert.corpus.run import CorpusReport, embed_corpus
from minibert.corpus.search import Hit, nearest

__all__ = ["CorpusReport", "Hit", "embed_corpus", "nearest"]
