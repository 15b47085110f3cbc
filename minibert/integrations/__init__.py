"""minibert inside engines that share work among processes and machines; no engine is imported before it is used.

``batches.py`` is what they have in common: the texts of a column in, their vectors out.  ``ray.py`` is for Ray Data,
``spark.py`` for Spark, ``datasets.py`` for the library datasets.
"""
