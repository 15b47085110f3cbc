"""The settings of a folder that is written are those that are read from it, by us and by sentence-transformers."""

import shutil

import pytest

from minibert import Checkpoint
from minibert.embedding.sentence_folder import pooling_settings, write_sentence_settings
from minibert.embedding.sentence_transformers import read_sentence_settings
from tests.support.sentence_folders import FOLDER, HIDDEN

SETTINGS = [
    {"pooling": "mean"},
    {"pooling": "cls", "normalize": True},
    {"pooling": ["cls", "mean"], "prompts": {"query": "질문: ", "document": ""}, "default_prompt_name": "query"},
    {"pooling": ["mean", "cls"], "include_prompt": False, "truncate_dim": 8, "similarity_fn_name": "dot"},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_what_is_written_is_read(tmp_path, settings) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(FOLDER, folder)
    write_sentence_settings(folder, width=HIDDEN, max_length=24, **settings)
    found = read_sentence_settings(Checkpoint.open(folder))
    usual = {
        "normalize": False, "prompts": {}, "default_prompt_name": None, "include_prompt": True, "truncate_dim": None,
        "similarity_fn_name": "cosine", "steps": [], "do_lower_case": False, "max_length": 24,
    }  # fmt: skip
    assert found == {**usual, **settings}


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_library_reads_it(tmp_path, settings) -> None:
    library = pytest.importorskip("sentence_transformers")
    folder = tmp_path / "folder"
    shutil.copytree(FOLDER, folder)
    write_sentence_settings(folder, width=HIDDEN, max_length=24, **settings)
    theirs = library.SentenceTransformer(str(folder), device="cpu")
    pooling = theirs[1].pooling_mode
    assert (pooling if isinstance(pooling, str) else list(pooling)) == settings["pooling"]
    assert theirs[1].include_prompt is settings.get("include_prompt", True)
    assert len(theirs) == (3 if settings.get("normalize") else 2)
    assert theirs.max_seq_length == 24
    assert theirs.truncate_dim == settings.get("truncate_dim")
    assert theirs.similarity_fn_name == settings.get("similarity_fn_name", "cosine")
    assert theirs.default_prompt_name == settings.get("default_prompt_name")
    assert theirs.prompts.get("query", "") == settings.get("prompts", {}).get("query", "")


def test_flags_where_their_order_is_that_of_the_names() -> None:
    assert pooling_settings("mean")["pooling_mode_mean_tokens"] is True
    assert sum(pooling_settings(["cls", "max"]).values()) == 2
    assert pooling_settings(["max", "cls"]) == {"pooling_mode": ["max", "cls"]}
