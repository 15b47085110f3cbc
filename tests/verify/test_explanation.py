"""What is drawn of the findings: paragraphs that fit a terminal, a table for a notebook, and JSON of one shape."""

import json

import pytest

from minibert.errors import InputError
from minibert.terminal import width
from minibert.verify import Explanation, Finding, PointFound, PointResult, VerifyReport, explain
from minibert.verify.drawing import fold, labelled
from minibert.verify.mistakes import Mistake
from minibert.verify.sentences import LANGUAGES

LAYERS = [f"encoder.layer.{k}.attention.self.scores" for k in range(3)]


@pytest.fixture
def explanation() -> Explanation:
    points = [PointFound("embeddings", "found", "<lambda> (my<b>.py:3, add)", "BTH", 0.5)]
    points += [PointFound(p, "explained", f"h.{k}.mix (m.py:{k}, bmm)", "BNTS", 1.0 + k) for k, p in enumerate(LAYERS)]
    points += [PointFound("pooler", "absent"), PointFound("cls.predictions", "differs", "out", "BTV", 99.0)]
    scale = Mistake("attention.no_scale", {}, "q kᵀ & <more>")
    random = Mistake("random.dropout", {}, "another value in every run")
    unknown = Mistake("relation.unknown", {}, "", {"where": "cls.predictions"})
    findings = [
        Finding("random", (random,), [], "(m.py:1, bernoulli)"),
        Finding("mistake", (scale,), list(LAYERS), "h.0.mix (m.py:0, bmm)", 1.0, float("inf")),
        Finding("unknown", (unknown,), ["cls.predictions"]),
    ]
    note = "a text of nothing but padding sees all its tokens alike, as in the reference"
    return Explanation(points, findings, [note], 16.0)


def test_explain_gives_the_findings_of_a_report_or_of_its_explanation(explanation: Explanation) -> None:
    report = VerifyReport("theirs", "reference", "float32", "", "", explanation=explanation)
    told = explain(report)
    assert told == explain(explanation)
    assert [each.kind for each in told] == ["random", "mistake", "unknown"]
    assert told[1].name == "attention.no_scale"
    assert told[1].formula == "q kᵀ & <more>"
    assert told[1].where == tuple(LAYERS)
    assert "divided by √D" in told[1].sentence
    assert told[1].evidence == "1.0 ulps from this formula's value, ∞ from the right one; up to 16 is rounding"
    assert (told[0].formula, told[2].formula) == ("", "")
    report.explanation = None
    assert explain(report) == []
    with pytest.raises(InputError, match="language is 'xx'"):
        explain(report, "xx")


@pytest.mark.parametrize("language", LANGUAGES)
def test_json_has_one_shape(explanation: Explanation, language: str) -> None:
    content = explanation.to_dict(language)
    assert list(content) == ["same", "conclusion", "units", "findings", "points", "notes"]
    names = ["kind", "name", "title", "sentence", "formula", "where", "theirs", "evidence", "ulps", "right_ulps"]
    assert [list(finding) for finding in content["findings"]] == [names] * 3
    assert [finding["ulps"] for finding in content["findings"]] == [None, 1.0, None]
    assert content["findings"][1]["right_ulps"] is None  # JSON has no infinity
    assert list(content["points"][0]) == ["point", "status", "theirs", "layout", "ulps"]
    assert [point["status"] for point in content["points"]] == ["found", *["explained"] * 3, "absent", "differs"]
    json.dumps(content, allow_nan=False)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_text_fits_eighty_columns(explanation: Explanation, language: str, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = explanation.to_text(language=language).splitlines()
    assert max(map(width, lines)) <= 80
    assert max(map(width, lines)) >= 70
    monkeypatch.delenv("COLUMNS")
    assert max(map(width, explanation.to_text(language=language).splitlines())) > 80  # in a pipe nothing is folded


@pytest.mark.parametrize(("language", "said", "note"), [
    ("en", "No point differs: all 1 are identical, max |Δ| = 0.0.", "no reader of a model"),
    ("ko", "다른 지점이 없습니다. 1개가 모두 똑같습니다. 최대 |Δ| = 0.0.", "패딩뿐인 텍스트"),
    ("zh", "没有不同的点：1 个点完全相同，最大 |Δ| = 0.0。", "全是填充的文本"),
])  # fmt: skip
def test_a_comparison_point_by_point_is_told_in_a_language(language: str, said: str, note: str) -> None:
    report = VerifyReport("theirs", "reference", "float32", "eager", "eager")
    report.results.append(PointResult("one", "embeddings", (1, 2), 0.0, (0, 0), 1.0, 1.0, 0.0, 1e-6, "same"))
    report.notes.append("a text of nothing but padding is computed in another way (no reader of a model looks at it)")
    assert report.conclusion(language) == said
    assert said in report.to_text(language=language) and note in report.to_text(language=language)
    assert note in report.to_dict(language)["notes"][0]
    english = {"batch", "point", "shape", "verdict", "bound", "same", "against", "attention"}
    words = set(report.to_text(language=language).split())
    assert bool(words & english) == (language == "en")


def test_the_same_value_of_several_layers_is_one_row(explanation: Explanation) -> None:
    rows = [line.split("  ")[0] for line in explanation.to_text().splitlines() if "BNTS" in line]
    # The lines of code differ, so each is a row of its own.
    assert rows == [f"attention.self.scores (layer {k})" for k in range(3)]
    for k, point in enumerate(explanation.points[1:4]):
        point.theirs = f"h.{k}.mix (m.py:7, bmm)"
    (row,) = [line for line in explanation.to_text().splitlines() if "BNTS" in line]
    assert row.split("  ")[0] == "attention.self.scores (layers 0–2)"
    assert "h.0–2.mix (m.py:7, bmm)" in row and row.endswith("3.0")
    rows = [line for line in explanation.to_text(every_point=True).splitlines() if "BNTS" in line]
    assert [row.split()[0] for row in rows] == LAYERS


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_table_of_a_notebook_is_escaped(explanation: Explanation, language: str) -> None:
    page = explanation.to_html(language)
    assert page.startswith(f'<div lang="{language}"')
    assert '<code class="mb-code">q kᵀ &amp; &lt;more&gt;</code>' in page
    assert "&lt;lambda&gt; (my&lt;b&gt;.py:3, add)" in page and "<lambda>" not in page
    assert page.count("<tr>") == 1 + 3 + 1 + 6
    assert all(told.title in page and told.sentence.split(";")[0] in page for told in explain(explanation, language))
    assert "color:#" not in page.replace(" ", "")  # the page's own colours, light or dark
    assert VerifyReport("a", "b", "", "", "", explanation=explanation)._repr_html_() == explanation.to_html()


def test_folds_between_words_and_chinese_characters() -> None:
    assert fold("one two three", 7) == ["one two", "three"]
    assert fold("请把 q kᵀ 乘以 1/√D。", 11) == ["请把 q kᵀ", "乘以 1/√D。"]
    assert fold("甲乙丙，丁。", 6) == ["甲乙", "丙，", "丁。"]  # no line begins with a comma
    assert fold("a" * 12 + " b", 5) == ["aaaaa", "aaaaa", "aa b"]
    assert labelled([("where", "here"), ("위치", "여기"), ("none", "")], 0) == "where  here\n위치   여기"
