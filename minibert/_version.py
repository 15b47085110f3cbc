"""The version, on the lowest floor: files that record it need not import the front door."""

__version__ = "0.1.0"
