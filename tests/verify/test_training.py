"""Two training runs side by side: right ones are the same, each known mistake is named, and no other."""

import copy
import json
import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import minibert
from minibert.verify import verify_training
from tests.support.small_models import SETTINGS
from tests.verify.test_rounding import FusedQueryKeyValue

CONFIG = {**SETTINGS, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_hidden_layers": 2}
STEPS = 3


def batch(seed: int) -> dict:
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 60, (4, 9), generator=draw)
    labels = ids.where(torch.rand(4, 9, generator=draw) < 0.4, -100)
    labels[:, 1] = ids[:, 1]
    labels[0, 2:5] = ids[0, 2:5]
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


BATCHES = [batch(1), batch(2), batch(3)]


def model(**settings):
    torch.manual_seed(5)
    bert = minibert.BertForMaskedLM(minibert.BertConfig(**CONFIG | settings)).train()
    with torch.no_grad():
        for parameter in bert.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return bert


def groups(bert, decay=0.01, small=0.0):
    parameters = list(bert.parameters())
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": small},
    ]


def adamw(bert, kind=torch.optim.AdamW, decay=0.01, small=0.0, **settings):
    return kind(groups(bert, decay, small), **({"lr": 1e-3, "eps": 1e-6} | settings))


def right():
    bert = model()
    return bert, adamw(bert)


class GoogleAdam(torch.optim.Optimizer):
    """Adam as in Google's optimization.py: no correction of the bias; its state has names of its own."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-6) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                m, v = state.setdefault("m", torch.zeros_like(p)), state.setdefault("v", torch.zeros_like(p))
                m.mul_(group["betas"][0]).add_(p.grad, alpha=1 - group["betas"][0])
                v.mul_(group["betas"][1]).addcmul_(p.grad, p.grad, value=1 - group["betas"][1])
                p.sub_(group["lr"] * (m / (v.sqrt() + group["eps"]) + group["weight_decay"] * p))


def with_step(zero=True, clip=None, micro=1, average=True, by_value=None, count=True):
    """A build with a training step of its own."""

    def build():
        bert, optimizer = right()

        def step(inputs):
            if zero:
                optimizer.zero_grad()
            labels = int((inputs["labels"] != -100).sum())
            for rows in torch.arange(4).chunk(micro):
                part = {name: value[rows] for name, value in inputs.items()}
                if micro > 1 and not count:
                    loss = bert(**part).loss / micro
                elif micro > 1:
                    loss = bert(**part, num_items_in_batch=labels).loss * (1 if average else micro)
                else:
                    loss = bert(**part).loss
                loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(bert.parameters(), clip)
            if by_value:
                nn.utils.clip_grad_value_(bert.parameters(), by_value)
            optimizer.step()

        return SimpleNamespace(model=bert, optimizer=optimizer, step=step)

    return build


def with_loss(function):
    """A build whose model computes the loss by ``function(logits, labels)``."""

    class Other(nn.Module):
        def __init__(self, bert) -> None:
            super().__init__()
            self.bert, self.cls = bert.bert, bert.cls

        def forward(self, input_ids, attention_mask, labels):
            logits = self.cls(self.bert(input_ids, attention_mask).last_hidden_state)
            return {"loss": function(logits, labels), "logits": logits}

    def build():
        bert = Other(model())
        return bert, adamw(bert)

    return build


def with_schedule(ahead: int):
    def build():
        bert, optimizer = right()
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + ahead) / 10))
        return bert, optimizer, schedule

    return build


def with_optimizer(**settings):
    def build():
        bert = model()
        return bert, adamw(bert, **settings)

    return build


def with_google():
    bert = model()
    return bert, GoogleAdam(groups(bert))


def with_dropout():
    bert = model(hidden_dropout_prob=0.1)
    return bert, adamw(bert)


def frozen():
    bert = model()
    bert.bert.embeddings.position_embeddings.weight.requires_grad_(False)
    return bert, adamw(bert)


def left_out():
    bert = model()
    names = groups(bert)
    names[1]["params"] = [p for p in names[1]["params"] if p is not bert.bert.embeddings.LayerNorm.bias]
    return bert, torch.optim.AdamW(names, lr=1e-3, eps=1e-6)


def untied():
    bert = model()
    decoder = bert.cls.predictions.decoder
    decoder.weight = nn.Parameter(decoder.weight.detach().clone())
    return bert, adamw(bert)


def transformers_run():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(**CONFIG, attn_implementation="eager")
    bert = transformers.BertForMaskedLM(config)
    bert.load_state_dict(model().state_dict(), strict=False)
    bert.tie_weights()
    return bert.train(), adamw(bert)


class Renamed(nn.Module):
    """The same model under another tree of names: its modules in a flat list."""

    def __init__(self, bert) -> None:
        super().__init__()
        self.run = [bert]  # hidden from named_modules
        for number, (name, module) in enumerate(list(bert.named_modules())):
            if name and not list(module.children()):
                self.add_module(f"part{number:03d}", module)
        self.own = bert.cls.predictions.bias

    def forward(self, **inputs):
        return self.run[0](**inputs)


def renamed():
    bert = Renamed(model())
    return bert, adamw(bert)


def renamed_with_dropout():
    bert = Renamed(model(hidden_dropout_prob=0.1))
    return bert, adamw(bert)


def fused():
    bert = model()
    bert.set_attn_implementation("eager")
    for layer in bert.bert.encoder.layer:
        layer.attention.self = FusedQueryKeyValue(layer.attention.self, bert.config)
    return bert, adamw(bert)


def flat_loss(logits, labels, **options):
    return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), **options)


def mean_over_all(logits, labels):
    return flat_loss(logits, labels, reduction="sum") / labels.numel()


def mean_of_means(logits, labels):
    return torch.stack([flat_loss(x[None], y[None]) for x, y in zip(logits, labels, strict=True)]).mean()


@pytest.mark.parametrize(
    "other",
    [right, transformers_run, renamed, with_step(), with_step(micro=2), with_loss(flat_loss), with_google, fused],
    ids=["itself", "transformers", "renamed", "own step", "micro-batches", "own loss", "google", "fused"],
)
def test_right_runs_are_the_same(other) -> None:
    first = with_google if other is with_google else right
    report = verify_training(first, other, BATCHES, 6)
    assert report.same, str(report)
    assert report
    assert report.first_difference is None
    assert report.causes == []
    assert {row.step for row in report.rows} == {1, 2, 3, 4, 5, 6}
    assert max(row.of_bound for row in report.rows) < 0.5
    assert not any("Not found" in note for note in report.notes) or other is renamed
    assert str(report).startswith("The two runs are the same for 6 steps")


CASES = {
    "not zeroed": (right, with_step(zero=False), 2, "applied gradients", "gradients.not_zeroed"),
    "summed": (right, with_step(micro=2, average=False), 1, "gradients", "gradients.summed"),
    "mean of micro-batches": (right, with_step(micro=2, count=False), 1, "gradients", "gradients.mean_of_means"),
    "no clipping": (with_step(clip=0.5), right, 1, "applied gradients", "clipping.missing"),
    "another norm": (with_step(clip=0.5), with_step(clip=0.1), 1, "applied gradients", "clipping.other_norm"),
    "by value": (right, with_step(by_value=0.01), 1, "applied gradients", "clipping.by_value"),
    "warm-up": (with_schedule(0), with_schedule(1), 1, "learning rate", "learning_rate.one_step_off"),
    "no bias correction": (right, with_google, 1, "parameters", "optimizer.no_bias_correction"),
    "eps": (right, with_optimizer(eps=1e-8), 1, "parameters", "optimizer.eps"),
    "betas": (right, with_optimizer(betas=(0.9, 0.98)), 1, "optimizer state", "optimizer.betas"),
    "coupled": (right, with_optimizer(kind=torch.optim.Adam), 1, "optimizer state", "optimizer.coupled_decay"),
    "decay of biases": (right, with_optimizer(small=0.01), 1, "parameters", "optimizer.decay_of_small"),
    "no decay": (right, with_optimizer(decay=0.0), 1, "parameters", "optimizer.decay"),
    "dropout": (right, with_dropout, 1, "activations", "dropout.on"),
    "dropout in a port": (right, renamed_with_dropout, 1, "loss", "random"),
    "over all tokens": (right, with_loss(mean_over_all), 1, "loss", "loss.mean_over_all"),
    "mean of means": (right, with_loss(mean_of_means), 1, "loss", "loss.mean_of_means"),
    "sum": (right, with_loss(lambda x, y: flat_loss(x, y, reduction="sum")), 1, "loss", "loss.sum"),
    "bits": (right, with_loss(lambda x, y: flat_loss(x, y) / 0.6931471805599453), 1, "loss", "loss.bits"),
    "smoothed": (right, with_loss(lambda x, y: flat_loss(x, y, label_smoothing=0.1)), 1, "loss", "loss.smoothed"),
    "shifted": (right, with_loss(lambda x, y: flat_loss(x[:, :-1], y[:, 1:])), 1, "loss", "loss.shifted"),
    "-100 as class 0": (
        right, with_loss(lambda x, y: flat_loss(x, y.clamp(min=0))), 1, "loss", "loss.ignored_as_zero"),
    "frozen": (right, frozen, 1, "gradients", "weights.frozen"),
    "left out": (right, left_out, 1, "parameters", "optimizer.without_parameter"),
    "not tied": (right, untied, 1, "gradients", "weights.not_tied"),
}  # fmt: skip


@pytest.mark.parametrize("swapped", [False, True], ids=["", "swapped"])
@pytest.mark.parametrize("case", CASES)
def test_a_known_cause_is_named_and_no_other(case: str, swapped: bool) -> None:
    first, second, step, kind, key = CASES[case]
    if swapped:
        first, second = second, first
    report = verify_training(first, second, BATCHES, STEPS)
    assert not report.same
    assert (report.first_difference.step, report.first_difference.kind) == (step, kind), str(report)
    assert [cause.key for cause in report.causes] == [key], str(report)
    json.dumps(report.to_dict())


def test_a_difference_without_a_known_cause_names_none() -> None:
    def scaled():
        bert, optimizer = right()
        for parameter in bert.parameters():
            parameter.register_hook(lambda gradient: gradient * 3.3)
        return bert, optimizer

    report = verify_training(right, scaled, BATCHES, 2)
    assert report.first_difference.kind == "gradients"
    assert report.causes == []
    assert "All gradients of B are 3.3 times those of A." in report.notes
    assert "No known cause has this value." in str(report)
    assert "이 값을 내는 알려진 원인이 없습니다." in report.to_text("ko")
    assert "B 的所有梯度都是 A 的 3.3 倍。" in report.to_text("zh")


def test_the_report_in_three_languages() -> None:
    """Every word of it: only names, numbers and formulas stay."""
    report = verify_training(right, with_optimizer(eps=1e-5), BATCHES, 2)
    for language, cause, part in (
        ("en", "Cause: eps of Adam is 1e-06 in A and 1e-05 in B [√v + 1e-05].", "The runs part at step 1: "),
        (
            "ko",
            "원인: Adam의 eps가 A 쪽은 1e-06, B 쪽은 1e-05입니다 [√v + 1e-05].",
            "두 학습 과정은 1단계에서 갈라집니다",
        ),
        ("zh", "原因：Adam 的 eps 在 A 中是 1e-06，在 B 中是 1e-05 [√v + 1e-05]。", "两次训练在第 1 步分开："),
    ):
        assert cause in report.to_text(language) and part in report.to_text(language)
        assert cause in report.to_html(language)
        assert report.to_dict(language)["causes"][0]["sentence"] in cause
    words = set(re.findall("[a-z]{4,}", report.to_text("ko"))) - {"bert", "encoder", "layer", "weight", "embeddings"}
    assert {word for word in words if not any(word in name for name in right()[0].state_dict())} == set()


def test_another_weight_at_the_start_is_the_first_difference() -> None:
    def other():
        bert, optimizer = right()
        with torch.no_grad():
            bert.bert.encoder.layer[1].output.dense.bias[3] += 0.5
        return bert, optimizer

    first = verify_training(right, other, BATCHES, 1).first_difference
    assert (first.kind, first.name) == ("initial weights", "bert.encoder.layer.1.output.dense.bias")
    assert (first.place, round(first.difference, 6)) == ((3,), 0.5)


def test_generators_and_models_are_left_as_they_were() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    kept = []

    def build():
        kept.append(copy.copy(right()))
        return kept[-1]

    verify_training(build, with_dropout, BATCHES, 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in kept[0][0].modules())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"batches": []}, "batches is empty"),
        ({"batches": [3]}, "batches is empty, or no dict"),
        ({"steps": 0}, "steps is 0; expected a whole number"),
        ({"steps": True}, "steps is True"),
        ({"bound": -1}, "bound is -1"),
        ({"build_b": lambda: 3}, "build of B returned int; expected \\(model, optimizer\\)"),
        ({"build_b": lambda: 1 / 0}, "build of B failed: ZeroDivisionError"),
        ({"batches": [{"input_ids": torch.ones(1, 2, dtype=torch.long)}]}, "of A returned no loss"),
        ({"batches": [{"ids": torch.ones(1, 2, dtype=torch.long)}]}, "it is not an argument of this model"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(arguments: dict, sentence: str) -> None:
    with pytest.raises(minibert.InputError, match=sentence):
        verify_training(**{"build_a": right, "build_b": right, "batches": BATCHES} | arguments)
