"""Small tokenizers that are not WordPiece, trained on a few sentences with the tokenizers library, as folders."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import minibert

TEXTS = [
    "안녕하세요 세계! 나는 배를 타고 여행을 간다.",
    "배를 먹었다. 배가 고프다.",
    "今天天气很好。我爱北京天安门",
    "今日はいい天気ですね。東京へ行きます",
    "The quick brown fox jumps over the lazy dog.",
    "emoji 😀👍🏽 family 👨\u200d👩\u200d👧 test",
    "Café naïve İstanbul ﬁ e\u0301",
    "  spaces   here\t\n tab",
    "1234567890 3.14",
    "don't can't won't",
]
SPECIAL = ["<s>", "</s>", "<pad>", "<unk>", "<mask>"]
KINDS = ("unigram", "byte-level bpe", "metaspace bpe", "words", "wordpiece")
PAIRS = [("<s>", 0), ("</s>", 1)]
FRAMES: dict[str, Any] = {
    "XLM-R": processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=PAIRS
    ),
    "BERT": processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=PAIRS),
    "BertProcessing": processors.BertProcessing(("</s>", 1), ("<s>", 0)),
    "RoBERTa": processors.RobertaProcessing(("</s>", 1), ("<s>", 0)),
    "byte level": processors.ByteLevel(trim_offsets=True),
    "sequence": processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single="<s> $A", pair="<s> $A </s> $B:1", special_tokens=PAIRS),
    ]),
    "none": None,
}  # fmt: skip
TRIMS = ("RoBERTa", "byte level", "sequence")  # these change offsets


def library_tokenizer(kind: str) -> Tokenizer:
    """A tokenizer of one of ``KINDS``, without a post-processor; <s> is 0, </s> 1, <pad> 2, <unk> 3, <mask> 4."""
    trainer: Any
    if kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=200, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
        )
    elif kind == "byte-level bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        letters = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=500, special_tokens=SPECIAL, initial_alphabet=letters, show_progress=False
        )
    elif kind == "metaspace bpe":
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    elif kind == "words":
        tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
        trainer = trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False)
    else:  # WordPiece, with another normalizer than BERT's
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 20, trainer)
    return tokenizer


def write_tokenizer(folder: Path, kind: str = "unigram", frame: str = "XLM-R", **config: Any) -> Path:
    """A folder with such a tokenizer.json, and a tokenizer_config.json with ``config`` besides the usual settings."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = library_tokenizer(kind)
    if FRAMES[frame] is not None:
        tokenizer.post_processor = FRAMES[frame]
    tokenizer.save(str(folder / "tokenizer.json"))
    mask = {"content": "<mask>", "lstrip": True, "__type": "AddedToken"} if kind == "unigram" else "<mask>"
    usual = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": mask}
    content = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, **usual, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def write_checkpoint(folder: Path, kind: str = "unigram", frame: str = "XLM-R") -> str:
    """A small BERT with its tokenizer and three rows too many, as multilingual-e5-small has 35."""
    tokenizer = minibert.AutoTokenizer.from_pretrained(write_tokenizer(folder, kind, frame))
    torch.manual_seed(0)
    config = minibert.BertConfig(
        vocab_size=len(tokenizer) + 3, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, pad_token_id=2, initializer_range=0.2,
    )  # fmt: skip
    minibert.BertForMaskedLM(config).save_pretrained(folder)
    return str(folder)
