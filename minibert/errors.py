"""The one exception family.  Every message is a sentence: what was wrong, where, what was expected, what to do.

Each class also inherits from the matching built-in exception, so that code written for other libraries
(``except ValueError``) keeps working.  The command line prints the message alone and exits with code 2; a traceback
there is a bug.
"""

from typing import Any

from minibert.terminal import visible

LONGEST = 1000  # characters kept at either end of a message: what was wrong comes first, what to do last


class MinibertError(Exception):
    """Base of everything minibert raises on purpose."""

    def __str__(self) -> str:
        """The message, safe for a terminal: names in a file may contain escape sequences, or megabytes."""
        sentence = visible(super().__str__())
        return sentence if len(sentence) <= 2 * LONGEST else f"{sentence[:LONGEST]} […] {sentence[-LONGEST:]}"


class ConfigError(MinibertError, ValueError):
    """A config.json, or a field of BertConfig, that this model cannot honour."""


class InputError(MinibertError, ValueError):
    """A tensor or argument given to a model that does not fit it: shape, dtype, range."""


class TokenizerError(MinibertError, ValueError):
    """Text, a vocabulary, or a combination of tokenizer arguments that cannot be tokenized."""


class CheckpointError(MinibertError, OSError):
    """A checkpoint that is missing, broken, hostile, or does not fit the model it is loaded into."""


class TrainingError(MinibertError, ArithmeticError):
    """A run whose loss or gradient norm became NaN or infinite."""


class ProofError(MinibertError, ArithmeticError):
    """An export that does not give what the model gives, so nothing was written.

    ``report`` is the :class:`minibert.export.ExportReport`.
    """

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class StoppedElsewhereError(MinibertError):
    """In a worker of torchrun: the first one ended and has said why, so that nobody else needs to."""


class MissingExtraError(MinibertError, ImportError):
    """A feature that needs an optional package; the message names the extra that brings it."""

    @classmethod
    def of(cls, missing: str, extra: str, otherwise: str = "") -> "MissingExtraError":
        """What is missing, how to install it, and what works without it.

        The advice is for a checkout: on the public index, the name minibert belongs to another project.
        """
        return cls(f"{missing}: in a checkout of minibert, pip install '.[{extra}]'. {otherwise}".rstrip())


def reason_of(error: Exception) -> str:
    """Why reading or writing failed: the operating system's words for an OSError, else the error's message."""
    return str(getattr(error, "strerror", None) or error)
