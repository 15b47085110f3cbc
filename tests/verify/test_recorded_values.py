"""Values that any program recorded: found under any names, in .safetensors and .npz, never unpickled."""

import pytest
import torch
from safetensors.torch import save_file

from minibert.errors import InputError
from minibert.verify.computation import Reference
from minibert.verify.observe import observe
from minibert.verify.recorded import observe_values
from minibert.verify.search import explain_runs
from tests.support.small_models import small

numpy = pytest.importorskip("numpy")

IDS = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
SEGMENTS = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0]])
BATCH = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": SEGMENTS}
X = torch.arange(60.0).view(2, 5, 6).sin()


@pytest.fixture(scope="module")
def model():
    return small(attn_implementation="eager")


@pytest.fixture(scope="module")
def values(model):
    """Every value of a right run, under names that say nothing."""
    return {f"t{value.order:03}": value.tensor.contiguous().clone() for value in observe(model, BATCH).values}


def explain(model, path, **given):
    batch, seen = observe_values(path, **given)
    assert all(torch.equal(batch[role], tensor) for role, tensor in BATCH.items())
    reference = Reference(model.config, {name: tensor.double() for name, tensor in model.state_dict().items()})
    return explain_runs(reference, {"run": batch}, {"run": seen})


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_a_right_run_has_no_difference(model, values, ending, tmp_path):
    path = tmp_path / f"run.{ending}"
    tensors = {**values, "ids": IDS, "mask": MASK, "segment_ids": SEGMENTS}
    if ending == "npz":
        numpy.savez_compressed(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    else:
        save_file(tensors, path)
    found = explain(model, path)
    assert found.same
    assert {point.status for point in found.points} == {"found"}


def test_a_mistake_in_a_recorded_run_is_named(model):
    theirs = small(attn_implementation="eager", layer_norm_eps=1e-3)
    theirs.load_state_dict(model.state_dict())
    values = {f"t{value.order:03}": value.tensor for value in observe(theirs, BATCH).values}
    found = explain(model, {**values, "inputs/input_ids": IDS, "attention_mask": MASK, "token_type_ids": SEGMENTS})
    assert len(found.findings) == 1
    assert {mistake.details["eps"] for mistake in found.findings[0].mistakes} == {"1e-3"}
    assert found.findings[0].points[0] == "embeddings"


def test_ids_may_be_given(model, values):
    assert explain(model, values, input_ids=IDS, attention_mask=MASK, token_type_ids=SEGMENTS).same


def test_the_order_is_the_file_s(tmp_path):
    numpy.savez(tmp_path / "run.npz", z=X.numpy(), a=(X + 1).numpy(), input_ids=IDS.numpy())
    _, seen = observe_values(tmp_path / "run.npz")
    assert [value.name for value in seen.values] == ["z", "a"]
    save_file({"a": X.half(), "z": X, "ids": IDS}, tmp_path / "run.safetensors")  # it writes the larger dtype first
    _, seen = observe_values(tmp_path / "run.safetensors")
    assert [value.name for value in seen.values] == ["z", "a"]


def test_mask_and_segments_may_be_missing_and_one_text_may_have_no_batch():
    batch, _ = observe_values({"tokens": IDS[0], "x": X[:1]})
    assert batch["input_ids"].tolist() == [IDS[0].tolist()]
    assert batch["attention_mask"].tolist() == [[1] * 5]
    assert batch["token_type_ids"].tolist() == [[0] * 5]


def test_every_kind_of_float_is_kept_and_nothing_else(tmp_path):
    tensors = {
        "a": X.double(),
        "b": X.half(),
        "c": X.bfloat16(),
        "d": X,
        "e": X > 0,
        "f": X.int(),
        "input_ids": IDS.int(),
    }
    save_file(tensors, tmp_path / "run.safetensors")
    _, seen = observe_values(tmp_path / "run.safetensors")
    assert {value.name: value.tensor.dtype for value in seen.values} == {
        "a": torch.float64,
        "b": torch.float16,
        "c": torch.bfloat16,
        "d": torch.float32,
    }
    assert torch.equal(next(value for value in seen.values if value.name == "c").tensor, X.bfloat16())


def test_arrays_of_other_machines_are_read(tmp_path):
    fortran = numpy.asfortranarray(X.numpy()).astype(">f4", order="F")
    raw = X.bfloat16().view(torch.int16).numpy().view("V2")  # how an npz holds the bfloat16 of ml_dtypes
    ids = IDS.numpy().astype(">f8")  # some programs have no integers
    numpy.savez(tmp_path / "run.npz", x=fortran, y=raw, words=numpy.array(["a"]), input_ids=ids)
    batch, seen = observe_values(tmp_path / "run.npz")
    assert torch.equal(batch["input_ids"], IDS)
    assert torch.equal(seen.values[0].tensor, X)
    assert torch.equal(seen.values[1].tensor, X.bfloat16())


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("something was unpickled",))


def test_objects_are_refused(tmp_path):
    numpy.savez(tmp_path / "run.npz", x=X.numpy(), input_ids=IDS.numpy(), trap=numpy.array([Trap()], dtype=object))
    with pytest.raises(InputError, match="trap holds Python objects, which are not read"):
        observe_values(tmp_path / "run.npz")
    with pytest.raises(InputError, match="trap holds Python objects"):
        observe_values({"trap": Trap(), "input_ids": IDS})


def test_files_that_cannot_be_read_are_told(tmp_path):
    for name in ("run.npz", "run.safetensors"):
        with pytest.raises(InputError, match="There is no file"):
            observe_values(tmp_path / name)
        for content in (
            b"",
            b"PK\x03\x04 no archive",
            b"\x80\x04K\x01.",
            b"\xff" * 30,
            (2).to_bytes(8, "little") + b"[]",
        ):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(InputError, match="cannot be read as"):
                observe_values(tmp_path / name)
    (tmp_path / "run.txt").write_text("1 2 3")
    with pytest.raises(InputError, match=r"a \.safetensors or an \.npz file"):
        observe_values(tmp_path / "run.txt")
    numpy.save(tmp_path / "one.npy", X.numpy())
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    with pytest.raises(InputError, match="holds one array"):
        observe_values(tmp_path / "one.npz")
    numpy.savez(tmp_path / "cut.npz", x=X.numpy(), input_ids=IDS.numpy())
    content = bytearray((tmp_path / "cut.npz").read_bytes())
    content[200:220] = bytes(20)
    (tmp_path / "cut.npz").write_bytes(content)
    with pytest.raises(InputError, match="x cannot be read"):
        observe_values(tmp_path / "cut.npz")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"x": X}, "there are no ids"),
        ({"x": X, "input_ids": IDS + 0.5}, "there are no ids"),
        ({"input_ids": IDS}, "no tensors of floating-point numbers"),
        ({"x": X, "input_ids": IDS[None, None]}, r"\(B, T\) integers were expected"),
        ({"x": X, "input_ids": IDS, "mask": MASK[:, :4]}, r"attention_mask is \(2, 4\)"),
        ({"x": X, "input_ids": IDS, "mask": MASK * -10000}, "other numbers than 0 and 1"),
        ({"x": X, "input_ids": IDS, "mask": MASK * 0}, "0 everywhere"),
    ],
)
def test_what_is_missing_is_told(values, sentence):
    with pytest.raises(InputError, match=sentence):
        observe_values(values)


def test_what_was_not_recorded_is_no_difference(model):
    """Hidden states of the first layers alone; and a wrong one among them still counts."""
    states = model(**BATCH, output_hidden_states=True).hidden_states
    values = {f"x{k}": state.detach() for k, state in enumerate(states[:2])}
    found = explain(model, {**values, **BATCH})
    assert found.same
    assert [point.point for point in found.points if point.status == "found"] == [
        "embeddings",
        "encoder.layer.0.output",
    ]
    assert {point.status for point in found.points} == {"found", "unseen"}
    found = explain(model, {**values, "x2": states[1].detach() * 0.9, **BATCH})
    assert [mistake.key for mistake in found.findings[0].mistakes] == ["relation.unknown"]
