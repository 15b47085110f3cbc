"""README.ko.md and README.zh.md keep step with README.md: headings, code, links, tables, numbers."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = {"README.md": "English", "README.ko.md": "한국어", "README.zh.md": "中文"}
TRANSLATIONS = list(NAMES)[1:]
AS_WORDS = {
    "README.md": {"about thirteen minutes on two cores": "13 2", "about twenty-five": "25", "2 shared CPU cores": "2"},
    "README.ko.md": {"1~2분": "", "코어 2개에서 약\n13분": "13 2"},
    "README.zh.md": {"两个核上约需 13 分钟": "13 2", "两个共享 CPU 核": "2"},
}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code(text: str) -> list[str]:
    return re.findall(r"^```\w*\n.*?^```$", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    return re.sub(r"^```\w*\n.*?^```$", "<code>", text, flags=re.MULTILINE | re.DOTALL)


def skeleton(text: str) -> list[str]:
    """What stands in which order: headings by level, code, lists, table rows by the number of their cells."""
    kinds = {r"(#+) ": r"\1", r"(<code>)": "code", r"(- )": "item", r"(!\[)": "picture"}
    found = []
    for line in prose(text).splitlines():
        if line.startswith("|"):
            found.append(f"row of {line.count('|') - 1}")
        for pattern, name in kinds.items():
            if match := re.match(pattern, line):
                found.append(match.expand(name))
    return found


def links(text: str) -> list[str]:
    """Targets in order, without the line of languages."""
    return re.findall(r"\]\(([^)]+)\)", prose(text).split("\n", 4)[4])


def verbatim(text: str) -> Counter[str]:
    """What stands in backquotes; a line may break inside."""
    return Counter(" ".join(each.split()) for each in re.findall(r"`([^`]+)`", prose(text)))


def numbers(name: str) -> Counter[str]:
    """The numbers of the prose, also those that one language writes as words."""
    text = prose(read(name))
    for words, digits in AS_WORDS[name].items():
        assert words in text, f"{name} says {words!r} no more: mend AS_WORDS"
        text = text.replace(words, digits)
    return Counter(re.findall(r"\d+(?:[.,]\d+)*", text))


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_the_same_order_and_the_same_code(name: str) -> None:
    assert skeleton(read(name)) == skeleton(read("README.md"))
    assert code(read(name)) == code(read("README.md"))
    assert len(code(read(name))) == 4


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_the_same_links_names_and_numbers(name: str) -> None:
    assert links(read(name)) == links(read("README.md"))
    assert verbatim(read(name)) == verbatim(read("README.md"))
    assert numbers(name) == numbers("README.md")


@pytest.mark.parametrize("name", NAMES)
def test_each_names_the_three_languages(name: str) -> None:
    said = [language if other == name else f"[{language}]({other})" for other, language in NAMES.items()]
    assert read(name).split("\n")[2] == " · ".join(said)


def test_what_is_compared_is_found() -> None:
    text = read("README.md")
    assert skeleton(text).count("##") == 5
    assert skeleton(text).count("row of 3") == 12
    assert {"0.0", "2,000", "1.94", "2,500", "350"} <= set(numbers("README.md"))
    assert {"make test", "minibert learn"} <= set(verbatim(text))
    assert len(links(text)) > 25
