"""Sentence embeddings from a file to a folder, which Embedder and sentence-transformers load with the same vectors."""

import json
import random

import pytest
import torch
from safetensors.torch import load_file

from minibert import BertModel, BertTokenizer, Embedder, InputError, Predictor
from minibert.errors import CheckpointError
from minibert.finetuning import Embeddings, finetune
from minibert.finetuning.embedding_rows import TextGroup, read_groups, steps_without_copies, text_numbers
from minibert.finetuning.run import prepare_model
from minibert.training.distributed import Processes
from minibert.training.metrics import read_metrics
from tests.support.sentence_folders import MEAN, plain, with_dense, write
from tests.support.toy_tasks import TINY, WORDS, write_jsonl, write_toy

NAMES = {"text": None, "pair": None, "negative": None, "score": None}
FAST = {"epochs": 6, "learning_rate": 5e-3, "batch_size": 16}
KEYS = ("anchor", "positive", "negative")


def pair_rows(count: int = 48, seed: int = 0, negatives: bool = False) -> list[dict]:
    """Texts that share two words belong together."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        words = draw.sample(WORDS, 4)
        texts = [
            f"{words[0]} {words[1]}",
            f"{words[1]} {words[0]} {number % 10}",
            f"{words[2]} {words[3]} {number % 10}",
        ]
        rows.append(dict(zip(KEYS, texts if negatives else texts[:2], strict=False)))
    return rows


@pytest.fixture(scope="module")
def scored(toy, tmp_path_factory):
    """A toy that was trained on scored pairs, and its report."""
    folder = tmp_path_factory.mktemp("scored")
    train, dev = write_toy("embedding", folder / "train"), write_toy("embedding", folder / "dev", seed=1)
    return folder / "model", finetune("embedding", toy, train, folder / "model", dev, **{**FAST, "epochs": 10})


def test_scored_pairs_are_learned(scored) -> None:
    folder, report = scored
    assert (report.task, report.examples, report.labels, report.fresh) == ("embedding", 128, (), ())
    assert list(report.scores) == ["spearman", "pearson"]
    assert report.scores["spearman"] > 0.8
    assert "; on the dev data spearman 0." in str(report)
    entries = read_metrics(folder)
    assert all(entry["loss"] == entry["CoSENTLoss"] for entry in entries if "loss" in entry)
    kept = max(entry["scores"]["spearman"] for entry in entries if "scores" in entry)
    assert kept == report.scores["spearman"]


def test_the_dev_score_is_that_of_the_folder(scored, tmp_path) -> None:
    folder, report = scored
    stats = pytest.importorskip("scipy.stats")
    embedder = Embedder.from_pretrained(folder)
    rows = read_groups(write_toy("embedding", tmp_path / "dev", seed=1), NAMES)
    first, second = (embedder.encode([row.texts[place] for row in rows]) for place in (0, 1))
    similarities = embedder.similarity_pairwise(first, second).tolist()
    assert stats.spearmanr(similarities, [row.score for row in rows]).statistic == report.scores["spearman"]
    predictor = Predictor.from_pretrained(folder)
    assert [one.similarity for one in predictor([row.texts for row in rows])] == similarities


@pytest.mark.parametrize("pooling", [None, "cls", ["mean", "max"], ["max", "mean"]])
def test_the_library_loads_the_folder_to_the_same_vectors(toy, tmp_path, pooling) -> None:
    library = pytest.importorskip("sentence_transformers")
    train = write_jsonl(tmp_path / "train.jsonl", pair_rows())
    task = Embeddings(pooling=pooling, query_prompt="so the river ", max_length=16)
    finetune(task, toy, train, tmp_path / "out", steps=2)
    ours = Embedder.from_pretrained(tmp_path / "out")
    theirs = library.SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert (ours.max_length, ours.prompts["query"], ours.prompts["document"]) == (16, "so the river ", "")
    assert ours.pooling == (pooling or "mean")
    texts = ["she sat by the river", "hello", "the pear tree is in bloom again and again and again by her home " * 3]
    for name in ("encode", "encode_query", "encode_document"):
        found, expected = getattr(ours, name)(texts), torch.tensor(getattr(theirs, name)(texts))
        assert found.shape == expected.shape
        assert (found - expected).abs().max().item() <= 2e-6 * expected.abs().max().item()
    assert not torch.allclose(ours.encode(texts), ours.encode_query(texts), atol=1e-3)


def test_a_folder_keeps_its_settings(tmp_path) -> None:
    """Prompts, normalization, include_prompt, truncation: as they were in the checkpoint to begin with."""
    modules = [
        *plain()["modules.json"],
        {"idx": 2, "name": "2", "path": "2_N", "type": "sentence_transformers.models.Normalize"},
    ]
    settings = {
        "prompts": {"query": "so ", "other": "by "}, "default_prompt_name": "other", "similarity_fn_name": "dot",
        "truncate_dim": 12,
    }  # fmt: skip
    content = plain(config_sentence_transformers__json=None) | {
        "modules.json": modules, "1_Pooling/config.json": {**MEAN, "include_prompt": False},
        "config_sentence_transformers.json": settings,
    }  # fmt: skip
    content.pop("config_sentence_transformers/json", None)
    start = write(tmp_path / "start", content)
    finetune("embedding", start, write_jsonl(tmp_path / "train.jsonl", pair_rows()), tmp_path / "out", steps=1)
    before, after = Embedder.from_pretrained(start), Embedder.from_pretrained(tmp_path / "out")
    for name in (
        "pooling",
        "normalize",
        "include_prompt",
        "truncate_dim",
        "similarity_fn_name",
        "max_length",
        "prompts",
    ):
        assert getattr(after, name) == getattr(before, name), name
    assert after.default_prompt_name == before.default_prompt_name == "other"
    assert after.normalize and not after.include_prompt and after.max_length == 16


def test_prompts_of_pairs_and_of_scored_pairs() -> None:
    stored = {"prompts": {"query": "q: ", "document": "d: ", "other": "o: "}, "default_prompt_name": "other"}
    assert Embeddings().prompts(False) == Embeddings().prompts(True) == ("", "")
    assert Embeddings(stored=stored).prompts(is_scored=False) == ("q: ", "d: ")
    assert Embeddings(stored=stored).prompts(is_scored=True) == ("o: ", "o: ")
    assert Embeddings(stored=stored, query_prompt="x ").prompts(is_scored=True) == ("x ", "o: ")
    assert Embeddings(stored=stored, document_prompt="").prompts(is_scored=False) == ("q: ", "")


@pytest.mark.parametrize("negatives", [False, True])
def test_pairs_find_each_other(toy, tmp_path, negatives) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", pair_rows(negatives=negatives))
    dev = write_jsonl(tmp_path / "dev.jsonl", pair_rows(30, seed=1))
    report = finetune("embedding", toy, train, tmp_path / "out", dev, **FAST)
    assert list(report.scores) == ["recall@1", "recall@5", "recall@10", "mrr@10"]
    losses = [entry["MultipleNegativesRankingLoss"] for entry in read_metrics(tmp_path / "out") if "loss" in entry]
    assert losses[-1] < losses[0] - 0.5
    first = next(entry for entry in read_metrics(tmp_path / "out") if "scores" in entry)
    assert report.scores["recall@1"] >= first["scores"]["recall@1"]
    assert report.scores["recall@1"] > 0.2


def test_recall_is_the_librarys(toy, tmp_path) -> None:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    rows = [*pair_rows(40), {"anchor": "she sat", "positive": "a"}, {"anchor": "she sat", "positive": "so sat"}]
    file = write_jsonl(tmp_path / "train.jsonl", rows)
    task = Embeddings(max_length=32)
    finetune(task, toy, file, tmp_path / "out", steps=1)
    groups = task.read(file)
    model, tokenizer = BertModel.from_pretrained(tmp_path / "out"), BertTokenizer.from_pretrained(tmp_path / "out")
    found = task.evaluate(model, task.examples(groups, tokenizer, model.config))
    queries = list(dict.fromkeys(group.texts[0] for group in groups))
    corpus = list(dict.fromkeys(group.texts[1] for group in groups))
    relevant = {
        str(number): {str(corpus.index(group.texts[1])) for group in groups if group.texts[0] == query}
        for number, query in enumerate(queries)
    }
    texts = [{str(number): text for number, text in enumerate(texts)} for texts in (queries, corpus)]
    evaluator = InformationRetrievalEvaluator(*texts, relevant, precision_recall_at_k=[1, 5, 10], write_csv=False)
    expected = evaluator(SentenceTransformer(str(tmp_path / "out"), device="cpu"))
    assert max(map(len, relevant.values())) > 1
    for name, value in found.items():
        assert value == pytest.approx(expected[f"cosine_{name}"], abs=1e-6)


def test_no_step_holds_a_text_twice() -> None:
    draw = random.Random(0)
    groups = [
        TextGroup((f"a{draw.randrange(60)}", f"b{draw.randrange(40)}", f"a{draw.randrange(60)}")) for _ in range(300)
    ]
    texts = text_numbers(groups)
    order = draw.sample(range(300), 300)
    steps = steps_without_copies(order, texts, 16)
    assert sorted(number for step in steps for number in step) == list(range(300))
    for step in steps:
        numbers = [number for row in step for number in texts[row]]
        assert len(numbers) == len(set(numbers))
    # Batch after batch, each taking what fits from what is left: the same steps.
    left, plainly = list(order), []
    while left:
        step, held = [], set()
        for number in left:
            if len(step) < 16 and held.isdisjoint(texts[number]):
                step.append(number)
                held.update(texts[number])
        plainly.append(step)
        left = [number for number in left if number not in step]
    assert steps == plainly


def test_steps_are_the_librarys() -> None:
    pytest.importorskip("sentence_transformers")
    from sentence_transformers.base.sampler import NoDuplicatesBatchSampler

    draw = random.Random(1)
    groups = [TextGroup((f"a{draw.randrange(50)}", f"b{draw.randrange(5)}")) for _ in range(100)]

    class Rows(list):
        column_names = ("anchor", "positive")

    rows = Rows({"anchor": one, "positive": other} for (one, other), _ in groups)
    theirs = NoDuplicatesBatchSampler(rows, 4, False, generator=torch.Generator(), seed=7)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(7)).tolist()
    assert steps_without_copies(order, text_numbers(groups), 4) == list(theirs)


def test_many_copies_take_no_time() -> None:
    """Labels as second texts: of 20,000 rows a step can hold four."""
    texts = [(number, 20_000 + number % 4) for number in range(20_000)]
    steps = steps_without_copies(range(20_000), texts, 32)
    assert len(steps) == 5000 and {len(step) for step in steps} == {4}


@pytest.mark.parametrize("settings", [{}, {"micro_tokens": 40}])
def test_a_run_that_was_stopped_ends_with_the_same_bits(tmp_path, settings) -> None:
    """With dropout, and with copies of texts, so that every epoch has other steps."""
    rows = pair_rows(40)
    rows = [*rows, *({**row, "positive": rows[0]["positive"]} for row in rows[:6])]
    train, dev = write_jsonl(tmp_path / "train.jsonl", rows), write_jsonl(tmp_path / "dev.jsonl", pair_rows(9, seed=2))
    task = Embeddings(pooling="mean")
    common = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-3, **settings}
    finetune(task, TINY, train, tmp_path / "whole", dev, **common)
    assert finetune(task, TINY, train, tmp_path / "cut", dev, stop_after=5, **common).stopped
    report = finetune(task, TINY, train, tmp_path / "cut", dev, **common)
    assert report.steps == report.total
    for name in ("model.safetensors", "metrics.jsonl", "modules.json", "1_Pooling/config.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with pytest.raises(InputError, match="holds a run with choices.pooling .mean., and this one has .cls."):
        finetune(Embeddings(pooling="cls"), TINY, train, tmp_path / "cut", dev, **common)


def test_parts_of_a_step_are_the_step(toy, tmp_path) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", pair_rows())
    for name, settings in (("whole", {}), ("parts", {"micro_tokens": 40})):
        finetune("embedding", toy, train, tmp_path / name, steps=6, learning_rate=1e-3, **settings)
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert max((whole[name] - parts[name]).abs().max().item() for name in whole) < 1e-4
    losses = [
        [entry["loss"] for entry in read_metrics(tmp_path / name) if "loss" in entry] for name in ("whole", "parts")
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl", "parquet"])
def test_files_of_every_format(tmp_path, ending) -> None:
    rows = [{"question": "she sat, so", "answer": "by the river", "negative_2": "c", "negative_1": "b", "score": 1.5}]
    path = tmp_path / f"data.{ending}"
    if ending == "jsonl":
        write_jsonl(path, rows)
    elif ending == "parquet":
        pytest.importorskip("pyarrow.parquet").write_table(pytest.importorskip("pyarrow").Table.from_pylist(rows), path)
    else:
        lines = [rows[0], {name: f'"{value}"' if ending == "csv" else value for name, value in rows[0].items()}]
        mark = "\t" if ending == "tsv" else ","
        path.write_text(f"{mark.join(lines[0])}\n{mark.join(map(str, lines[1].values()))}\n", encoding="utf-8")
    assert read_groups(path, NAMES) == [TextGroup(("she sat, so", "by the river", "b", "c"))]
    assert read_groups(path, NAMES, scored=True) == [TextGroup(("she sat, so", "by the river"), 1.5)]
    named = {**NAMES, "pair": "negative_1", "score": "score"}
    assert read_groups(path, named) == [TextGroup(("she sat, so", "b"), 1.5)]


def test_columns_by_number(tmp_path) -> None:
    path = tmp_path / "sts.csv"
    path.write_text('0001\t5.000\tA "man" sat.\tHe sat.\tmore\n0002\t0.250\tRain.\tA pear.\n', encoding="utf-8")
    names = {"text": "3", "pair": "4", "negative": None, "score": "2"}
    assert read_groups(path, names) == [
        TextGroup(('A "man" sat.', "He sat."), 5.0),
        TextGroup(("Rain.", "A pear."), 0.25),
    ]


WRONG = [
    ({}, [{"anchor": "a"}, {"anchor": "b"}], "Say which column of .*train.jsonl holds the texts that belong to them"),
    ({}, [{"text": "a", "positive": 5}], "row 1 has 5 in 'positive', expected text"),
    ({}, [{"anchor": "a", "positive": "b"}], "has one pair of texts; .*nothing to learn"),
    ({}, [{"anchor": "a", "positive": "b", "score": "high"}], "row 1 has 'high' in 'score', expected a number"),
    ({}, [{"anchor": "a", "positive": "b", "score": 1}] * 2, "all 2 rows have the score 1; there is nothing to learn"),
    (
        {"loss": "CoSENTLoss"},
        pair_rows(3),
        "Say which column of .* holds the scores .--label-column NAME.; it has anchor",
    ),
    ({"loss": "MultipleNegativesRankingLoss"}, None, "has scores in 'score', and MultipleNegativesRankingLoss takes"),
    ({"loss": "CosineSimilarityLoss", "highest_score": 0.5}, None, "has scores from 0 to 2, and CosineSimilarityLoss"),
    ({"loss": "TripletLoss"}, None, 'loss is "TripletLoss"; expected one of "MultipleNegativesRankingLoss", "CoSENT'),
    ({"pooling": "pooler"}, None, 'pooling is "pooler"; expected one of "mean", "max"'),
    ({"scale": 0}, None, "scale is 0; expected a number above 0"),
    ({"column": "sentence1", "pair_column": "sentence1"}, None, "'sentence1' is to hold two of the texts"),
    ({"negative_column": "sentence2", "label_column": "score"}, None, "a loss learns from one of the two"),
]


@pytest.mark.parametrize(("choices", "rows", "message"), WRONG)
def test_mistakes_are_sentences_before_anything_is_written(tmp_path, choices, rows, message) -> None:
    train = tmp_path / "train.jsonl"
    if rows is None:
        write_toy("embedding", tmp_path / "train", 20)
    else:
        write_jsonl(train, rows)
    with pytest.raises(InputError, match=message):
        finetune(Embeddings(**choices), TINY, train, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_checkpoints_that_cannot_be_trained(tmp_path) -> None:
    train = write_toy("embedding", tmp_path / "train", 20)
    with pytest.raises(InputError, match="has steps with weights after its pooling"):
        finetune("embedding", write(tmp_path / "dense", with_dense()), train, tmp_path / "out")
    lower = plain() | {"sentence_bert_config.json": {"do_lower_case": True}}
    with pytest.raises(InputError, match="says do_lower_case"):
        finetune("embedding", write(tmp_path / "lower", lower), train, tmp_path / "out")
    with pytest.raises(InputError, match="is for tasks with a head"):
        finetune("embedding", TINY, train, tmp_path / "out", fresh_head=True)
    with pytest.raises(InputError, match="padded .--padded. is for tasks with a head"):
        finetune("embedding", TINY, train, tmp_path / "out", padded=True)
    assert not (tmp_path / "out").exists()


def test_several_processes_are_refused(toy, tmp_path, monkeypatch) -> None:
    train = write_toy("embedding", tmp_path / "train", 20)
    monkeypatch.setattr(Processes, "sum", lambda self, numbers: numbers)  # there is no other process
    monkeypatch.setattr(Processes, "has_main_failed", lambda self, failed: failed)
    with pytest.raises(InputError, match="compares the texts of a step with each other, in one process"):
        finetune("embedding", toy, train, tmp_path / "out", processes=Processes(world_size=2))


def test_predictions_of_a_bert_without_settings_are_refused(tmp_path) -> None:
    BertModel.from_pretrained(TINY).save_pretrained(tmp_path)
    BertTokenizer.from_pretrained(TINY).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="a BertModel without sentence-transformers' modules.json"):
        Predictor.from_pretrained(tmp_path)


def test_an_evaluation_leaves_every_module_in_its_mode(toy, tmp_path) -> None:
    task = Embeddings(loss="CoSENTLoss", max_length=32)
    model = prepare_model(task, toy, {}).train()
    model.embeddings.eval()
    examples = task.examples(
        task.read(write_toy("embedding", tmp_path / "dev", 20)), BertTokenizer.from_pretrained(toy), model.config
    )
    task.evaluate(model, examples)
    assert model.training and model.encoder.training and not model.embeddings.training


def test_what_the_folder_holds(scored) -> None:
    folder, _ = scored
    assert [step["path"] for step in json.loads((folder / "modules.json").read_text())] == ["", "1_Pooling"]
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["BertModel"]
    assert not list(folder.rglob("*.part"))
