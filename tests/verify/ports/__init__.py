"""Four ports of BERT, written independently of minibert, each able to make known mistakes (../wrong.py lists them)."""
