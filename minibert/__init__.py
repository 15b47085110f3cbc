"""minibert: BERT that a person can read in an afternoon.  Public names are added below as their rooms are built."""

__version__ = "0.1.0"
