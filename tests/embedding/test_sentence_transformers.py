"""What a sentence-transformers folder says is honoured, to the library's vectors, or refused by file and key."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from minibert import CheckpointError, Embedder, InputError
from tests.parity.tolerances import EMBEDDING, EMBEDDING_NORMALIZED
from tests.support.sentence_folders import (
    DENSE,
    HIDDEN,
    LAYER_NORM,
    MEAN,
    NORMALIZE,
    OLD,
    POOLING,
    TANH,
    TRANSFORMER,
    dense_weights,
    plain,
    with_dense,
    write,
)  # fmt: skip

pytestmark = pytest.mark.peers

CONFIG, SETTINGS = "config_sentence_transformers.json", "sentence_bert_config.json"
POOLING_FILE, DENSE_FILE = "1_Pooling/config.json", "2_Dense/config.json"
TEXTS = ["She sat by the bank of the river.", "배를 타고 여행을 간다!", "", "the bank was closed " * 8, "HELLO Bank"]
NAN = torch.full((12, 16), float("nan"))
PROMPTS = {"prompts": {"query": "the bank: ", "document": "she sat ", "x": "home, "}, "default_prompt_name": "x"}


@pytest.fixture
def library():
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    return pytest.importorskip("sentence_transformers")


def assert_same(found: Any, expected: Any) -> None:
    expected = torch.as_tensor(expected)
    assert found.shape == expected.shape
    assert ((found - expected).abs() / expected.abs().amax().clamp(min=1)).max().item() <= EMBEDDING


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize(
    "pooling",
    ["mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", ["lasttoken", "mean", "cls"]],
    ids=str,
)
def test_prompts_and_poolings(library, tmp_path, pooling, include: bool) -> None:
    config = {"embedding_dimension": HIDDEN, "pooling_mode": pooling, "include_prompt": include}
    folder = write(tmp_path / "m", plain() | {CONFIG: PROMPTS | {"truncate_dim": 11}, POOLING_FILE: config})
    theirs, ours = library.SentenceTransformer(str(folder), device="cpu"), Embedder.from_pretrained(folder)
    assert (ours.truncate_dim, ours.include_prompt, ours.default_prompt_name) == (11, include, "x")
    arguments: tuple[dict, ...] = (
        {}, {"prompt": "the river "}, {"prompt": ""}, {"prompt_name": "document"}, {"truncate_dim": 4},
        {"normalize_embeddings": True}, {"prompt_name": "query", "normalize_embeddings": True, "truncate_dim": 5},
        {"batch_size": 2, "convert_to_tensor": True, "show_progress_bar": False, "precision": "float32"},
    )  # fmt: skip
    for given in arguments:
        assert_same(ours.encode(TEXTS, **given), theirs.encode(TEXTS, **given))
        assert_same(ours.encode_query(TEXTS, **given), theirs.encode_query(TEXTS, **given))
        assert_same(ours.encode_document(TEXTS, **given), theirs.encode_document(TEXTS, **given))
    first, second = ours.encode(TEXTS[:3]), ours.encode(TEXTS[3:])
    for name in ("cosine", "dot", "euclidean", "manhattan"):
        ours.similarity_fn_name = theirs.similarity_fn_name = name
        assert torch.allclose(ours.similarity(first, second), theirs.similarity(first, second), atol=1e-4, rtol=1e-5)


def test_a_default_prompt_changes_the_vector(tmp_path) -> None:
    """What issue 15 found: it was not read, and a cosine of 0.87 was the result."""
    ours = Embedder.from_pretrained(write(tmp_path / "m", plain() | {CONFIG: PROMPTS}))
    assert_same(ours.encode("the river"), ours.encode("home, the river", prompt=""))
    assert (ours.encode("the river") - ours.encode("the river", prompt="")).abs().max() > 0.1
    bare = Embedder.from_pretrained(write(tmp_path / "n", plain()), prompts={"a": "hello "}, default_prompt_name="a")
    assert_same(bare.encode("the river"), bare.encode("hello the river", prompt=""))
    mine = Embedder.from_pretrained(tmp_path / "m", prompts={"x": "she "})
    assert mine.prompts == {"query": "the bank: ", "document": "she sat ", "x": "she "}


def test_labse(library, tmp_path) -> None:
    """[CLS], Dense with tanh, unit length, as that model has them; the weights from either file."""
    content = with_dense()
    folder = write(tmp_path / "m", content)
    expected = torch.tensor(library.SentenceTransformer(str(folder), device="cpu").encode(TEXTS))
    ours = Embedder.from_pretrained(folder)
    assert (ours.pooling, ours.normalize, [type(step).__name__ for step in ours.steps]) == ("cls", True, ["Dense"])
    assert_same(ours.encode(TEXTS), expected)
    assert (ours.encode(TEXTS) - expected).abs().max().item() <= EMBEDDING_NORMALIZED
    assert ours.encode([]).shape == (0, 12)
    tensors = content["2_Dense/model.safetensors"]
    again = {name: value for name, value in content.items() if not name.endswith(".safetensors")}
    as_bin = write(tmp_path / "n", again | {"2_Dense/pytorch_model.bin": tensors})
    assert torch.equal(Embedder.from_pretrained(as_bin).encode(TEXTS), ours.encode(TEXTS))
    plainly = Embedder.from_pretrained(folder, steps=(), normalize=False).encode(TEXTS)
    by_hand = torch.tanh(plainly @ tensors["linear.weight"].T + tensors["linear.bias"])
    assert torch.allclose(F.normalize(by_hand, dim=-1), expected, atol=EMBEDDING_NORMALIZED)
    with pytest.raises(
        InputError, match="Dense takes vectors of 16 numbers; this choice of pooling and layers gives 32"
    ):
        ours.encode(TEXTS, [1, 2])


def test_the_order_of_steps_counts(library, tmp_path) -> None:
    last = with_dense() | {"modules.json": [TRANSFORMER, POOLING, NORMALIZE, DENSE]}
    norm = {"norm.weight": torch.linspace(0.5, 2, HIDDEN), "norm.bias": torch.linspace(-1, 1, HIDDEN)}
    more = {"3_LayerNorm/config.json": {"dimension": HIDDEN}, "3_LayerNorm/model.safetensors": norm}
    dropout = {"name": "5", "path": "5_Dropout", "type": f"{OLD}Dropout"}
    first = with_dense() | more | {"modules.json": [TRANSFORMER, POOLING, LAYER_NORM, DENSE, NORMALIZE, dropout]}
    for number, content in enumerate((last, first)):
        folder = write(tmp_path / str(number), content)
        theirs = library.SentenceTransformer(str(folder), device="cpu")
        assert_same(Embedder.from_pretrained(folder).encode(TEXTS), theirs.encode(TEXTS))


@pytest.mark.parametrize(
    "content",
    [
        {SETTINGS: None, "sentence_roberta_config.json": {"max_seq_length": 6}},
        {SETTINGS: {}, "sentence_xlnet_config.json": {"max_seq_length": 6}},
        {SETTINGS: {"max_seq_length": None}, "tokenizer_config.json": {"model_max_length": 6}},
        {SETTINGS: {"max_seq_length": 9, "tokenizer_args": {"model_max_length": 6}}},
        {SETTINGS: {"max_seq_length": 9, "processing_kwargs": {"text": {"max_length": 6}}}},
        {SETTINGS: {"max_seq_length": 6}, "tokenizer_config.json": {"truncation_side": "left"}},
        {SETTINGS: {"max_seq_length": 6}, "modules.json": [TRANSFORMER | {"type": f"{OLD}Transformer"}, POOLING]},
    ],
)
def test_how_long_a_text_may_be(library, tmp_path, content: dict[str, Any]) -> None:
    folder = write(tmp_path / "m", plain() | content)
    ours = Embedder.from_pretrained(folder)
    assert ours.max_length == 6
    assert_same(ours.encode(TEXTS), library.SentenceTransformer(str(folder), device="cpu").encode(TEXTS))


def test_lower_case_of_a_cased_model(library, tmp_path) -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "bank", "ä", "##ä", "hello", "a", "##a"]
    vocabulary += [f"x{number}" for number in range(46 - len(vocabulary))]
    cased = {"vocab.txt": "\n".join(vocabulary) + "\n", "tokenizer_config.json": {"do_lower_case": False}}
    folder = write(tmp_path / "m", plain() | cased | {SETTINGS: {"max_seq_length": 16, "do_lower_case": True}})
    ours = Embedder.from_pretrained(folder)
    assert ours.tokenizer.tokenize("HELLO Bank Ää [MASK]") == ["hello", "bank", "ä", "##ä", "[MASK]"]
    texts = ["HELLO Bank", "Ää a", "[MASK] The"]
    assert_same(ours.encode(texts), library.SentenceTransformer(str(folder), device="cpu").encode(texts))


def test_the_old_layout_with_a_config_of_its_own_in_the_root(library, tmp_path) -> None:
    content = plain() | {"modules.json": [TRANSFORMER | {"path": "0_BERT"}, POOLING], SETTINGS: None}
    content |= {"config.json": {"__version__": "0.4.0"}, "0_BERT/sentence_bert_config.json": {"max_seq_length": 6}}
    folder = write(tmp_path / "m", content, transformer="0_BERT")
    ours = Embedder.from_pretrained(folder)
    assert ours.max_length == 6
    assert_same(ours.encode(TEXTS), library.SentenceTransformer(str(folder), device="cpu").encode(TEXTS))


def test_keys_of_no_release_are_passed_over_with_a_warning(tmp_path, caplog) -> None:
    content = plain() | {CONFIG: {"colour": "red"}, POOLING_FILE: MEAN | {"size": 3}}
    Embedder.from_pretrained(write(tmp_path / "m", content))
    assert "config_sentence_transformers.json: 'colour' is unknown to minibert and passed over." in caplog.text
    assert "1_Pooling/config.json: 'size' is unknown to minibert and passed over." in caplog.text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({SETTINGS: {"max_seq_length": "16"}}, 'max_seq_length is "16"; expected a whole number of at least 2'),
        ({SETTINGS: {"max_seq_length": float("nan")}}, "max_seq_length is NaN; expected a whole number"),
        ({SETTINGS: {"max_seq_length": -1}}, "max_seq_length is -1; expected a whole number"),
        ({SETTINGS: {"max_seq_length": True}}, "max_seq_length is true; expected a whole number"),
        ({SETTINGS: {"do_lower_case": "false"}}, 'do_lower_case is "false"; expected true or false'),
        ({SETTINGS: {"query_length": 32}}, "query_length is 32; expected one of null"),
        ({SETTINGS: {"config_args": {"num_hidden_layers": 1}}}, "config_args: num_hidden_layers is 1, an argument"),
        ({SETTINGS: {"model_args": {"torch_dtype": "float16"}}}, 'model_args: torch_dtype is "float16"; expected one'),
        ({SETTINGS: {"model_args": {}, "model_kwargs": {}}}, "has both model_kwargs and model_args"),
        ({SETTINGS: {"processing_kwargs": {"text": 3}}}, "processing_kwargs has text: 3, expected an object"),
        ({SETTINGS: {"modality_config": {"image": {}}}}, "modality_config is .*; minibert embeds texts"),
        ({CONFIG: {"prompts": {"a": 3}}}, "prompts is .*; expected an object, each value a text"),
        ({CONFIG: {"default_prompt_name": "a"}}, 'default_prompt_name is "a", expected one of its prompts: query'),
        ({CONFIG: {"similarity_fn_name": "maxsim"}}, 'similarity_fn_name is "maxsim"; expected one of "cosine"'),
        ({CONFIG: {"truncate_dim": 0}}, "truncate_dim is 0; expected a whole number of at least 1"),
        ({CONFIG: {"model_type": "SparseEncoder"}}, 'model_type is "SparseEncoder"; expected one of "SentenceTransf'),
        ({POOLING_FILE: {"pooling_mode": "median"}}, 'pooling_mode is "median"; expected one of "mean"'),
        ({POOLING_FILE: {"pooling_mode_median_tokens": True}}, "asks for pooling_mode_median_tokens; minibert has"),
        ({POOLING_FILE: {"include_prompt": "no"}}, 'include_prompt is "no"; expected true or false'),
        ({POOLING_FILE: None}, "lacks 1_Pooling/config.json, which its modules.json lists"),
        ({"modules.json": [TRANSFORMER, POOLING, {"path": "2_CNN", "type": f"{OLD}CNN"}]}, "asks for a step .*CNN"),
        ({"modules.json": [TRANSFORMER, POOLING | {"type": "modeling.Pooling"}]}, 'asks for a step "modeling.Pooling"'),
        ({"modules.json": [TRANSFORMER, POOLING | {"path": "../x"}]}, "expected a step with a folder beside it"),
        ({"modules.json": [TRANSFORMER, POOLING | {"name": "0"}]}, 'has two steps with the name "0"'),
        ({"modules.json": [TRANSFORMER, NORMALIZE, POOLING]}, "has the steps Transformer, Normalize, Pooling; "),
        ({"modules.json": [TRANSFORMER | {"path": "7_x"}, POOLING]}, "lacks 7_x/config.json, where its modules.json"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, content: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        Embedder.from_pretrained(write(tmp_path / "m", plain() | content))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({DENSE_FILE: TANH | {"activation_function": "os.system"}}, 'activation_function is "os.system"; expected one'),
        ({DENSE_FILE: TANH | {"in_features": "16"}}, 'in_features is "16"; expected a whole number'),
        ({DENSE_FILE: {"in_features": 16}}, "2_Dense/config.json lacks out_features"),
        ({DENSE_FILE: TANH | {"out_features": 1 << 27}}, r"holds .*; expected .*'linear.weight': \(134217728, 16\)"),
        ({DENSE_FILE: TANH | {"bias": False}}, "holds .*; expected"),
        ({"2_Dense/model.safetensors": "no tensors"}, "is not a whole safetensors file"),
        (dense_weights(TANH | {"in_features": 8}), "holds .*; expected"),
        ({"2_Dense/model.safetensors": {"linear.weight": NAN, "linear.bias": torch.ones(12)}}, "weight holds NaN"),
    ],
)  # fmt: skip
def test_what_a_dense_step_may_not_be(tmp_path, content: dict[str, Any], sentence: str) -> None:
    if content.get("2_Dense/model.safetensors") == "no tensors":
        folder = write(tmp_path / "m", with_dense())
        (folder / "2_Dense" / "model.safetensors").write_text("no tensors")
    else:
        folder = write(tmp_path / "m", with_dense() | content)
    with pytest.raises(CheckpointError, match=sentence):
        Embedder.from_pretrained(folder)
