"""The known mistakes of tokenizers: which rule each changes; sentences/ says it in words.

A mistake whose number comes from the text at hand (a limit, a shift of the ids) is in tokenizer_numbers.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from minibert.verify.sentences import cause
from minibert.verify.tokenizer_rules import Rules


@dataclass(frozen=True)
class TokenizerMistake:
    """A known mistake: its name, the rules that it changes, and what its sentence is made of."""

    key: str
    changes: Mapping[str, Any]
    details: Mapping[str, str] = field(default_factory=dict)  # what fills the sentence's blanks
    told: str = ""  # the sentence's key in sentences/, where it is not the mistake's

    @property
    def sentence(self) -> str:
        """For the learner, in English."""
        return cause("tokenizers", self.told or self.key, self.details)


# field of Rules → value → key.
TABLE: dict[str, dict[Any, str]] = {
    "lower": {False: "lower_case.off", True: "lower_case.on"},
    "strip": {False: "accents.kept", True: "accents.stripped"},
    "chinese": {
        "off": "chinese.off",
        "spaced": "chinese.on",
        "basic block": "chinese.basic_block",
        "kana too": "chinese.kana_too",
        "Hangul too": "chinese.hangul_too",
    },
    "controls": {
        "kept, split": "controls.kept",
        "kept": "controls.kept",
        "format kept": "controls.format_kept",
        "spaces": "controls.spaces",
        "unassigned too": "controls.unassigned_too",
    },
    "form": {"NFC": "form.nfc", "NFD": "form.nfd", "NFKC": "form.nfkc", "NFKD": "form.nfkd"},
    "marks": {
        "M": "accents.all_marks",
        "combining": "accents.combining",
        "precomposed kept": "accents.no_decomposition",
        "NFKD": "accents.nfkd",
        "ASCII": "accents.ascii",
    },
    "recompose": {True: "accents.recomposed"},
    "case": {"context": "lower_case.context", "folded": "lower_case.folded", "ASCII": "lower_case.ascii"},
    "punctuation": {
        "P": "punctuation.category_only",
        "ASCII": "punctuation.ascii",
        "none": "punctuation.none",
        "symbols too": "punctuation.symbols_too",
    },
    "spaces": {"Zs": "spaces.line_separators", "ASCII": "spaces.ascii"},
    "tabs": {False: "spaces.tabs_dropped"},
    "special": {
        "split": "special.split",
        "whole": "special.whole",
        "spaced": "special.spaced",
        "any case": "special.any_case",
    },
    "unknown": {"piece": "unknown.per_piece", "rest": "unknown.rest", "left out": "unknown.left_out"},
    "prefix": {"": "prefix.none"},
    "bare": {True: "prefix.left_out"},
    "search": {"shortest": "search.shortest", "from the end": "search.from_the_end"},
    "cls": {False: "frame.no_cls"},
    "sep": {False: "frame.no_sep"},
    "unicode": {"Python": "unicode.version"},
}


def known_mistakes(rules: Rules) -> Iterator[TokenizerMistake]:
    """The mistakes of the table that would change ``rules``."""
    for name, values in TABLE.items():
        for value, key in values.items():
            if getattr(rules, name) != value:
                is_form = name == "form"
                yield TokenizerMistake(
                    key, {name: value}, {"form": value} if is_form else {}, "form" if is_form else ""
                )
    if rules.lower == rules.strip:
        both = {"lower": not rules.lower, "strip": not rules.lower}
        yield TokenizerMistake(f"do_lower_case.{'off' if rules.lower else 'on'}", both)
    if rules.cls and rules.sep:
        yield TokenizerMistake("frame.none", {"cls": False, "sep": False})
    yield TokenizerMistake(TABLE["marks"]["NFKD"], {"marks": "NFKD", "strip": True, "lower_first": True})
    if not rules.strip:  # a variant of stripping, for a tokenizer that should not strip at all
        for marks in ("M", "ASCII", "NFKD"):
            yield TokenizerMistake(TABLE["marks"][marks], {"strip": True, "marks": marks})
        yield TokenizerMistake(
            TABLE["recompose"][True], {"strip": True, "recompose": True}, told="accents.stripped_and_recomposed"
        )
