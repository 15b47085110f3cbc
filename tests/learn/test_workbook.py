"""The workbook: what is written, what is said of right and of broken files, and that nothing runs in this process."""

import ast
import inspect
import json
import os
import re
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from minibert import InputError
from minibert.cli import main
from minibert.learn.words import LANGUAGES
from minibert.learn.workbook import NAMES, STEPS, build, check, language_of, masking_step, reference
from minibert.learn.workbook.checking import run_steps
from minibert.learn.workbook.child import unwritten_functions
from minibert.learn.workbook.folder import template
from minibert.learn.workbook.judge import judge_step
from minibert.learn.workbook.model_steps import NAMES as PLACES
from minibert.learn.workbook.report import Report
from minibert.learn.workbook.texts import mistake_sentence, mistake_title, texts
from minibert.learn.workbook.verdict import STATUS, Verdict
from minibert.verify.sentences import speak

ROOT = Path(__file__).parents[2]
BROKEN = """
import os, sys, torch

def gelu(x):
    while True:
        pass

def layer_norm(x, weight, bias, eps):
    os._exit(3)

def embeddings(input_ids, token_type_ids, w, eps):
    sys.exit("done")

def split_heads(x, heads):
    while True:
        print("never the end of it" * 1000)

def merge_heads(x):
    return torch.zeros(1 << 40)

def attention_scores(query, key, scale):
    return query

def apply_mask(scores, attention_mask):
    return scores.float()

def softmax(scores):
    print("here")
    torch.softmax(scores, -1)

def context(probabilities, value):
    raise NotImplementedError("later")

def self_attention(x, attention_mask, w, heads):
    x += 1
    return x

def feed_forward(x, w, eps):
    return w["no such weight"]

def layer(attention_mask, x, w, heads, eps):
    return x

def pooler(x, w):
    return 1.0

def wordpiece(word, vocab):
    return word

gelu_is_here = True
"""


def line_of(part: str) -> int:
    return BROKEN[: BROKEN.index(part)].count("\n") + 1


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("solved")
    build(folder, solutions=True)
    return folder


def test_the_solution_passes_every_step(solved: Path) -> None:
    report = check(solved, language="ko")
    assert [(verdict.step, verdict.status) for verdict in report.verdicts] == [(name, "right") for name in NAMES]
    assert report.points == report.possible == len(NAMES) == 24
    last = report.verdicts[-1].details
    assert [piece for piece, _ in last["guesses"]][:3] == ["좋다", "재밌다", "최고"]
    assert last["found"] >= 60 and last["ulps"] < 64
    text = report.to_text()
    assert "24단계가 모두 맞습니다" in text and "이 영화 정말 [MASK] → 좋다 7%" in text


@pytest.mark.parametrize("seed", [1, 20261129])
def test_the_solution_passes_with_other_seeds(seed: int) -> None:
    from contextlib import nullcontext

    for step in STEPS:
        verdict = judge_step(step, step.right, seed, Path("my_bert.py"), nullcontext)
        assert verdict.is_right, verdict


def test_another_seed_gives_other_inputs() -> None:
    step = next(step for step in STEPS if step.name == "mlm_loss")
    assert step.make is not None
    one, other = (step.make(seed).cases[0].expected for seed in (0, 1))
    assert float(one) != float(other)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_template_has_a_hole_for_each_step(language: str, tmp_path: Path) -> None:
    file = tmp_path / "my_bert.py"
    file.write_text(template(language), encoding="utf-8")
    assert unwritten_functions(file) == {step.name for step in STEPS}
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in NAMES:
            docstring = ast.get_docstring(node) or ""
            assert re.search(r"\d{4}, (section|figure|algorithm)|github\.com", docstring), node.name
            assert "→" in docstring
            assert docstring.startswith(texts(language)["steps"][node.name]["task"][:20])
            shapes = texts(language)["steps"][node.name]["shapes"]
            letters = re.findall(r"\([BNTDHILVP, …]+\)|\w+_weight|\w+_bias", shapes)
            own = inspect.getdoc(getattr(reference, node.name)) or ""
            assert sorted(letters) == sorted(re.findall(r"\([BNTDHILVP, …]+\)|\w+_weight|\w+_bias", own)), node.name
    assert max(map(len, file.read_text(encoding="utf-8").splitlines())) <= 120
    solution = template(language, solutions=True)
    assert not {node.name for node in ast.parse(solution).body if isinstance(node, ast.FunctionDef)} - set(
        vars(reference)
    )
    compile(solution, "my_bert.py", "exec")


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    files = build(tmp_path / "new" / "folder", "zh")
    assert [file.name for file in files] == ["my_bert.py", "test_my_bert.py"]
    files[0].write_text("# my work", encoding="utf-8")
    with pytest.raises(InputError, match="is there already"):
        build(tmp_path / "new" / "folder")
    assert files[0].read_text(encoding="utf-8") == "# my work"
    build(tmp_path / "new" / "folder", force=True)
    assert "BERT, written by you" in files[0].read_text(encoding="utf-8")
    with pytest.raises(InputError, match="no workbook in 'fr'"):
        build(tmp_path, "fr")


def test_broken_functions_are_told_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "my_bert.py"
    file.write_text(BROKEN, encoding="utf-8")
    names = ["gelu", "layer_norm", "embeddings", "split_heads", "merge_heads", "attention_scores", "apply_mask",
             "softmax", "context", "self_attention", "self_output", "feed_forward", "layer", "pooler",
             "wordpiece"]  # fmt: skip
    problem, verdicts = run_steps(file, 0, names, time_limit=2.0)
    assert problem is None
    assert [(verdict.step, verdict.status) for verdict in verdicts] == [
        ("gelu", "timeout"), ("layer_norm", "crash"), ("embeddings", "exit"), ("split_heads", "flood"),
        ("merge_heads", "memory"), ("attention_scores", "signature"), ("apply_mask", "dtype"), ("softmax", "nothing"),
        ("context", "not_written"), ("self_attention", "changed_inputs"), ("self_output", "missing"),
        ("feed_forward", "raised"), ("layer", "signature"), ("pooler", "type"), ("wordpiece", "type"),
    ]  # fmt: skip
    by_name = {verdict.step: verdict for verdict in verdicts}
    assert by_name["softmax"].printed == "here\n"
    assert by_name["split_heads"].printed.startswith("never the end")
    assert by_name["feed_forward"].details["line"] == line_of("no such weight")
    for language in LANGUAGES:
        text = Report(file, language, 0, tuple(names), None, verdicts).to_text(more_hints=True)
        assert "{" not in text.replace('{"', "")
    english = Report(file, "en", 0, tuple(names), None, verdicts).to_text()
    for said in (
        "No result after 2 seconds", "ended the process (code 3)", f"sys.exit (line {line_of('done')}: sys.exit",
        "more than 1 MB", "more memory", "attention_scores(query, key). Yours is attention_scores(query, key, scale)",
        "The dtype is float32, expected float64", "returns nothing", "changes its argument x in place",
        "no function self_output(attended, x, w, eps)", "KeyError: 'no such weight' (line ", "layer(attention_mask, x,",
        "should return Tensor (3, 256), and returns float",
    ):  # fmt: skip
        assert said in english, said


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "The file is empty"),
        ("def gelu(x):\n    return x +\n", "Python cannot read the file: invalid syntax (line 2: return x +)"),
        ("import torch\nimport no_such_module\n", "No module named 'no_such_module' (line 2: import no_such_module)"),
        ("import sys\nprint('so far')\nsys.exit()\n", "ends the program with sys.exit while it is loaded (line 3"),
        ("while True:\n    pass\n", "still running after 1 seconds"),
        pytest.param("import os\nos.abort()\n", "ended the process while it was loaded", marks=pytest.mark.slow),
    ],
    ids=["empty", "syntax", "import", "exit", "loop", "crash"],
)
def test_a_file_that_cannot_be_run(source: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "my_bert.py"
    file.write_text(source, encoding="utf-8")
    report = check(file, "gelu", time_limit=1.0)
    assert report.problem is not None and report.points == 0
    assert said in report.to_text(), report.to_text()
    assert "RuntimeWarning" not in report.to_text()
    result = report.to_dict()
    assert result["steps"][0]["status"] == "not_run" and result["problem"]["message"]
    for language in ("ko", "zh"):
        assert "{" not in Report(file, language, 0, ("gelu",), report.problem, []).to_text()


def test_the_verb(solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "build", str(tmp_path / "mine"), "--lang", "ko"]) == 0
    assert "my_bert.py" in capsys.readouterr().out
    assert main(["learn", "check", "gelu", "--file", str(tmp_path / "mine"), "--lang", "ko", "--hint"]) == 1
    told = capsys.readouterr().out
    assert "아직 쓰지 않았습니다" in told and "torch.erf" in told
    assert main(["learn", "check", "17", "--file", str(solved), "--seed", "3", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {key: result[key] for key in ("schema", "points", "possible", "right", "seed", "problem")} == {
        "schema": 1, "points": 1, "possible": 1, "right": True, "seed": 3, "problem": None,
    }  # fmt: skip
    assert [(step["number"], step["step"], step["status"]) for step in result["steps"]] == [(17, "mlm_loss", "right")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["learn", "check", "25"], "There is no step '25'"),
        (["learn", "check", "--file", "nowhere"], "There is no nowhere"),
        (["learn", "check", "--seed", "-1"], "seed is -1"),
        (["learn", "3", "--hint"], "--hint goes with minibert learn check."),
        (["learn", "build", "new", "--seed", "3"], "--seed goes with minibert learn check."),
        (["learn", "check", "gelu", "--text"], "--text goes with a lesson's number."),
        (["learn", "--solutions"], "--solutions goes with a lesson's number or minibert learn build."),
        (["learn", "build", "my_bert.py/new"], "my_bert.py is no folder"),
        (["learn", "build", "/proc/new"], "The folder /proc/new cannot be made"),
        (["learn", "3", "--text", "-o", "lesson.ipynb"], "--text prints the lesson and writes no file"),
        (["learn", "3", "-o", "lesson.txt"], "the name of a notebook ends in .ipynb"),
        (["learn", "three"], "'three' is no lesson"),
    ],
)
def test_what_the_verb_refuses(
    arguments: list[str], said: str, solved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(solved)
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_the_list_is_in_one_language(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "--lang", "ko", "--wide"]) == 0
    told = capsys.readouterr().out
    assert "질문" in told and "question" not in told and "writes" not in told


def test_a_workbook_is_checked_in_its_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")
    build("mine", "ko")
    for arguments, said in (
        (["--file", "mine"], "아직 쓰지 않았습니다"),
        (["--file", "mine/my_bert.py", "--lang", "zh"], "还没有写"),
    ):
        assert main(["learn", "check", "gelu", *arguments]) == 1
        assert said in capsys.readouterr().out
    (tmp_path / "mine" / "my_bert.py").write_text("import torch\n", encoding="utf-8")
    assert language_of("mine") is None and language_of("nowhere") is None


def test_what_was_not_found_and_errors_of_several_lines(tmp_path: Path) -> None:
    source = "def my_names(state_dict):\n    return {}\n\n\ndef gelu(x):\n    raise ValueError('These:\\n  a,\\n  b')\n"
    (tmp_path / "my_bert.py").write_text(source, encoding="utf-8")
    assert "expected 'embed.word', found nothing" in check(tmp_path, "my_names").to_text()
    assert "ValueError: These: a, b (line 6" in check(tmp_path, "gelu").to_text()


@pytest.mark.slow
def test_pytest_collects_a_test_for_each_step(tmp_path: Path) -> None:
    build(tmp_path, "zh")
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.stdout.count("test_my_bert.py::test_step[") == len(NAMES), result.stdout + result.stderr


# --- the words


def keys(value: Any, place: str = "") -> set[str]:
    """All places of a tree of texts, with the blanks of each."""
    if isinstance(value, dict):
        return {each for key, part in value.items() for each in keys(part, f"{place}.{key}")}
    fields = {field for _, field, _, _ in string.Formatter().parse(value) if field} if ".file." not in place else set()
    return {f"{place} {sorted(fields)}"}


def test_the_three_languages_say_the_same_things() -> None:
    english, *others = (keys(texts(language)) for language in LANGUAGES)
    for other in others:
        assert other == english, other ^ english


def test_every_status_step_and_case_has_words() -> None:
    words = texts("en")
    assert set(words["steps"]) == set(NAMES)
    assert set(words["status"]) == set(STATUS) - {"right"}
    cases = {case.name.partition(":")[0] for step in STEPS if step.make for case in step.make(0).cases}
    assert set(words["cases"]) == cases | {"drawn"}


def test_every_mistake_has_words_and_every_word_a_mistake() -> None:
    told = set()
    for step in STEPS:
        if step.make is None or step.name in ("layer", "mlm_head"):  # these take longer, and have those of other steps
            continue
        for alternative in step.make(0).alternatives():
            told.add(alternative.key)
            for language in LANGUAGES:
                assert mistake_title(alternative.key, language)
                sentence = mistake_sentence(alternative.key, alternative.details, language, step.name)
                assert "{" not in sentence
    source = Path(masking_step.__file__).read_text(encoding="utf-8")
    told |= set(re.findall(r'"(masking\.\w+)"', source))
    own = set(texts("en")["mistakes"])
    assert own <= told, own - told
    assert told - own <= set(speak("en").mistakes)
    assert not own & set(speak("en").mistakes)  # a key has one sentence
    assert set(PLACES.values()) > {"self_output", "feed_forward"}


def test_a_hint_does_not_give_the_answer_away() -> None:
    for language in LANGUAGES:
        for name, about in texts(language)["steps"].items():
            code = ("torch.", "F.linear", "@", "view(", "flatten", "masked_fill", "x[:, 0]", "append")
            assert not any(part in about["hint"] for part in code), (language, name)
            assert about["hint"] != about["plainer"]


# --- the counts of the masking step


def test_bounds_are_six_deviations() -> None:
    low, high = masking_step.bounds(0.15, 40_000)
    deviation = (0.15 * 0.85 / 40_000) ** 0.5
    assert (low, high) == pytest.approx((0.15 - 6 * deviation, 0.15 + 6 * deviation))


@pytest.mark.parametrize("how", ["each", "rounded", "floor", "google"])
def test_ways_to_choose_that_are_right(how: str) -> None:
    """Each piece by chance, a rounded number in each row, or Google's count, which has [CLS] and [SEP] in it."""

    def mask_pieces(ids: torch.Tensor, special: list[int], mask: int, V: int, generator: torch.Generator) -> Any:
        ordinary = ~torch.isin(ids, torch.tensor(special))
        order = torch.rand(ids.shape, generator=generator).masked_fill(~ordinary, 2.0)
        counts = ordinary.sum(1) + (2 if how == "google" else 0)
        take = (0.15 * counts).floor() if how == "floor" else (0.15 * counts).round()
        chosen = order.argsort(1).argsort(1) < take[:, None]
        if how == "each":
            chosen = order < 0.15
        fate = torch.rand(ids.shape, generator=generator)
        out = torch.where(chosen & (fate < 0.8), mask, ids)
        other = torch.randint(5, V, ids.shape, generator=generator)
        return torch.where(chosen & (fate >= 0.9), other, out), torch.where(chosen, ids, -100)

    for seed in range(5):
        (masked, labels), (_, again) = (mask_pieces(*masking_step.arguments(seed, draw)) for draw in (0, 1))
        assert next(masking_step.judge(masking_step.inputs(seed), masked, labels, again), None) is None


def test_a_verdict_is_read_back() -> None:
    verdict = Verdict("gelu", "differs", first={"place": "[0]", "expected": "1", "found": "2"})
    assert Verdict(**json.loads(json.dumps(verdict.to_dict()))) == verdict


# --- the model as a whole


@pytest.mark.slow
def test_the_whole_waits_for_the_steps_and_is_told_what_verify_finds(solved: Path, tmp_path: Path) -> None:
    source = (solved / "my_bert.py").read_text(encoding="utf-8")
    wrong = source.replace("torch.erf(x / math.sqrt(2.0))", "torch.tanh(0.7978845608 * (x + 0.044715 * x**3))")
    assert wrong != source
    file = tmp_path / "my_bert.py"
    file.write_text(wrong, encoding="utf-8")
    _, (verdict,) = run_steps(file, 0, ["my_bert"], time_limit=10.0)
    assert verdict.status == "mistake"
    assert {mistake["key"] for mistake in verdict.mistakes} == {"activation.other"}
    assert verdict.details["guesses"]
    assert verdict.first is not None and "encoder.layer.0.intermediate" in verdict.first["place"]
    for language in LANGUAGES:
        assert Report(file, language, 0, ("my_bert",), None, [verdict]).to_text(more_hints=True)
    waiting = Report(file, "en", 0, ("my_bert",), None, [Verdict("my_bert", "waiting")])
    assert "comes when all steps before it are right" in waiting.to_text() and waiting.points == 0
