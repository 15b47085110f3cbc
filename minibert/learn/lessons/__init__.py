"""The lessons, a folder each: the code of all languages, its outputs, the exercises' checks, the text per language."""
