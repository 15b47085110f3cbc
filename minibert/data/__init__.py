"""Files of data, read into rows: .txt, .csv, .tsv, .jsonl, .parquet, CoNLL's columns, SQuAD's JSON.

Start with ``rows.py``: a file is a stream of rows, and a bad row is one sentence that names its line.  ``formats.py``
says which endings are read for what, ``opening.py`` chooses the reader, ``cells.py`` and ``labels.py`` check one value,
``columns.py`` finds the columns that a task needs.  ``questions.py``, ``sentences.py`` and ``spans.py`` read what
fine-tuning learns answers and entities from.
"""
