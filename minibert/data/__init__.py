"""Files of data, read into rows: .txt, .csv, .tsv, .jsonl, .parquet, CoNLL's columns, SQuAD's JSON.

Start with ``rows.py``: a file is a stream of rows, and the error for a bad row names its line.  ``formats.py`` lists
the endings that are read for each use, ``opening.py`` selects the reader, ``columns.py`` finds the columns that a task
needs, ``cells.py`` and ``labels.py`` check single values.  ``questions.py``, ``sentences.py`` and ``spans.py`` read the
training data for answers and entities.

``find.py`` finds the files that a path, a folder, a glob or a URL names.  ``remote.py`` is a file elsewhere: on a web
server (``web.py``), or behind a driver of fsspec's (``stored.py``).
"""
