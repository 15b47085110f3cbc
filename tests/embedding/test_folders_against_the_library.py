"""300 mutated sentence-transformers folders: the library's vectors, or a sentence of ours; never others in silence.

Each variant starts from one of five good folders and has one to three changes: another value, right or of another kind
or out of range, for a key that some release writes; a key that none does; a key, a file or a step that is missing,
twice, or in another place.
"""

import contextlib
import copy
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from minibert import Embedder
from minibert.errors import MinibertError
from tests.parity.tolerances import EMBEDDING, EMBEDDING_NORMALIZED
from tests.support.sentence_folders import (
    DENSE,
    HIDDEN,
    LAYER_NORM,
    MEAN,
    NORMALIZE,
    OLD,
    POOLING,
    TRANSFORMER,
    dense_weights,
    plain,
    with_dense,
    write,
)  # fmt: skip

pytestmark = pytest.mark.peers

VARIANTS = 300
TEXTS = [
    "She sat by the bank of the river.",
    "배를 타고 여행을 간다!",
    "",
    "the bank was closed, so she went home again and again and again and again and again",
    "HELLO Bank",
    "the",
]
WRONG: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    5.0,
    0.5,
    float("nan"),
    1e30,
    "",
    "x",
    "true",
    "16",
    [],
    ["x"],
    {},
    {"a": 1},
]
NEW = "sentence_transformers.sentence_transformer.modules."
MODES = ["mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
# By file and key: values that the library takes.
RIGHT: dict[str, dict[str, list[Any]]] = {
    "config_sentence_transformers.json": {
        "prompts": [
            {"query": "the bank: ", "document": "she sat ", "passage": "home "},
            {"query": "", "x": "hello, "},
            {"document": "The river. "},
            {"query": None, "x": "여행을 "},
            {},
        ],
        "default_prompt_name": [None, "query", "x", "document", "y"],
        "similarity_fn_name": [None, "cosine", "dot", "euclidean", "manhattan", "maxsim"],
        "truncate_dim": [None, 1, 7, 16, 99],
        "model_type": ["SentenceTransformer", "SparseEncoder", "CrossEncoder"],
        "__version__": [{"sentence_transformers": "2.2.2", "transformers": "4.0", "pytorch": "1"}, {}],
        "requirements": [None, {}],
    },
    "sentence_bert_config.json": {
        "max_seq_length": [None, 2, 3, 8, 16, 32, 512],
        "do_lower_case": [True, False],
        "tokenizer_args": [{}, {"model_max_length": 6}, {"trust_remote_code": True}, {"padding_side": "left"}],
        "processor_kwargs": [{}, {"model_max_length": 5}, {"do_lower_case": False}],
        "model_args": [{}, {"attn_implementation": "eager"}, {"torch_dtype": "float32"}, {"torch_dtype": "bfloat16"}],
        "model_kwargs": [{}, {"add_pooling_layer": False}],
        "config_args": [{}, {"num_hidden_layers": 1}, {"layer_norm_eps": 0.1}, {"hidden_act": "relu"}],
        "config_kwargs": [{}, {"use_cache": False}],
        "transformer_task": ["feature-extraction", "fill-mask", "sequence-classification"],
        "modality_config": [
            {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            {"text": {"method": "forward", "method_output_name": ["hidden_states", 1]}},
            {"text": {"method": "forward", "method_output_name": "pooler_output"}},
        ],
        "module_output_name": ["token_embeddings", "sentence_embedding", None],
        "processing_kwargs": [
            {}, None, {"text": {"max_length": 5}}, {"text": {"padding": "max_length"}}, {"audio": {"x": 1}},
            {"common": {"max_length": 4}}, {"text": {"truncation": "longest_first", "max_length": 9}},
            {"text": {"add_special_tokens": False}},
        ],
        "unpad_inputs": [None, True, False],
        "query_length": [None, 4],
        "document_length": [None, 4],
        "query_expansion": [None, {"strategy": "fixed", "length": 8}],
        "tokenizer_name_or_path": [None],
    },
    "1_Pooling/config.json": {
        "pooling_mode": [*MODES, ["mean"], ["lasttoken", "mean"], ["max", "cls", "weightedmean"], ["mean", "mean"], []],
        "include_prompt": [True, False],
        "pooling_mode_cls_token": [True, False],
        "pooling_mode_mean_tokens": [True, False],
        "pooling_mode_max_tokens": [True, False],
        "pooling_mode_mean_sqrt_len_tokens": [True, False],
        "pooling_mode_weightedmean_tokens": [True, False],
        "pooling_mode_lasttoken": [True, False],
        "pooling_mode_median_tokens": [True, False],
        "word_embedding_dimension": [HIDDEN],
        "embedding_dimension": [HIDDEN, 8],
    },
    "2_Dense/config.json": {
        "in_features": [16, 12],
        "out_features": [12, 5],
        "bias": [True, False],
        "activation_function": [
            "torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.GELU",
            "torch.nn.modules.activation.ReLU", "torch.nn.SiLU", "torch.nn.modules.activation.Softmax",
            "torch.nn.functional.relu", "torch.nn.modules.activation.PReLU", "os.system", "my.Tanh",
        ],
        "use_residual": [True, False],
        "module_input_name": ["sentence_embedding", "token_embeddings"],
        "module_output_name": [None, "sentence_embedding", "token_embeddings"],
        "extra": [1],
    },
    "4_Normalize/config.json": {
        "module_input_name": ["sentence_embedding", "token_embeddings"],
        "module_output_name": [None, "sentence_embedding", "x"],
    },
    "tokenizer_config.json": {
        "do_lower_case": [True, False],
        "model_max_length": [8, 12, 512],
        "truncation_side": ["left", "right"],
    },
}  # fmt: skip
Content = dict[str, Any]


def another_value(generator: random.Random, content: Content) -> None:
    """A value that some folder may have, or one of another kind or out of range."""
    file = generator.choice([*RIGHT, "sentence_bert_config.json", "1_Pooling/config.json"])
    key = generator.choice([*RIGHT[file]])
    # Wrong values for the tokenizer's own files are another test's.
    values = RIGHT[file][key] if generator.random() < 0.75 or file == "tokenizer_config.json" else WRONG
    content[file] = {**(content.get(file) or {}), key: copy.deepcopy(generator.choice(values))}
    if file.startswith("2_Dense") and generator.random() < 0.7:  # weights that fit, as far as that can be
        with contextlib.suppress(KeyError, TypeError, ValueError, RuntimeError):
            content |= dense_weights(content[file])


def prompts(generator: random.Random, content: Content) -> None:
    """Prompts, a default one, and perhaps without their tokens in the pooling."""
    file = "config_sentence_transformers.json"
    texts = generator.choice(RIGHT[file]["prompts"])
    default = generator.choice([None, *texts])
    content[file] = {**(content.get(file) or {}), "prompts": texts, "default_prompt_name": default}
    if generator.random() < 0.6:
        content["1_Pooling/config.json"] = {**(content["1_Pooling/config.json"] or {}), "include_prompt": False}


def unknown_key(generator: random.Random, content: Content) -> None:
    """A key that no release writes."""
    file = generator.choice([*RIGHT])
    content[file] = {**(content.get(file) or {}), "colour": generator.choice(WRONG)}


def lost(generator: random.Random, content: Content) -> None:
    """A key or a whole file less."""
    file = generator.choice([name for name in content if not name.endswith(".safetensors")])
    if isinstance(content[file], dict) and content[file] and generator.random() < 0.7:
        content[file] = dict(content[file])
        del content[file][generator.choice([*content[file]])]
    elif file != "modules.json":
        content[file] = None


def renamed(generator: random.Random, content: Content) -> None:
    """The Transformer's settings under an older name, perhaps beside another file."""
    name = generator.choice(["roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet", "electra"])
    content[f"sentence_{name}_config.json"] = {"max_seq_length": generator.choice([4, 9])}
    if generator.random() < 0.8:
        content["sentence_bert_config.json"] = generator.choice([None, {}])


def other_steps(generator: random.Random, content: Content) -> None:
    """Steps in another order, twice, of another class, or with another path."""
    steps = [dict(step) for step in content["modules.json"]]
    step = generator.choice(steps)
    change = generator.choice(["class", "path", "order", "twice", "less", "names", "value"])
    if change == "class":
        kind = generator.choice(
            ["Transformer", "Pooling", "Normalize", "Dense", "LayerNorm", "Dropout", "CNN", "LSTM", "WordWeights"]
        )
        before = generator.choice([OLD, NEW, "sentence_transformers.base.modules.", "modeling.", ""])
        step["type"] = before + (kind if generator.random() < 0.3 else step["type"].rpartition(".")[2])
    elif change == "path":
        step["path"] = generator.choice(["", ".", "1_Pooling", "../secret", "/", "9_None", "a/b", 3])
    elif change == "order":
        generator.shuffle(steps)
    elif change == "twice":
        again = dict(step) if generator.random() < 0.3 else {**step, "name": "again"}
        steps.insert(generator.randrange(len(steps) + 1), again)
    elif change == "less":
        steps.remove(step)
    elif change == "names":
        step["name"] = generator.choice(steps)["name"]
    else:
        step[generator.choice(["idx", "name", "type", "path", "kwargs"])] = generator.choice(WRONG)
    content["modules.json"] = steps


def more_steps(generator: random.Random, content: Content) -> None:
    """A LayerNorm or a Normalize in some place after the pooling."""
    steps = list(content["modules.json"])
    added = generator.choice([LAYER_NORM, NORMALIZE])
    steps.insert(generator.randint(min(2, len(steps)), len(steps)), {**added, "name": "more"})
    width = (content.get("2_Dense/config.json") or {}).get("out_features", HIDDEN)
    if not isinstance(width, int) or not 1 <= width < 99:
        return
    content["3_LayerNorm/config.json"] = {"dimension": width}
    content["3_LayerNorm/model.safetensors"] = {
        "norm.weight": torch.linspace(0.5, 2, width),
        "norm.bias": torch.linspace(-1, 1, width),
    }
    content["modules.json"] = steps


NEW_MEAN = {"embedding_dimension": HIDDEN, "pooling_mode": "mean", "include_prompt": True}
BASES: list[Callable[[], Content]] = [
    plain,
    with_dense,
    lambda: plain() | {"modules.json": [TRANSFORMER, POOLING, NORMALIZE]},
    lambda: plain() | {"1_Pooling/config.json": NEW_MEAN},
    lambda: with_dense() | {"modules.json": [TRANSFORMER, POOLING, NORMALIZE, DENSE], "1_Pooling/config.json": MEAN},
]  # fmt: skip
CHANGES = [another_value] * 6 + [prompts, prompts, unknown_key, lost, renamed, other_steps, other_steps, more_steps]


def variant(number: int) -> Content:
    """A good folder with one to three changes."""
    generator = random.Random(number)
    content = copy.deepcopy(generator.choice(BASES)())
    for change in generator.choices(CHANGES, k=generator.randint(1, 3)):
        change(generator, content)
    return content


def vectors_of(model: Any) -> list[torch.Tensor]:
    """What the three ways to encode give."""
    return [torch.as_tensor(encode(TEXTS)) for encode in (model.encode, model.encode_query, model.encode_document)]


def test_mutated_folders(tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    counts = {"equal": 0, "refused": 0, "refused there": 0}
    for number in range(VARIANTS):
        folder = write(tmp_path / "model", variant(number))
        try:
            found = vectors_of(Embedder.from_pretrained(folder))
        except MinibertError:
            counts["refused"] += 1
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = vectors_of(library.SentenceTransformer(str(folder), device="cpu"))
        except Exception:  # whatever that library raises for a folder that it does not read
            counts["refused there"] += 1
            continue
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.shape == theirs.shape, (number, variant(number))
            scale = theirs.abs().amax(dim=-1, keepdim=True).clamp(min=1)
            assert ((ours - theirs).abs() / scale).max().item() <= EMBEDDING, (number, variant(number))
            assert (ours.norm(dim=-1) - theirs.norm(dim=-1)).abs().max().item() <= 10 * EMBEDDING_NORMALIZED
        counts["equal"] += 1
    assert counts["equal"] >= 100, counts  # a reader that refuses everything would pass otherwise
    assert counts["refused there"] <= 15, counts
