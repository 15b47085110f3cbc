"""The last step: the learner's own model with minibert-demo's weights, a guess, and what verify says of it."""

import math
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minibert.heads import BertForPreTraining
from minibert.learn.workbook.judge import Calling, failed
from minibert.learn.workbook.model_steps import NAMES, demo
from minibert.learn.workbook.steps import WHOLE
from minibert.learn.workbook.verdict import MISTAKE, NOT_WRITTEN, RIGHT, Verdict
from minibert.source import DEMO
from minibert.tokenizer import BertTokenizer
from minibert.verify import VerifyReport, verify_against_port
from minibert.verify.batches import batches_from_text

TEXT = "이 영화 정말 [MASK]"
GUESSES = 5
CLOSE = 1e-3  # of a probability
NEEDED = {"build": "build(config, state_dict)", "fill_mask": "fill_mask(model, input_ids, mask_id, k)"}


def judge_whole(module: types.ModuleType, file: Path, calling: Calling) -> Verdict:
    """Build the learner's model from the checkpoint, guess with it, and verify it."""
    for name, signature in NEEDED.items():
        if not hasattr(module, name):
            return Verdict(WHOLE, "missing", details={"expected": signature})
    config, state, _ = demo()
    tokenizer = BertTokenizer.from_pretrained(DEMO)
    ids = list(tokenizer(TEXT)["input_ids"])
    batch = batches_from_text(tokenizer, config)["padded pairs"]
    try:
        with calling():
            torch.set_default_dtype(torch.float32)  # as the checkpoint; what was set comes back after the block
            model = module.build(config, {name: value.clone() for name, value in state.items()})
            guesses = [
                (int(number), float(p)) for number, p in module.fill_mask(model, ids, tokenizer.mask_token_id, GUESSES)
            ]
            hidden_states, _, logits = model(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
            report = verify_against_port(DEMO, f"{file}:build")
    except NotImplementedError:
        return Verdict(WHOLE, NOT_WRITTEN)
    except (Exception, SystemExit) as error:
        return failed(WHOLE, error, file)
    details: dict[str, Any] = {
        "text": TEXT,
        "guesses": [[tokenizer.convert_ids_to_tokens(number), probability] for number, probability in guesses],
    }
    explanation = report.explanation
    if explanation is not None and not explanation.same:
        return differs(report, details)
    ours = BertForPreTraining.from_pretrained(DEMO, attn_implementation="eager").eval()
    with torch.no_grad():
        expected = ours(**batch, output_hidden_states=True)
        right = (
            ours(torch.tensor([ids])).prediction_logits[0, ids.index(tokenizer.mask_token_id)].softmax(-1).topk(GUESSES)
        )
    if not same_guesses(guesses, right.indices.tolist(), right.values.tolist()):
        best = tokenizer.convert_ids_to_tokens(right.indices.tolist()[0])
        found = details["guesses"][0][0] if guesses else "[]"
        return Verdict(WHOLE, "differs", first={"place": TEXT, "expected": best, "found": str(found)}, details=details)
    seen = batch["attention_mask"].bool()
    pairs = list(zip([*hidden_states, logits], [*expected.hidden_states, expected.prediction_logits], strict=True))
    difference, ulps = largest(pairs, seen)
    points = explanation.points if explanation is not None else []
    details |= {"ulps": ulps, "found": sum(point.status == "found" for point in points), "all": len(points)}
    return Verdict(WHOLE, RIGHT, difference=difference, details=details)


def same_guesses(guesses: list[tuple[int, float]], ids: list[int], probabilities: list[float]) -> bool:
    """Whether the pieces are the same in the same order, and their probabilities nearly so."""
    if [number for number, _ in guesses] != ids:
        return False
    return all(abs(one - two) <= CLOSE for (_, one), two in zip(guesses, probabilities, strict=True))


def largest(pairs: list[tuple[Tensor, Tensor]], seen: Tensor) -> tuple[float, float]:
    """The largest |Δ| of the tokens that are no padding, and the largest in units in the last place.

    The unit is that of each value's largest number, as in verify.
    """
    difference = ulps = 0.0
    for found, expected in pairs:
        delta = float((found[seen].double() - expected[seen].double()).abs().max())
        unit = 2.0 ** (math.floor(math.log2(float(expected[seen].abs().max()))) - 23)
        difference, ulps = max(difference, delta), max(ulps, delta / unit)
    return difference, ulps


def differs(report: VerifyReport, details: dict[str, Any]) -> Verdict:
    """The verdict from what verify found, the first thing alone."""
    explanation = report.explanation
    assert explanation is not None
    mistakes = list(told(explanation.findings[0])) if explanation.findings else []
    place = explanation.first_difference or ""
    first = {"place": place, "expected": "", "found": explanation.findings[0].theirs if explanation.findings else ""}
    return Verdict(WHOLE, MISTAKE if mistakes else "differs", first=first, mistakes=mistakes, details=details)


def told(finding: Any) -> Iterator[dict[str, Any]]:
    """The mistakes of a finding; several, where their values are the same."""
    places = ", ".join(dict.fromkeys(NAMES.get(point, point) for point in finding.points[:3]))
    for key, details in {mistake.key: mistake.details for mistake in finding.mistakes}.items():
        yield {"key": key, "details": {**details, "where": places}}
