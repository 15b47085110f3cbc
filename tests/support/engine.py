"""The page's engine in a browser, with any weights: what it computes comes back as tensors."""

import base64
import ctypes
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minibert.explorer.page import bundle, fingerprint, safe_json
from minibert.pretrained import BertPreTrainedModel
from tests.support.browser import Browser

DRIVER = Path(__file__).parents[1] / "explorer" / "engine" / "driver.js"
LAYOUT = '<!DOCTYPE html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">{blocks}'


def quantised(value: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers from -127 to 127 (int8), and the scale of each row (float32)."""
    scales = value.flatten(1).abs().amax(dim=1).clamp_min(1e-12) / 127
    rounded = (value / scales.view(-1, *[1] * (value.dim() - 1))).round()
    return rounded.to(torch.int8), scales


def as_the_page_has_them(model: BertPreTrainedModel, dtype: str) -> None:
    """Round the parameters of ``model``, in place, to what the page holds in this dtype; it stays float32."""
    with torch.no_grad():
        for parameter in model.parameters():
            if dtype == "float16":
                parameter.copy_(parameter.half())
            elif dtype == "int8" and parameter.dim() > 1:
                whole, scales = quantised(parameter)
                parameter.copy_(whole * scales[:, None])


def packed_weights(model: BertPreTrainedModel, dtype: str) -> tuple[list[dict[str, Any]], bytes]:
    """The table of tensors and their bytes, as engine/weights.js reads them."""
    tied = model.tied_names()
    table: list[dict[str, Any]] = []
    content = bytearray()

    def add(value: Tensor) -> int:
        content.extend(b"\0" * (-len(content) % 4))
        place = len(content)
        value = value.contiguous()
        content.extend(ctypes.string_at(value.data_ptr(), value.numel() * value.element_size()))
        return place

    for name, value in model.state_dict().items():
        if name in tied:
            continue
        entry: dict[str, Any] = {"name": name, "shape": list(value.shape), "dtype": dtype}
        if dtype == "int8" and value.dim() > 1:
            whole, scales = quantised(value)
            entry |= {"offset": add(whole), "scales": add(scales)}
        elif dtype == "float16":
            entry["offset"] = add(value.half())
        else:
            entry |= {"dtype": "float32", "offset": add(value)}
        table.append(entry)
    content.extend(b"\0" * (-len(content) % 4))
    return table, bytes(content)


def engine_page(model: BertPreTrainedModel, dtype: str, path: Path, simd: bool) -> Path:
    """Write a page with the engine and these weights, whose policy allows WebAssembly or does not."""
    table, content = packed_weights(model, dtype)
    script = bundle(DRIVER)
    blocks = (
        f'<script type="application/json" id="model">{safe_json({"config": model.config.to_dict(), "table": table})}'
        f'</script><script type="text/plain" id="weights">{base64.b64encode(content).decode()}</script>'
        f"<script>{script}</script>"
    )
    policy = f"default-src 'none'; script-src '{fingerprint(script)}'" + " 'wasm-unsafe-eval'" * simd
    path.write_text(LAYOUT.format(policy=policy, blocks=blocks), encoding="utf-8")
    return path


class Engine:
    """The engine with one model."""

    def __init__(
        self, browser: Browser, model: BertPreTrainedModel, path: Path, dtype: str = "float32", simd: bool = True
    ) -> None:
        as_the_page_has_them(model, dtype)
        self.browser, self.model = browser, model
        browser.driver.get(engine_page(model, dtype, path, simd).as_uri())
        assert browser.run("return driver.open()") is simd

    def weights(self) -> dict[str, Tensor]:
        """The tensors that the engine computes with."""
        return unpacked(self.browser.run("return driver.weights()"))

    def run(self, inputs: Mapping[str, Tensor], **options: Any) -> dict[str, Tensor]:
        """Point → value without the batch; ``options`` as in driver.js."""
        return unpacked(self.browser.run("return driver.run(arguments[0])", {"inputs": listed(inputs), **options}))

    def fails(self, **options: Any) -> str | None:
        """The sentence with which a run fails."""
        sentence: str | None = self.browser.run("return driver.fails(arguments[0])", options)
        return sentence


NAMES = {"input_ids": "ids", "token_type_ids": "segments", "position_ids": "positions", "attention_mask": "mask"}


def listed(inputs: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """The one text of ``inputs``, under the engine's names."""
    return {NAMES[name]: value[0].tolist() for name, value in inputs.items()}


def unpacked(answer: dict[str, Any]) -> dict[str, Tensor]:
    """Names and tensors, as driver.js packs them."""
    arrays = [torch.frombuffer(bytearray(base64.b64decode(one)), dtype=torch.float32) for one in answer["arrays"]]
    return {name: arrays[number].view(shape) for name, shape, number in answer["points"]}


def differences(found: Mapping[str, Tensor], traced: Mapping[str, Tensor], prefix: str) -> dict[str, float]:
    """The max |Δ| of each point that the engine has, relative to the largest value of the reference there.

    ``traced``: the points of the readable model, with its batch of one.  Masked scores are compared where they are not
    masked.
    """
    shares = {}
    for name, value in found.items():
        reference = traced[_reference_name(name, prefix)][0]
        assert value.shape == reference.shape, (name, value.shape, reference.shape)
        if name.endswith("masked_scores"):
            masked = reference < -1e37
            assert torch.equal(masked, value < -1e37)
            value, reference = value[~masked], reference[~masked]  # noqa: PLW2901
        delta = (value.double() - reference.double()).abs().max().item()
        assert math.isfinite(delta), name
        shares[name] = delta / max(reference.abs().max().item(), 1e-30)
    return shares


def _reference_name(name: str, prefix: str) -> str:
    if name.startswith("cls."):
        return name
    return prefix.removesuffix(".") + name if name.startswith("/") else prefix + name


def missing_points(found: Sequence[str] | Mapping[str, Tensor], traced: Mapping[str, Tensor], prefix: str) -> list[str]:
    """Points of the readable model that the engine does not have, but for the other names of the heads' logits."""
    ours = {_reference_name(name, prefix) for name in found}
    return [name for name in traced if name not in ours and name not in {"cls", *_LOGITS}]


_LOGITS = ("/logits", "/prediction_logits", "/seq_relationship_logits")
