"""The settings of a folder that is written are those that are read from it, by us and by sentence-transformers."""

import json
import shutil

import pytest
import torch
from torch import nn

from minibert import Checkpoint, Embedder
from minibert.convert import convert
from minibert.embedding.sentence_folder import pooling_settings, write_sentence_settings
from minibert.embedding.sentence_transformers import read_sentence_settings
from minibert.embedding.steps import Dense, LayerNorm, Normalize
from minibert.errors import InputError
from tests.parity.tolerances import EMBEDDING_NORMALIZED
from tests.support.sentence_folders import FOLDER, HIDDEN, TRANSFORMER, plain, with_dense, write

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


@pytest.mark.parametrize("residual", [False, True])
def test_steps_after_the_pooling(tmp_path, residual) -> None:
    """Dense with its weights, a Normalize in the middle, LayerNorm: read again, and the library's vectors are ours."""
    library = pytest.importorskip("sentence_transformers")
    torch.manual_seed(1)
    steps = [Normalize(), Dense(HIDDEN, 12, not residual, nn.Tanh(), residual), LayerNorm(12)]
    nn.init.normal_(steps[2].norm.weight)
    folder = tmp_path / "folder"
    shutil.copytree(FOLDER, folder)
    write_sentence_settings(folder, width=HIDDEN, pooling="cls", max_length=24, normalize=True, steps=steps)
    embedder = Embedder.from_pretrained(folder)
    assert [type(step) for step in embedder.steps] == [Normalize, Dense, LayerNorm]
    assert embedder.normalize is True
    read = embedder.steps.state_dict()
    assert all(torch.equal(value, read[name]) for name, value in nn.Sequential(*steps).state_dict().items())
    texts = ["She sat by the bank.", "배를 타고", "HELLO"]
    library_vectors = library.SentenceTransformer(str(folder), device="cpu").encode(texts, convert_to_tensor=True)
    assert float((library_vectors - embedder.encode(texts)).abs().max()) <= EMBEDDING_NORMALIZED


def test_a_folder_with_steps_is_written_as_it_was_read(tmp_path) -> None:
    """LaBSE's steps: what the embedder of one folder says, written into another, makes the same vectors."""
    source = write(tmp_path / "source", with_dense())
    embedder = Embedder.from_pretrained(source)
    shutil.copytree(FOLDER, tmp_path / "copy")
    write_sentence_settings(
        tmp_path / "copy",
        width=HIDDEN,
        pooling=embedder.pooling,
        max_length=embedder.max_length,
        normalize=embedder.normalize,
        steps=embedder.steps,
    )
    again = Embedder.from_pretrained(tmp_path / "copy")
    assert torch.equal(again.encode("the bank"), embedder.encode("the bank"))


def test_another_module_is_no_step(tmp_path) -> None:
    with pytest.raises(InputError, match="A Linear is no step"):
        write_sentence_settings(tmp_path, width=HIDDEN, pooling="mean", max_length=8, steps=[nn.Linear(16, 4)])


@pytest.mark.parametrize("inner", ["", "0_Transformer"])
@pytest.mark.parametrize("pickled", [False, True])
def test_a_converted_folder_gives_the_same_vectors(tmp_path, inner, pickled) -> None:
    content = with_dense()
    content["modules.json"] = [TRANSFORMER | {"path": inner}, *content["modules.json"][1:]]
    content[f"{inner}/sentence_bert_config.json".lstrip("/")] = {"max_seq_length": 5, "do_lower_case": True}
    content["config_sentence_transformers.json"] = {"prompts": {"query": "질문: "}, "default_prompt_name": "query"}
    if inner:  # the settings beside modules.json are not the Transformer's
        del content["sentence_bert_config.json"]
    if pickled:
        content["2_Dense/pytorch_model.bin"] = content.pop("2_Dense/model.safetensors")
    source = write(tmp_path / "source", content, inner)
    _, written = convert(source, tmp_path / "converted")
    assert {"modules.json", "2_Dense/model.safetensors", "sentence_bert_config.json"} <= {*written}
    assert all((tmp_path / "converted" / name).is_file() for name in written)
    assert not list((tmp_path / "converted").rglob("*.bin"))
    texts = ["She sat by the bank, and WAITED for a boat.", "배를 타고", "HELLO"]
    before, after = (Embedder.from_pretrained(path) for path in (source, tmp_path / "converted"))
    assert after.max_length == before.max_length == 5
    assert after.prompts == before.prompts != {}
    assert torch.equal(after.encode(texts), before.encode(texts))
    library = pytest.importorskip("sentence_transformers")
    theirs = library.SentenceTransformer(str(tmp_path / "converted"), device="cpu").encode(
        texts, convert_to_tensor=True
    )
    assert float((theirs - before.encode(texts)).abs().max()) <= EMBEDDING_NORMALIZED


def test_convert_says_which_settings_it_leaves_out(tmp_path, caplog) -> None:
    source = write(tmp_path / "source", plain() | {"modules.json": [{"type": "my.Step", "path": "x"}]})
    _, written = convert(source, tmp_path / "converted")
    assert "modules.json" not in written
    assert json.loads((tmp_path / "converted" / "config.json").read_text())["hidden_size"] == HIDDEN
    assert "are not carried over" in caplog.text
    assert 'asks for a step "my.Step"' in caplog.text
