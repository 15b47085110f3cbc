"""Write the checkpoints in tests/checkpoint/google* with TensorFlow itself, and what TensorFlow computes from them.

The tests read these files without TensorFlow, so that our reader is held against the original's writer and our model
against the original's arithmetic.  This script needs ``pip install tensorflow-cpu`` (2.21 made the committed files),
in an environment of its own; nothing else in this repository does.  A second run writes the same bytes.

    python scripts/tools/make_google_fixture.py

    google/          a random BERT of two layers, laid out as google-research/bert publishes: bert_model.ckpt.* with
                     Adam's slots, bert_config.json, vocab.txt; expected.json, what TensorFlow reads back from it;
                     expected_forward.json, what TensorFlow's operations make of it, see ``forward``
    google_sharded/  the same weights, without the slots, in two shards
    google_other/    what else a bundle can hold: every_dtype, partitioned, object_based

Sources: google-research/bert modeling.py and run_pretraining.py (names, shapes, arithmetic).
"""

import json
import os
import shutil
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # keep the reference to TensorFlow's own kernels

import numpy as np
import tensorflow as tf

TESTS = Path(__file__).resolve().parents[2] / "tests" / "checkpoint"

CONFIG = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 16,
    "initializer_range": 0.02,
    "intermediate_size": 32,
    "max_position_embeddings": 12,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "type_vocab_size": 2,
    "vocab_size": 40,
}

VOCAB = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *"abcdefghijklmnopqrstuvwxyz.,",
    *("the", "##s", "##ing", "##ed", "un", "##able", "over"),
]

# Two sequences, the second padded; two segments in each; an id twice in one sequence.
INPUT_IDS = [[2, 33, 16, 4, 35, 3, 30, 33, 3], [2, 11, 39, 3, 12, 3, 0, 0, 0]]
ATTENTION_MASK = [[1, 1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 0, 0, 0]]
TOKEN_TYPE_IDS = [[0, 0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 0, 0, 0]]


def shapes() -> dict[str, tuple[int, ...]]:
    """Every weight of google-research/bert's pre-training graph; a kernel is (in, out), torch's is (out, in)."""
    hidden, intermediate = CONFIG["hidden_size"], CONFIG["intermediate_size"]

    def dense(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}

    def layer_norm(name: str) -> dict[str, tuple[int, ...]]:
        return {f"{name}/LayerNorm/gamma": (hidden,), f"{name}/LayerNorm/beta": (hidden,)}

    result: dict[str, tuple[int, ...]] = {
        "bert/embeddings/word_embeddings": (CONFIG["vocab_size"], hidden),
        "bert/embeddings/token_type_embeddings": (CONFIG["type_vocab_size"], hidden),
        "bert/embeddings/position_embeddings": (CONFIG["max_position_embeddings"], hidden),
        **layer_norm("bert/embeddings"),
    }
    for number in range(CONFIG["num_hidden_layers"]):
        layer = f"bert/encoder/layer_{number}"
        for part in ("query", "key", "value"):
            result |= dense(f"{layer}/attention/self/{part}", hidden, hidden)
        result |= dense(f"{layer}/attention/output/dense", hidden, hidden)
        result |= layer_norm(f"{layer}/attention/output")
        result |= dense(f"{layer}/intermediate/dense", hidden, intermediate)
        result |= dense(f"{layer}/output/dense", intermediate, hidden)
        result |= layer_norm(f"{layer}/output")
    result |= dense("bert/pooler/dense", hidden, hidden)
    result |= dense("cls/predictions/transform/dense", hidden, hidden)
    result |= layer_norm("cls/predictions/transform")
    result["cls/predictions/output_bias"] = (CONFIG["vocab_size"],)
    result["cls/seq_relationship/output_weights"] = (2, hidden)  # (out, in), unlike every kernel
    result["cls/seq_relationship/output_bias"] = (2,)
    return result


def random_weights(generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Large enough, and with biases and gammas of every size, that no two of them can be exchanged unnoticed."""
    weights = {}
    for name, shape in shapes().items():
        values = generator.normal(0.0, 0.3, shape)
        weights[name] = (values + 1.0 if name.endswith("gamma") else values).astype(np.float32)
    return weights


def with_adam_slots(weights: dict[str, np.ndarray], generator: np.random.Generator) -> dict[str, np.ndarray]:
    """What Google's optimizer leaves in the file: two moments for each weight, and the step."""
    result: dict[str, np.ndarray] = {"global_step": np.array(1234567, np.int64)}
    for name, value in weights.items():
        result[name] = value
        result[f"{name}/adam_m"] = generator.normal(0.0, 1e-3, value.shape).astype(np.float32)
        result[f"{name}/adam_v"] = np.square(generator.normal(0.0, 1e-3, value.shape)).astype(np.float32)
    return result


def save(prefix: Path, tensors: dict[str, np.ndarray]) -> None:
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )


def save_in_shards(prefix: Path, tensors: dict[str, np.ndarray], shards: int) -> None:
    """As a Saver with ``sharded=True`` does: a bundle for each device, then one index over all."""
    names = sorted(tensors)
    parts = []
    for shard in range(shards):
        part = tf.raw_ops.ShardedFilename(basename=f"{prefix}_part", shard=shard, num_shards=shards).numpy().decode()
        save(Path(part), {name: tensors[name] for name in names[shard::shards]})
        parts.append(part)
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(prefix), delete_old_dirs=False)


def save_others(folder: Path, generator: np.random.Generator) -> None:
    """A bundle of every dtype we read, and two of kinds that we list but refuse to read."""
    numbers = generator.integers(0, 100, (2, 3))
    names = ["float32", "float16", "bfloat16", "float64", "int32", "int64", "int16", "int8", "uint8"]
    tensors = {name: tf.cast(tf.constant(numbers), name).numpy() for name in names}
    tensors |= {"bool": numbers % 2 == 0, "empty": np.zeros((0, 3), np.float32), "strings": np.array([b"one", b"two"])}
    save(folder / "every_dtype", tensors)

    halves = [tf.constant(numbers[:, :2], tf.float32), tf.constant(numbers[:, 2:], tf.float32)]
    tf.raw_ops.SaveV2(
        prefix=str(folder / "partitioned"),
        tensor_names=["split", "split", "whole"],
        shape_and_slices=["2 3 -:0,2", "2 3 -:2,1", ""],
        tensors=[*halves, tf.constant(numbers, tf.float32)],
    )
    tf.train.Checkpoint(kernel=tf.Variable(halves[0]), step=tf.Variable(7, dtype=tf.int64)).write(
        str(folder / "object_based")
    )


def read_back(prefix: Path) -> dict[str, dict[str, object]]:
    """Every tensor of the bundle, as TensorFlow's own reader gives it."""
    reader = tf.train.load_checkpoint(str(prefix))
    result = {}
    for name, shape in sorted(reader.get_variable_to_shape_map().items()):
        dtype = reader.get_variable_to_dtype_map()[name]
        description: dict[str, object] = {"dtype": dtype.name, "shape": shape}
        if dtype != tf.string:
            values = np.asarray(reader.get_tensor(name)).astype(np.float64)
            description |= {"sum": float(values.sum()), "first": values.reshape(-1)[:5].tolist()}
        result[name] = description
    return result


def forward(prefix: Path, dtype: tf.DType) -> dict[str, tf.Tensor]:
    """The whole of google-research/bert's modeling.py and run_pretraining.py, without dropout, in TensorFlow's ops.

    ``hidden_act: gelu`` is the exact one, x · Φ(x) with erf, as in the repository's first release; a later commit
    put the tanh approximation in its place.
    """
    reader = tf.train.load_checkpoint(str(prefix))

    def weight(name: str) -> tf.Tensor:
        return tf.cast(reader.get_tensor(name), dtype)

    def dense(name: str, inputs: tf.Tensor) -> tf.Tensor:
        return tf.einsum("...i,io->...o", inputs, weight(f"{name}/kernel")) + weight(f"{name}/bias")

    def layer_norm(name: str, inputs: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(inputs, axes=[-1], keepdims=True)
        beta, gamma = weight(f"{name}/LayerNorm/beta"), weight(f"{name}/LayerNorm/gamma")
        return tf.nn.batch_normalization(inputs, mean, variance, beta, gamma, variance_epsilon=1e-12)

    def gelu(inputs: tf.Tensor) -> tf.Tensor:
        return inputs * 0.5 * (1.0 + tf.math.erf(inputs / tf.sqrt(tf.constant(2.0, dtype))))

    def heads(inputs: tf.Tensor) -> tf.Tensor:  # (B, T, H) → (B, N, T, D)
        batch, tokens, hidden = inputs.shape
        split = tf.reshape(
            inputs, (batch, tokens, CONFIG["num_attention_heads"], hidden // CONFIG["num_attention_heads"])
        )
        return tf.transpose(split, (0, 2, 1, 3))

    def attention(name: str, inputs: tf.Tensor) -> tf.Tensor:
        query, key, value = (heads(dense(f"{name}/self/{part}", inputs)) for part in ("query", "key", "value"))
        scores = tf.matmul(query, key, transpose_b=True) / tf.sqrt(tf.constant(query.shape[-1], dtype))
        scores += (1.0 - tf.constant(ATTENTION_MASK, dtype)[:, None, None, :]) * -10000.0
        context = tf.transpose(tf.matmul(tf.nn.softmax(scores), value), (0, 2, 1, 3))
        return dense(f"{name}/output/dense", tf.reshape(context, inputs.shape))

    words = weight("bert/embeddings/word_embeddings")
    hidden = tf.gather(words, INPUT_IDS)
    hidden += tf.gather(weight("bert/embeddings/token_type_embeddings"), TOKEN_TYPE_IDS)
    hidden += weight("bert/embeddings/position_embeddings")[: len(INPUT_IDS[0])]
    hidden = layer_norm("bert/embeddings", hidden)
    outputs = {"hidden_states.0": hidden}  # the embeddings; hidden_states.n leaves the n-th layer
    for number in range(CONFIG["num_hidden_layers"]):
        layer = f"bert/encoder/layer_{number}"
        attended = layer_norm(f"{layer}/attention/output", hidden + attention(f"{layer}/attention", hidden))
        intermediate = gelu(dense(f"{layer}/intermediate/dense", attended))
        hidden = layer_norm(f"{layer}/output", attended + dense(f"{layer}/output/dense", intermediate))
        outputs[f"hidden_states.{number + 1}"] = hidden
    outputs["pooler_output"] = pooled = tf.tanh(dense("bert/pooler/dense", hidden[:, 0]))

    transformed = gelu(dense("cls/predictions/transform/dense", hidden))
    transformed = layer_norm("cls/predictions/transform", transformed)
    logits = tf.einsum("bth,vh->btv", transformed, words) + weight("cls/predictions/output_bias")
    outputs["prediction_logits"] = logits
    relationship = tf.matmul(pooled, weight("cls/seq_relationship/output_weights"), transpose_b=True)
    outputs["seq_relationship_logits"] = relationship + weight("cls/seq_relationship/output_bias")
    return outputs


def write_json(path: Path, content: dict[str, object]) -> None:
    """One line for each top-level key: small, and readable in a diff.  Floats are written to the last bit."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def as_lists(outputs: dict[str, tf.Tensor]) -> dict[str, object]:
    """Each value by the shortest decimal that gives it back in its own dtype."""

    def shortest(values: np.ndarray) -> object:
        return [shortest(value) for value in values] if values.ndim else float(str(values))

    return {name: shortest(output.numpy()) for name, output in outputs.items()}


def main() -> None:
    google, sharded, other = (TESTS / name for name in ("google", "google_sharded", "google_other"))
    for folder in (google, sharded, other):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    generator = np.random.default_rng(20181011)
    weights = random_weights(generator)

    save(google / "bert_model.ckpt", with_adam_slots(weights, generator))
    (google / "bert_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
    (google / "vocab.txt").write_text("\n".join(VOCAB) + "\n", encoding="utf-8")
    write_json(google / "expected.json", read_back(google / "bert_model.ckpt"))
    inputs = {"input_ids": INPUT_IDS, "attention_mask": ATTENTION_MASK, "token_type_ids": TOKEN_TYPE_IDS}
    expected = {
        f"{dtype.name}.{name}": values
        for dtype in (tf.float32, tf.float64)
        for name, values in as_lists(forward(google / "bert_model.ckpt", dtype)).items()
    }
    write_json(google / "expected_forward.json", inputs | expected)

    save_in_shards(sharded / "bert_model.ckpt", weights, shards=2)
    save_others(other, generator)
    for name in ("every_dtype", "partitioned", "object_based"):
        write_json(other / f"{name}.expected.json", read_back(other / name))
    files = [path for folder in (google, sharded, other) for path in folder.iterdir()]
    print(f"TensorFlow {tf.__version__} wrote {len(files)} files, {sum(path.stat().st_size for path in files):,} bytes")


if __name__ == "__main__":
    main()
