"""LoRA: what is trained, what the folder holds, who loads it, and what is refused."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import minibert
from minibert import (
    BertForSequenceClassification,
    BertTokenizer,
    CheckpointError,
    Embedder,
    InputError,
    MissingExtraError,
    Predictor,
)
from minibert.cli import main
from minibert.convert import convert
from minibert.finetuning import Lora, finetune
from minibert.finetuning.run import TASKS, prepare_model
from minibert.source import ADAPTER
from minibert.training.optimizer import make_optimizer
from minibert.training.settings import Settings
from minibert.training.snapshot import snapshots
from tests.support.toy_tasks import class_rows, train_toy, write_jsonl

peft = pytest.importorskip("peft")
LORA = Lora(r=4, lora_alpha=8, target_modules=("query", "value", "dense"))
RUN = {"lora": LORA, "epochs": 4, "learning_rate": 1e-2}
TOLERANCE = 3e-6  # merged weights: one product in float32 instead of three


@pytest.fixture(scope="module")
def adapted(toy, tmp_path_factory) -> dict[str, Path]:
    """For each task the folder of a toy that was trained with adapters."""
    folders = {task: tmp_path_factory.mktemp(task) for task in TASKS}
    for task, folder in folders.items():
        train_toy(task, toy, folder, **RUN)
    return {task: folder / "model" for task, folder in folders.items()}


@pytest.fixture
def texts(tmp_path) -> Path:
    return write_jsonl(tmp_path / "texts.jsonl", class_rows(60))


def theirs(folder: Path, base: Path):
    """The same on transformers' model, loaded by peft."""
    transformers = pytest.importorskip("transformers")
    config = minibert.BertConfig.from_pretrained(folder)
    model = getattr(transformers, config.architectures[0]).from_pretrained(base, num_labels=config.num_labels)
    return peft.PeftModel.from_pretrained(model, folder).eval()


@pytest.mark.parametrize("task", TASKS)
def test_peft_on_transformers_computes_the_same(task, adapted, toy):
    model = Predictor.from_pretrained(adapted[task]).model
    ids = torch.tensor([[2, 7, 11, 9, 3], [2, 30, 12, 8, 3]])
    ids = ids[None] if task == "choice" else ids  # one question
    plain = type(model).from_pretrained(toy, config=model.config, fresh_head=True)
    with torch.no_grad():
        expected = theirs(adapted[task], toy)(ids, output_hidden_states=True)
        found, before = (one(ids, output_hidden_states=True) for one in (model, plain))
    for one, other, base in zip(found.hidden_states, expected.hidden_states, before.hidden_states, strict=True):
        assert (one - other).abs().max() < TOLERANCE
        assert torch.equal(one, base) or (one - base).abs().max() > 1e-2
    assert not torch.equal(found.hidden_states[-1], before.hidden_states[-1])
    names = {"answers": ("start_logits", "end_logits"), "embedding": ("last_hidden_state",)}.get(task, ("logits",))
    for name in names:
        assert (found[name] - expected[name]).abs().max() < TOLERANCE


def test_sentence_transformers_gives_the_same_vectors(adapted):
    library = pytest.importorskip("sentence_transformers")
    texts = ["the river bank", "she went home by the tree", "so"]
    expected = library.SentenceTransformer(str(adapted["embedding"]), device="cpu").encode(texts)
    found = Embedder.from_pretrained(adapted["embedding"]).encode(texts)
    assert (torch.as_tensor(found) - torch.as_tensor(expected)).abs().max() < TOLERANCE


def test_the_folder_holds_adapters_and_head_alone(adapted, toy):
    with safe_open(adapted["classify"] / "adapter_model.safetensors", "pt") as file:
        names = set(file.keys())
    prefix = "base_model.model."
    assert {name for name in names if "lora_" not in name} == {f"{prefix}classifier.weight", f"{prefix}classifier.bias"}
    modules = {name.removeprefix(prefix).partition(".lora_")[0] for name in names if "lora_" in name}
    own = ("attention.self.query", "attention.self.value", "attention.output.dense", "intermediate.dense")
    layers = {f"bert.encoder.layer.{n}.{name}" for n in (0, 1) for name in (*own, "output.dense")}
    assert modules == {*layers, "bert.pooler.dense"}
    settings = json.loads((adapted["classify"] / ADAPTER).read_text())
    assert settings["base_model_name_or_path"] == str(toy)
    assert (settings["task_type"], settings["r"], settings["lora_alpha"]) == ("SEQ_CLS", 4, 8)
    assert settings["modules_to_save"] == ["classifier"]
    assert not (adapted["classify"] / "model.safetensors").exists()
    full = 3 * (toy / "model.safetensors").stat().st_size  # the weights and two moments of each
    assert max(path.stat().st_size for path in snapshots(adapted["classify"])) < full / 5


def test_a_merged_checkpoint_predicts_the_same(adapted, tmp_path):
    assert main(["convert", str(adapted["classify"]), "-o", str(tmp_path / "plain")]) == 0
    assert not (tmp_path / "plain" / ADAPTER).exists()
    texts = ["she went home by river", "pear in bloom", "so"]
    with_adapter, plain = (Predictor.from_pretrained(folder) for folder in (adapted["classify"], tmp_path / "plain"))
    assert with_adapter(texts) == plain(texts)
    assert not set(load_file(tmp_path / "plain" / "model.safetensors")) ^ set(plain.model.state_dict())
    assert plain.tokenizer.get_vocab() == with_adapter.tokenizer.get_vocab()
    assert plain.tokenizer.model_max_length == with_adapter.tokenizer.model_max_length


def test_an_adapter_of_peft_alone_brings_its_labels(toy, tmp_path):
    """Peft saves no config: the base's, which is read, has two labels."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification.from_pretrained(str(toy), num_labels=5).eval()
    settings = peft.LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query"], init_lora_weights=False)
    adapter = peft.get_peft_model(model, settings).eval()
    adapter.save_pretrained(tmp_path / "adapter")
    convert(tmp_path / "adapter", tmp_path / "plain", head="BertForSequenceClassification")
    ids = torch.tensor([[2, 7, 9, 3]])
    with torch.no_grad():
        expected = adapter(input_ids=ids).logits
        for folder in ("adapter", "plain"):
            found = BertForSequenceClassification.from_pretrained(tmp_path / folder)(ids).logits
            assert found.shape == (1, 5)
            assert (found - expected).abs().max() < TOLERANCE


def test_a_merged_embedder_is_one(adapted, tmp_path):
    """Convert keeps what it keeps of any sentence-transformers folder: the model and its tokenizer."""
    convert(adapted["embedding"], tmp_path / "plain")
    texts = ["the river bank", "so"]
    found = Embedder.from_pretrained(tmp_path / "plain", pooling="mean").encode(texts)
    assert (found - Embedder.from_pretrained(adapted["embedding"]).encode(texts)).abs().max() < TOLERANCE


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_an_interrupted_run_ends_with_the_same_bits(toy, texts, tmp_path, dropout):
    lora = Lora(r=2, lora_dropout=dropout)
    settings = {"lora": lora, "epochs": 3, "batch_size": 8, "learning_rate": 1e-2}
    ended = []
    for name, stops in (("whole", []), ("parts", [5, 11])):
        for stop in (*stops, None):
            finetune("classify", toy, texts, tmp_path / name, "20%", stop_after=stop, **settings)
        ended.append((tmp_path / name / "adapter_model.safetensors").read_bytes())
    assert ended[0] == ended[1]


def test_a_run_whose_base_was_changed_is_not_resumed(toy, texts, tmp_path):
    base = shutil.copytree(toy, tmp_path / "base")
    finetune("classify", base, texts, tmp_path / "run", lora=Lora(r=2), stop_after=3)
    torch.manual_seed(7)
    minibert.BertForPreTraining(minibert.BertConfig.from_pretrained(toy)).save_pretrained(base)
    with pytest.raises(InputError, match=r"holds a run with base \["):
        finetune("classify", base, texts, tmp_path / "run", lora=Lora(r=2))


def test_a_fresh_pooler_is_trained_as_a_whole(toy, texts, tmp_path):
    """A random one, frozen, would be in the way of the head."""
    shutil.copytree(toy, tmp_path / "base")
    minibert.BertForMaskedLM.from_pretrained(toy).save_pretrained(tmp_path / "base")
    finetune("classify", tmp_path / "base", texts, tmp_path / "run", lora=LORA, epochs=1)
    settings = json.loads((tmp_path / "run" / ADAPTER).read_text())
    assert settings["modules_to_save"] == ["classifier", "pooler"]
    assert settings["exclude_modules"] == ["pooler.dense"]
    ids = torch.tensor([[2, 7, 11, 9, 3]])
    expected = theirs(tmp_path / "run", tmp_path / "base")(ids).logits
    assert (Predictor.from_pretrained(tmp_path / "run").model(ids).logits - expected).abs().max() < TOLERANCE


def test_a_fine_tuned_folder_trains_on_from_its_merged_weights(adapted, texts, tmp_path):
    found = finetune("classify", adapted["classify"], texts, tmp_path / "full", epochs=1, learning_rate=1e-5)
    assert found.fresh == ()
    assert (tmp_path / "full" / "model.safetensors").exists()
    after, before = (Predictor.from_pretrained(folder).model for folder in (tmp_path / "full", adapted["classify"]))
    moved = (after.classifier.weight - before.classifier.weight).abs().max()
    assert 0 < moved < 1e-3


def test_layer_decay_is_that_of_the_adapters(toy, tmp_path):
    task = TASKS["classify"]()
    fields = task.settings(task.read(write_jsonl(tmp_path / "x.jsonl", class_rows(20))))
    model = prepare_model(task, toy, fields, lora=Lora(r=2))
    optimizer = make_optimizer(model, Settings(layer_decay=0.5))
    names = {id(p): name for name, p in model.named_parameters()}
    shares = {names[id(p)]: group["share"] for group in optimizer.param_groups for p in group["params"]}
    layers = {name: int(name.split(".")[3]) for name in shares if "lora_" in name}
    assert len(layers) == 8
    assert all(shares[name] == 0.5 ** (2 - layer) for name, layer in layers.items())
    assert {name: share for name, share in shares.items() if name not in layers} == {
        "classifier.weight": 1.0, "classifier.bias": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lora": Lora(), "freeze": "1"}, r"freeze \(--freeze\) and lora \(--lora\) do not go together"),
        ({"lora": Lora(), "from_scratch": True}, r"from_scratch \(--from-scratch\) and lora \(--lora\) do not go"),
        (
            {"lora": Lora(target_modules=("query", "keys"))},
            r"'keys'; the linear layers here are query, key",
        ),
        ({"lora": Lora(target_modules=("word_embeddings",))}, r"'word_embeddings'; the linear layers here are"),
        ({"lora": Lora(target_modules=("classifier",))}, r"'classifier'; the linear layers here are"),
        ({"lora": 8}, r"lora is 8; expected Lora\(r=8\)"),
    ],
)
def test_what_does_not_go_together(arguments, words, toy, texts, tmp_path):
    with pytest.raises(InputError, match=words):
        finetune("classify", toy, texts, tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())


@pytest.mark.parametrize("choices", [{"r": 0}, {"lora_alpha": -1}, {"lora_dropout": 1}, {"target_modules": "query"}])
def test_choices_of_the_wrong_kind(choices):
    with pytest.raises(InputError, match=rf"Lora: {next(iter(choices))} is .*; expected"):
        Lora(**choices)


def test_an_adapter_is_no_base_of_adapters(adapted, texts, tmp_path):
    with pytest.raises(InputError, match=r"is an adapter itself, which no other can change.*minibert convert"):
        finetune("classify", adapted["classify"], texts, tmp_path / "run", lora=Lora())


def test_without_peft(toy, texts, tmp_path, adapted, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"peft is not installed.*\[lora\]"):
        finetune("classify", toy, texts, tmp_path / "run", lora=Lora())
    assert Predictor.from_pretrained(adapted["classify"])("she went home by river").label


def test_a_base_that_is_gone(adapted, tmp_path):
    shutil.copytree(adapted["classify"], tmp_path / "x")
    content = json.loads((tmp_path / "x" / ADAPTER).read_text())
    (tmp_path / "x" / ADAPTER).write_text(json.dumps({**content, "base_model_name_or_path": str(tmp_path / "gone")}))
    with pytest.raises(CheckpointError, match=r"changes the weights of .*gone, which is not there"):
        Predictor.from_pretrained(tmp_path / "x")


def test_options_of_the_command_line(toy, texts, tmp_path, capsys):
    common = ["finetune", "classify", str(texts), "--model", str(toy), "--epochs", "1"]
    options = ["--lora", "3", "--lora-alpha", "6", "--lora-dropout", "0.1", "--lora-targets", "key,dense"]
    assert main([*common, "--output", str(tmp_path / "run"), *options]) == 0
    settings = json.loads((tmp_path / "run" / ADAPTER).read_text())
    assert (settings["r"], settings["lora_alpha"], settings["lora_dropout"]) == (3, 6, 0.1)
    assert settings["target_modules"] == ["dense", "key"]
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["settings"]["learning_rate"] == 5e-4
    assert main([*common, "--output", str(tmp_path / "full")]) == 0
    assert json.loads((tmp_path / "full" / "run.json").read_text())["settings"]["learning_rate"] == 5e-5
    capsys.readouterr()
    assert main([*common, "--output", str(tmp_path / "no"), "--lora-targets", "key"]) == 2
    assert "--lora-targets is for adapters: give --lora R" in capsys.readouterr().err


def test_the_demo_is_named_by_its_name(texts, tmp_path):
    finetune("classify", "minibert-demo", texts, tmp_path / "run", lora=Lora(r=1), steps=1)
    assert json.loads((tmp_path / "run" / ADAPTER).read_text())["base_model_name_or_path"] == "minibert-demo"
    assert len(BertTokenizer.from_pretrained(tmp_path / "run")) == 16_000
