"""Corpora: from files of texts to a folder of numbered shards of vectors, and search for the nearest texts in it.

Start with ``run.py``.  ``plan.py`` reads the input once (``planning.py``) and says which rows a shard has;
``closing.py`` closes the manifest.  ``shards.py``, ``pieces.py`` and ``manifest.py`` describe the files in the folder,
``folder.py`` is the folder, ``inputs.py`` the input, ``model.py`` the model.  ``vector_format.py`` and ``sample.py``
are about vectors that are not float32; ``search.py`` searches, ``index.py``
makes the index for large corpora; ``minibert/data/`` reads files.
"""

from minibert.corpus.approximate import IndexReport
from minibert.corpus.closing import finish
from minibert.corpus.index import index_corpus
from minibert.corpus.plan import Plan, plan_corpus
from minibert.corpus.report import CorpusReport, FailedShard, ShardProgress, ShardsReport
from minibert.corpus.run import embed_corpus, embed_shards
from minibert.corpus.search import Hit, nearest

__all__ = [
    "CorpusReport",
    "FailedShard",
    "Hit",
    "IndexReport",
    "Plan",
    "ShardProgress",
    "ShardsReport",
    "embed_corpus",
    "embed_shards",
    "finish",
    "index_corpus",
    "nearest",
    "plan_corpus",
]
