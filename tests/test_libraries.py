"""Other people's training code on our models: transformers' Trainer, peft's LoRA."""

import json
from pathlib import Path

import pytest
import torch

import minibert
from minibert import InputError
from tests.parity.compare import assert_same_outputs
from tests.parity.tolerances import EXACT, MERGED

pytestmark = pytest.mark.peers

RANDOM_BERT = Path(minibert.__file__).parent / "goldens" / "random-bert"
TEXTS = [
    "the pear tree is in bloom",
    "she sat by the bank",
    "the bank was closed",
    "hello",
    "the river went home again",
    "a pear",
    "the tree was closed",
    "she sat in the river again",
]


@pytest.fixture(scope="module")
def tokenizer() -> minibert.BertTokenizer:
    return minibert.BertTokenizer.from_pretrained(RANDOM_BERT)


def classified(tokenizer) -> list[dict]:
    rows = [tokenizer(text, padding="max_length", max_length=12) for text in TEXTS]
    return [dict(row) | {"labels": number % 3} for number, row in enumerate(rows)]


def masked(tokenizer) -> list[dict]:
    """Different numbers of masked pieces in each text, so that a mean of means is not the mean."""
    found = []
    for number, text in enumerate(TEXTS):
        row = dict(tokenizer(text, padding="max_length", max_length=12))
        labels = [-100] * 12
        for place in range(1, 2 + number % 3):
            labels[place] = row["input_ids"][place]
            row["input_ids"] = [*row["input_ids"][:place], tokenizer.mask_token_id, *row["input_ids"][place + 1 :]]
        found.append(row | {"labels": labels})
    return found


def make(task: str) -> minibert.BertPreTrainedModel:
    torch.manual_seed(0)
    settings = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    if task == "masked":
        return minibert.BertForMaskedLM.from_pretrained(RANDOM_BERT, **settings)
    return minibert.BertForSequenceClassification.from_pretrained(RANDOM_BERT, num_labels=3, **settings)


def batch(rows: list[dict]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}


def arguments(folder: Path, **changes):
    transformers = pytest.importorskip("transformers")
    settings = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 2,
        "max_steps": 3,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "seed": 1,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "disable_tqdm": True,
        "train_sampling_strategy": "sequential",
    }
    return transformers.TrainingArguments(**settings | changes)


def plain_loop(model, rows: list[dict], accumulation: int, steps: int) -> list[float]:
    """The same steps by hand: the mean over all labels of a step, AdamW without decay."""
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-3, weight_decay=0.0)
    losses = []
    for step in range(steps):
        start = step * 2 * accumulation
        loss = model(**batch(rows[start : start + 2 * accumulation])).loss
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    return losses


@pytest.mark.parametrize("task", ["classified", "masked"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_trainer_has_the_losses_of_a_plain_loop(task: str, accumulation: int, tokenizer, tmp_path) -> None:
    """Accumulated, too: the micro-batches of a step are divided by the labels of the whole step."""
    transformers = pytest.importorskip("transformers")
    rows = {"classified": classified, "masked": masked}[task](tokenizer)
    steps = 4 // accumulation
    model = make(task)
    trainer = transformers.Trainer(
        model=model,
        args=arguments(tmp_path, gradient_accumulation_steps=accumulation, max_steps=steps),
        train_dataset=rows,
        data_collator=batch,
    )
    assert trainer.model_accepts_loss_kwargs
    trainer.train()
    found = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    by_hand = make(task)
    expected = plain_loop(by_hand, rows, accumulation, steps)
    assert found == pytest.approx(expected, rel=1e-5)
    for (name, mine), theirs in zip(by_hand.named_parameters(), model.parameters(), strict=True):
        if not name.endswith("key.bias"):  # whose gradient is 0: softmax takes away what all scores share
            assert (mine - theirs).abs().max() < 2e-5, name
    assert trainer.state.total_flos == 6 * 12 * 2 * accumulation * steps * model.num_parameters(exclude_embeddings=True)


@pytest.mark.parametrize("task", ["classified", "masked"])
def test_trainer_saves_goes_on_evaluates_and_predicts(task: str, tokenizer, tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    rows = {"classified": classified, "masked": masked}[task](tokenizer)

    def trainer_for(model, steps: int, folder: Path):
        return transformers.Trainer(
            model=model,
            args=arguments(folder, max_steps=steps, save_strategy="steps", save_steps=2, gradient_checkpointing=True),
            train_dataset=rows,
            eval_dataset=rows,
            data_collator=batch,
            processing_class=tokenizer,
        )

    whole = make(task)
    trainer = trainer_for(whole, 4, tmp_path / "whole")
    trainer.train()
    assert whole.is_gradient_checkpointing
    halves = trainer_for(make(task), 4, tmp_path / "halves")
    halves.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    for (name, mine), theirs in zip(whole.named_parameters(), halves.model.parameters(), strict=True):
        assert torch.equal(mine, theirs), name
    evaluated = trainer.evaluate()
    with torch.no_grad():
        expected = whole.eval()(**batch(rows)).loss.item()
    assert evaluated["eval_loss"] == pytest.approx(expected, rel=1e-5)
    assert trainer.predict(rows).predictions.shape[0] == len(rows)

    trainer.save_model(str(tmp_path / "saved"))
    whole.config.save_pretrained(tmp_path / "saved")
    loaded = type(whole).from_pretrained(tmp_path / "saved")
    inputs = batch(rows)
    assert_same_outputs(loaded(**inputs), whole.eval()(**inputs), EXACT)
    assert minibert.BertTokenizer.from_pretrained(tmp_path / "saved").encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


def test_the_state_dict_is_what_safetensors_takes_and_the_tie_stays(tmp_path) -> None:
    import safetensors.torch

    model = make("masked")
    state = model.state_dict()
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    assert list(state) == [name for name, _ in model.named_parameters(remove_duplicate=False)]
    live = model.state_dict(keep_vars=True)
    assert live["cls.predictions.decoder.weight"] is live["bert.embeddings.word_embeddings.weight"]
    other = make("masked")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items())
    assert other.cls.predictions.decoder.weight is other.bert.embeddings.word_embeddings.weight


@pytest.mark.parametrize("task", ["classified", "masked"])
def test_lora_trains_merges_saves_and_loads(task: str, tokenizer, tmp_path) -> None:
    peft = pytest.importorskip("peft")
    rows = {"classified": classified, "masked": masked}[task](tokenizer)
    inputs = batch(rows)
    base = make(task)
    untouched = {name: value.clone() for name, value in base.state_dict().items()}
    before = base(**inputs)
    model = peft.get_peft_model(
        base,
        peft.LoraConfig(
            target_modules=["query", "value"],
            r=4,
            lora_alpha=8,
            modules_to_save=["classifier"] if task == "classified" else None,
        ),
    )
    model.get_base_model().gradient_checkpointing_enable()
    assert_same_outputs(model(**inputs), before, EXACT)  # the second factor starts at 0
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert 0 < sum(parameter.numel() for parameter in trained) < base.num_parameters() / 10
    optimizer = torch.optim.SGD(trained, lr=0.1)
    losses = []
    for _ in range(3):
        loss = model(**inputs).loss
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    assert losses[2] < losses[1] < losses[0]
    adapted = model.eval()(**inputs)

    model.save_pretrained(tmp_path / "adapter")
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(RANDOM_BERT)
    again = peft.PeftModel.from_pretrained(make(task), tmp_path / "adapter").eval()
    assert_same_outputs(again(**inputs), adapted, EXACT)

    merged = model.merge_and_unload()
    assert type(merged) is type(base)
    assert_same_outputs(merged(**inputs), adapted, MERGED)
    frozen = "bert.encoder.layer.0.attention.self.key.weight"
    assert torch.equal(merged.get_parameter(frozen), untouched[frozen])
    merged.save_pretrained(tmp_path / "merged")
    loaded = type(base).from_pretrained(tmp_path / "merged")
    assert_same_outputs(loaded(**inputs), merged(**inputs), EXACT)


def test_lora_under_trainer(tokenizer, tmp_path) -> None:
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    model = peft.get_peft_model(
        make("classified"), peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"], r=2)
    )
    trainer = transformers.Trainer(
        model=model,
        args=arguments(tmp_path, save_strategy="steps", save_steps=3, gradient_accumulation_steps=2),
        train_dataset=classified(tokenizer) * 2,
        data_collator=batch,
    )
    trainer.train()
    assert (tmp_path / "checkpoint-3" / "adapter_model.safetensors").is_file()
    again = peft.PeftModel.from_pretrained(make("classified"), tmp_path / "checkpoint-3").eval()
    inputs = batch(classified(tokenizer))
    assert_same_outputs(again(**inputs), model.eval()(**inputs), EXACT)


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.save_pretrained("x", state_dict={}),
        lambda model: model.save_pretrained("x", push_to_hub=True),
        lambda model: model.save_pretrained("x", safe_serialization=False),
        lambda model: model.save_pretrained("x", max_shard_size="5GB"),
    ],
)
def test_what_saving_does_not_do(call) -> None:
    with pytest.raises(InputError, match="It writes the whole model, as one model.safetensors beside config.json"):
        call(make("masked"))


def test_what_saving_does_anyway(tmp_path) -> None:
    model = make("masked")
    model.save_pretrained(tmp_path / "none", is_main_process=False)
    assert not (tmp_path / "none").exists()
    model.save_pretrained(
        tmp_path / "one", is_main_process=True, safe_serialization=True, push_to_hub=False, variant=None
    )
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"config.json", "model.safetensors"}


def test_inside_a_sentence_transformer(minilm) -> None:
    """Its Transformer module calls whatever model it holds: with ours in it, the vectors are the same bits."""
    library = pytest.importorskip("sentence_transformers")
    model = library.SentenceTransformer(str(minilm), device="cpu")
    expected = model.encode(TEXTS, convert_to_tensor=True)
    (name,) = (name for name, _ in model[0].named_children())
    setattr(model[0], name, minibert.BertModel.from_pretrained(minilm))
    assert (model.encode(TEXTS, convert_to_tensor=True) - expected).abs().max() == EXACT
