"""Corpora: from a file of texts to a folder of numbered shards of vectors, and search for the nearest texts in it.

Start with ``run.py``.  ``shards.py`` and ``manifest.py`` describe the files in the folder, ``vector_format.py`` and
``sample.py`` vectors that are not float32, ``search.py`` searches them; ``minibert/data/`` reads the input.
"""

from minibert.corpus.run import CorpusReport, embed_corpus
from minibert.corpus.search import Hit, nearest

__all__ = ["CorpusReport", "Hit", "embed_corpus", "nearest"]
