"""The modules of the page share one scope once they are joined; JavaScript is silent about a function of two bodies."""

import re
from collections import Counter

from minibert.explorer.page import STATIC

DECLARED = re.compile(r"^(?:export )?(?:(?:async )?function\*?|class|const|let) +(\w+)", re.MULTILINE)
# What follows the first name of a "const first = 1,\n  second = 2;" or "let start, end;" of one line.
FURTHER = re.compile(r"^(?:export )?(?:const|let) +\w+[^;{\[(]*;", re.MULTILINE)


def names_of(text: str) -> list[str]:
    """The names that a module declares at its top level."""
    further = [re.findall(r",(?: *//[^\n]*)?\s+(\w+)(?= =|[,;])", statement) for statement in FURTHER.findall(text)]
    return [*DECLARED.findall(text), *(name for names in further for name in names)]


def test_the_names_are_found() -> None:
    text = "const A = 1,\n  B = 2, // of it\n  C = 3;\nlet first, second;\nexport class H {\n}\n"
    text += "function* f(x) {\n  const y = 1,\n    z = 2;\n}\nexport async function g() {\n}\n"
    assert sorted(names_of(text)) == sorted(["A", "B", "C", "first", "second", "f", "g", "H"])


def test_every_top_level_name_occurs_once() -> None:
    modules = sorted(STATIC.rglob("*.js"))
    counts = Counter(name for path in modules for name in names_of(path.read_text(encoding="utf-8")))
    assert {"tokensView", "openModel", "openTokenizer", "FINALS", "LOWEST"} <= counts.keys()
    assert [name for name, count in counts.items() if count > 1] == []
