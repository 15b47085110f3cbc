"""Several threads and tasks on one model: each sees and changes its own runs alone."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from minibert import edit, trace
from tests.support.small_models import assert_no_trace, assert_same_bits, eager, inputs_for, small

SCORES = "encoder.layer.1.attention.self.scores"


def test_another_thread_neither_sees_nor_is_changed() -> None:
    model, inputs = small(chunk_size_feed_forward=4), inputs_for()
    with torch.no_grad():
        fused = model(**inputs)
    seen = []
    with edit(model, "**", lambda value: seen.append(1) or value * 3), ThreadPoolExecutor(1) as pool:
        found = pool.submit(lambda: (model.is_watched(), torch.no_grad()(model)(**inputs))).result()
        assert not found[0] and seen == []
        assert_same_bits(found[1], fused)
        assert model.is_watched()
        model(**inputs)
        assert len(seen) == len(model.points())
    assert_no_trace(model)


def test_many_threads_at_once() -> None:
    """Each edits with a factor of its own, some do not; nobody's run is another's, nothing is left."""
    model = small()
    inputs = {"input_ids": torch.arange(12)[None]}
    expected = {}
    for factor in range(5):
        with edit(model, [SCORES, "encoder.layer.0"], lambda value, factor=factor: value * factor):
            expected[factor] = trace(model, inputs).outputs
    with torch.no_grad():
        expected[None] = model(**inputs)
    together = threading.Barrier(6)
    wrong = []

    def work(factor: int | None) -> None:
        together.wait()
        for _ in range(40):
            if factor is None:
                with torch.no_grad():
                    found = model(**inputs)
            else:
                with edit(model, [SCORES, "encoder.layer.0"], lambda value: value * factor):
                    found = trace(model, inputs).outputs
            if not torch.equal(found.last_hidden_state, expected[factor].last_hidden_state):
                wrong.append(factor)

    threads = [threading.Thread(target=work, args=(factor,)) for factor in (None, 0, 1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert_no_trace(model)


def test_tasks_of_one_thread() -> None:
    model, inputs = small(), inputs_for()

    async def run(factor: int) -> torch.Tensor:
        with edit(model, "embeddings", lambda value: value * factor):
            await asyncio.sleep(0)
            found = trace(model, inputs)
            await asyncio.sleep(0)
        return found["embeddings"]

    async def both() -> list[torch.Tensor]:
        return await asyncio.gather(*(run(factor) for factor in (1, 2, 3)))

    found = asyncio.run(both())
    plain = eager(model, inputs | {"output_hidden_states": True}).hidden_states[0]
    assert all(torch.equal(value, plain * factor) for value, factor in zip(found, (1, 2, 3), strict=True))
    assert_no_trace(model)


def test_a_model_and_the_encoder_in_it_are_watched_apart() -> None:
    model, inputs = small("BertForMaskedLM"), inputs_for()
    whole = trace(model, inputs)
    with (
        edit(model, "bert.embeddings", lambda value: value * 2),
        edit(model.bert, "embeddings", lambda value: value + 1),
    ):
        inner = trace(model.bert, inputs)
        outer = trace(model, inputs)
    assert torch.equal(inner["embeddings"], whole["bert.embeddings"] * 2 + 1)
    assert torch.equal(outer["bert.embeddings"], inner["embeddings"])
    assert torch.equal(outer["bert/last_hidden_state"], inner["/last_hidden_state"])
    assert_no_trace(model)
