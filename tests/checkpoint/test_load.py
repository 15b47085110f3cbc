"""Every source, format and dialect, for the model and each head: the same bits as the model that was saved."""

import copy
import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import minibert
from minibert import BertConfig, CheckpointError, ConfigError
from minibert.auto import load_architecture
from minibert.checkpoint.names import write_name
from minibert.verify.batches import batches_from_config
from minibert.verify.checkpoints import on_equal_footing
from minibert.verify.models import verify_models

HEADS = (
    "BertModel",
    "BertForPreTraining",
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
)
SETTINGS = {
    "vocab_size": 61,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 30,
}


def reference(name: str, **settings):
    """A model made by transformers, with weights away from their initial values."""
    return copy.deepcopy(_reference(name, **settings))


@functools.cache
def _reference(name: str, **settings):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(5)
    model = getattr(transformers, name)(transformers.BertConfig(**SETTINGS, **settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def assert_computes_the_same(ours, theirs) -> None:
    """Identical at every point, both sides in memory of their own."""
    report = verify_models(on_equal_footing(theirs), on_equal_footing(ours), batches_from_config(ours.config))
    assert report.same, report.conclusion()
    assert report.first_difference is None
    assert not any(result.verdict in ("absent (here)", "absent (the reference)") for result in report.results)


def write_config(folder: Path, model, **changes) -> None:
    settings = {**SETTINGS, "model_type": "bert", "architectures": [type(model).__name__], **changes}
    (folder / "config.json").write_text(json.dumps(settings))


def state_of(model) -> dict[str, torch.Tensor]:
    """The state dict as files have it: tied tensors once."""
    return {name: t.clone() for name, t in model.state_dict().items() if "decoder." not in name}


@pytest.mark.parametrize("name", HEADS)
def test_what_transformers_saves(name: str, tmp_path) -> None:
    theirs = reference(name)
    theirs.save_pretrained(tmp_path)
    ours = getattr(minibert, name).from_pretrained(tmp_path)
    assert not ours.training
    assert ours.load_report.unused == ()
    assert_computes_the_same(ours, theirs)


def as_bin(state, folder):
    torch.save(state, folder / "pytorch_model.bin")


def as_old_bin(state, folder):
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def as_safetensors(state, folder):
    save_file(state, folder / "model.safetensors")


def as_shards(state, folder):
    names = sorted(state)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: state[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in parts.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def as_bin_shards(state, folder):
    names = sorted(state)
    parts = {"pytorch_model-00001-of-00002.bin": names[:9], "pytorch_model-00002-of-00002.bin": names[9:]}
    for file, part in parts.items():
        torch.save({name: state[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in parts.items() for name in part}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("write", [as_bin, as_old_bin, as_safetensors, as_shards, as_bin_shards])
def test_every_format(write, name: str, tmp_path) -> None:
    theirs = reference(name)
    write_config(tmp_path, theirs)
    write(state_of(theirs), tmp_path)
    ours = getattr(minibert, name).from_pretrained(tmp_path)
    assert_computes_the_same(ours, theirs)
    assert {record.parameter for record in ours.load_report.loaded} == set(state_of(theirs))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("dialect", ["gamma/beta", "no bert. prefix", "module.", "position_ids", "decoder kept"])
def test_every_dialect(dialect: str, name: str, tmp_path) -> None:
    theirs = reference(name)
    state = state_of(theirs)
    if dialect == "module.":
        state = {f"module.{key}": value for key, value in state.items()}
    elif dialect == "position_ids":
        prefix = "" if name == "BertModel" else "bert."
        state[f"{prefix}embeddings.position_ids"] = torch.arange(30)[None]
    elif dialect == "decoder kept":
        state = {key: value.clone() for key, value in theirs.state_dict().items()}
    else:
        state = {write_name(key, dialect): value for key, value in state.items()}
    write_config(tmp_path, theirs)
    as_safetensors(state, tmp_path)
    assert_computes_the_same(getattr(minibert, name).from_pretrained(tmp_path), theirs)


def test_a_head_file_into_the_encoder_and_an_encoder_file_into_a_head(tmp_path) -> None:
    theirs = reference("BertForPreTraining")
    write_config(tmp_path, theirs)
    as_safetensors(state_of(theirs), tmp_path)
    ours = minibert.BertModel.from_pretrained(tmp_path)
    assert_computes_the_same(ours, theirs.bert)
    assert {record.name for record in ours.load_report.unused} == {n for n in state_of(theirs) if n.startswith("cls.")}
    assert "belongs to a head that BertModel does not have" in str(ours.load_report)
    mlm = minibert.BertForMaskedLM.from_pretrained(tmp_path)
    reasons = {record.name: record.note for record in mlm.load_report.unused}
    assert reasons["bert.pooler.dense.weight"] == "BertForMaskedLM has no pooler here"

    bare = tmp_path / "bare"
    bare.mkdir()
    write_config(bare, theirs.bert)
    as_safetensors(state_of(theirs.bert), bare)
    with pytest.raises(CheckpointError, match=r"lacks 2 of the .* first classifier.weight \(2, 24\).*fresh_head=True"):
        minibert.BertForSequenceClassification.from_pretrained(bare)
    fresh = minibert.BertForSequenceClassification.from_pretrained(bare, num_labels=5)
    assert fresh.load_report.fresh == ("classifier.weight", "classifier.bias")
    assert "fresh, untrained: classifier.weight" in str(fresh.load_report)
    assert fresh.classifier.weight.std() > 0
    assert fresh.classifier.bias.abs().max() == 0
    assert_computes_the_same(fresh.bert, theirs.bert)


def test_no_pooler_is_none_and_never_random(tmp_path) -> None:
    theirs = reference("BertModel")
    state = {name: value for name, value in state_of(theirs).items() if not name.startswith("pooler.")}
    write_config(tmp_path, theirs)
    as_safetensors(state, tmp_path)
    ours = minibert.BertModel.from_pretrained(tmp_path)
    assert ours.pooler is None
    assert ours(torch.tensor([[1, 2]])).pooler_output is None
    assert ours.load_report.absent == {"pooler": "the file has none, so pooler_output is None"}
    with pytest.raises(CheckpointError, match="bert.pooler.dense.weight"):
        minibert.BertForNextSentencePrediction.from_pretrained(tmp_path)
    fresh = minibert.BertForNextSentencePrediction.from_pretrained(tmp_path, fresh_head=True)
    assert {name.split(".")[-2] for name in fresh.load_report.fresh} == {"dense", "seq_relationship"}
    half = {**state, "pooler.dense.bias": torch.zeros(24)}
    as_safetensors(half, tmp_path)
    with pytest.raises(CheckpointError, match="first pooler.dense.weight"):
        minibert.BertModel.from_pretrained(tmp_path)


def test_a_fresh_head_replaces_the_files(tmp_path) -> None:
    theirs = reference("BertForSequenceClassification", num_labels=4)
    theirs.save_pretrained(tmp_path)
    kept = minibert.BertForSequenceClassification.from_pretrained(tmp_path)
    assert kept.config.num_labels == 4
    with pytest.raises(CheckpointError, match=r"classifier.\w+ has shape \(4,.*asks for \(2,.*fresh_head"):
        minibert.BertForSequenceClassification.from_pretrained(tmp_path, num_labels=2)
    fresh = minibert.BertForSequenceClassification.from_pretrained(tmp_path, num_labels=2, fresh_head=True)
    assert fresh.classifier.weight.shape == (2, 24)
    assert {record.note for record in fresh.load_report.unused} == {"a fresh head was asked for"}


def test_a_fresh_vocabulary_head_keeps_the_word_embeddings(tmp_path) -> None:
    theirs = reference("BertModel")
    theirs.save_pretrained(tmp_path)
    fresh = minibert.BertForMaskedLM.from_pretrained(tmp_path, fresh_head=True)
    assert torch.equal(fresh.bert.embeddings.word_embeddings.weight, theirs.embeddings.word_embeddings.weight)
    assert fresh.cls.predictions.decoder.weight is fresh.bert.embeddings.word_embeddings.weight
    assert "cls.predictions.decoder.bias" not in fresh.load_report.fresh
    assert fresh.cls.predictions.bias.abs().max() == 0
    assert fresh.cls.predictions.transform.dense.weight.std() > 0


def test_tied_tensors_that_disagree(tmp_path) -> None:
    theirs = reference("BertForMaskedLM")
    state = {name: value.clone() for name, value in theirs.state_dict().items()}
    state["cls.predictions.decoder.weight"][3, 3] += 1e-6
    write_config(tmp_path, theirs)
    as_safetensors(state, tmp_path)
    with pytest.raises(CheckpointError, match=r"decoder.weight and .*word_embeddings.weight differ"):
        minibert.BertForMaskedLM.from_pretrained(tmp_path)
    write_config(tmp_path, theirs, tie_word_embeddings=False)
    ours = minibert.BertForMaskedLM.from_pretrained(tmp_path)
    assert torch.equal(ours.cls.predictions.decoder.weight, state["cls.predictions.decoder.weight"])


def test_only_the_decoder_of_a_tied_pair_is_in_the_file(tmp_path) -> None:
    theirs = reference("BertForMaskedLM")
    state = {
        n: v.clone()
        for n, v in theirs.state_dict().items()
        if "word_embeddings" not in n and n != "cls.predictions.bias"
    }
    write_config(tmp_path, theirs)
    as_safetensors(state, tmp_path)
    assert_computes_the_same(minibert.BertForMaskedLM.from_pretrained(tmp_path), theirs)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_kinds_load_as_float32_unless_asked(kind: torch.dtype, tmp_path) -> None:
    theirs = reference("BertModel").to(kind)
    write_config(tmp_path, theirs)
    as_safetensors(state_of(theirs), tmp_path)
    ours = minibert.BertModel.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    assert_computes_the_same(ours, theirs.float())
    assert minibert.BertModel.from_pretrained(tmp_path, dtype="auto").dtype == kind
    assert minibert.BertModel.from_pretrained(tmp_path, torch_dtype=torch.float64).dtype == torch.float64
    assert ours.load_report.tensors[0].dtype == str(kind).removeprefix("torch.")
    with pytest.raises(ConfigError, match="not a kind of number"):
        minibert.BertModel.from_pretrained(tmp_path, dtype="float99")


def test_a_single_file_and_a_sentence_transformers_folder(tmp_path) -> None:
    theirs = reference("BertModel")
    inner = tmp_path / "0_Transformer"
    theirs.save_pretrained(inner)
    assert_computes_the_same(minibert.BertModel.from_pretrained(inner / "model.safetensors"), theirs)
    modules = [{"idx": 0, "name": "0", "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    assert_computes_the_same(minibert.BertModel.from_pretrained(tmp_path), theirs)


@pytest.mark.parametrize(
    "source", ["google", "google/bert_model.ckpt", "google/bert_model.ckpt.index", "google_sharded"]
)
def test_googles_own_checkpoint_computes_what_tensorflow_computed(source: str, tmp_path) -> None:
    here = Path(__file__).parent
    if source == "google_sharded":
        shutil.copytree(here / source, tmp_path / source)
        shutil.copy(here / "google" / "bert_config.json", tmp_path / source)
        folder = tmp_path / source
    else:
        folder = here / source
    expected = json.loads((here / "google" / "expected_forward.json").read_text())
    for kind, bound in (("float64", 1e-13), ("float32", 1e-5)):
        model = minibert.BertForPreTraining.from_pretrained(folder, dtype=kind, attn_implementation="eager")
        assert len(model.load_report.renamed) == 46
        inputs = {name: torch.tensor(expected[name]) for name in ("input_ids", "attention_mask", "token_type_ids")}
        output = model(**inputs, output_hidden_states=True)
        pooled = model.bert(**inputs).pooler_output
        found = {
            **{f"hidden_states.{n}": state for n, state in enumerate(output.hidden_states)},
            "pooler_output": pooled,
            "prediction_logits": output.prediction_logits,
            "seq_relationship_logits": output.seq_relationship_logits,
        }
        for name, value in found.items():
            difference = (value - torch.tensor(expected[f"{kind}.{name}"], dtype=value.dtype)).abs().max().item()
            assert difference <= bound, f"{name}: {difference}"


def test_the_class_is_the_one_that_fits(tmp_path) -> None:
    for name in HEADS:
        theirs = reference(name)
        folder = tmp_path / name
        theirs.save_pretrained(folder)
        assert type(load_architecture(folder)).__name__ == name
    assert type(load_architecture(Path(__file__).parent / "google")).__name__ == "BertForPreTraining"
    with pytest.raises(ConfigError, match="BertForSinging is no model here"):
        load_architecture(folder, architecture="BertForSinging")


def test_arguments_that_are_none(tmp_path) -> None:
    reference("BertModel").save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="from_pretrained got numlabels, which is no argument"):
        minibert.BertModel.from_pretrained(tmp_path, numlabels=3)
    assert minibert.BertModel.from_pretrained(tmp_path, add_pooling_layer=False).pooler is None
    assert minibert.BertModel.from_pretrained(tmp_path, config=BertConfig(**SETTINGS, output_hidden_states=True))(
        torch.tensor([[1]])
    ).hidden_states


def test_switches_of_transformers_that_have_nothing_to_choose_here(tmp_path) -> None:
    reference("BertModel").save_pretrained(tmp_path)
    switches = {"low_cpu_mem_usage": True, "use_safetensors": True, "trust_remote_code": False}
    minibert.BertModel.from_pretrained(tmp_path, **switches)
    named = minibert.BertForTokenClassification.from_pretrained(tmp_path, id2label={0: "O", 1: "B-PER", 2: "I-PER"})
    assert named.classifier.weight.shape == (3, 24)
    assert named.load_report.fresh == ("classifier.weight", "classifier.bias")


def test_loading_is_cheap(tmp_path) -> None:
    """No torch._dynamo (1.5 s), no numpy, no random numbers drawn."""
    reference("BertModel").save_pretrained(tmp_path)
    code = (
        "import sys, torch, minibert\n"
        "state = torch.random.get_rng_state()\n"
        f"model = minibert.BertModel.from_pretrained({str(tmp_path)!r})\n"
        "assert torch.equal(state, torch.random.get_rng_state()), 'random numbers were drawn'\n"
        "assert not [name for name in ('torch._dynamo', 'huggingface_hub') if name in sys.modules]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
