"""Tests of minibert/tokenizer."""
