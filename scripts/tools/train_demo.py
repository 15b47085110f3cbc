"""Trains the small checkpoint that comes with minibert, in Korean, English and Chinese, and writes its card.

    python scripts/tools/train_demo.py                            from ../shared/data; stopped at any moment, it goes on
    python scripts/tools/train_demo.py DATA --device cuda         minutes instead of hours
    python scripts/tools/train_demo.py --install                  when it is done: into minibert/demo, as float16

The text is prepared by demo_text.py; what is held out, by whole document, is kept out of the vocabulary too.  A teacher
(teacher.py) reads sentences of it first, about an hour; then about four to six hours on two cores, half of that with
--precision bfloat16 where the processor multiplies in it.  Needs apt-get, npm and pip install '.[train]'.
"""

import argparse
import dataclasses
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import demo_card
import demo_text
import teacher
import torch
from demo_card import LONG, Trained, look_back

from minibert import BertConfig, BertForPreTraining, BertTokenizer
from minibert.devices import find_device
from minibert.errors import MinibertError
from minibert.pretraining.distillation import principal_components
from minibert.pretraining.run import Start, TrainingText, pretrain
from minibert.pretraining.vocabulary import train_vocabulary
from minibert.training.distributed import join_processes
from minibert.training.loop import Result
from minibert.training.metrics import NAME
from minibert.training.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "demo"
TARGET = ROOT / "minibert" / "demo"
# No dropout: a model this small does not learn its text by heart in a few epochs with masks drawn anew, and it learns
# more in the same time.
# First weights twice as large as BERT's usual 0.02, which suits 768 numbers and not 256: [CLS] then says something
# about its text from the beginning, and next-sentence prediction has something to learn from.
CONFIG = BertConfig.from_pretrained(
    "bert-mini",
    max_position_embeddings=128,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.04,
)
VOCABULARY = 16_000
EVERY_WORD = 10_000_000  # more than the text has: rare words decide a tenth of the pieces, and there is memory for them
# How often a text is counted when the vocabulary is made: of the English there is several times as much.
COUNTED = {"english": 1, "korean": 3, "chinese": 2}


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run that goes on from the weights of the one before."""

    name: str  # of its folder
    what: str  # it learns
    layout: dict[str, Any]  # of its text
    settings: Settings
    sentence_tokens: int = 0  # of the sentences whose vectors are taught in a step; 0: none
    weight: float = 8.0  # of their loss: 1 - cosine is a small number beside nats
    languages_apart: bool = False  # whether what the vectors of a language have in common is left out of them
    without: tuple[str, ...] = ()  # texts that its passages are not from


# Masked words and the teacher's vectors are learned from the first step; the vectors bring words that mean the same
# together long before enough masked ones have been seen.  Whether B follows A takes attention from A's words to B's,
# which nothing rewards before it is there, so that it is shown by itself for a while, with segments that are long
# enough to tell.  That spoils a part of the rest, and the last stage, all three together until the rate is 0, mends it;
# half of the text is English manuals and glosses, and of those it has seen enough by then.
STAGES = (
    Stage(
        "words", "all three",
        {"step_tokens": 3072},
        Settings(learning_rate=1e-3, steps=10_000, warmup=0.04, evaluate_every=1500, save_every=250, stop_after=7_000),
        sentence_tokens=1536,
    ),
    Stage(
        "pairs", f"next sentences, nothing hidden, A and B of {LONG} pieces or more",
        {"step_tokens": 6144, "shortest": LONG, "task": "nsp"},
        Settings(learning_rate=3e-4, steps=900, warmup=0.05, evaluate_every=300, save_every=100, seed=1),
    ),
    Stage(
        "together", f"all three, pairs of {LONG} pieces or more",
        {"step_tokens": 6144, "shortest": LONG},
        Settings(
            learning_rate=5e-4, steps=5_000, warmup=0.03, evaluate_every=1000, save_every=100, seed=2, stop_after=1_200
        ),
        sentence_tokens=3072,
        without=("manuals.english", "knowledge.english"),
    ),
    Stage(
        "sentences", f"all three, pairs of {LONG} pieces or more",
        {"step_tokens": 3072, "shortest": LONG},
        Settings(learning_rate=5e-4, steps=3_300, warmup=0.03, evaluate_every=1100, save_every=100, seed=3),
        sentence_tokens=6144,
        weight=20.0,
        languages_apart=True,
        without=("manuals.english", "knowledge.english"),
    ),
)  # fmt: skip


def text_of(folder: Path, stage: Stage) -> TrainingText:
    """What is learned from, and what is held out."""
    files, heldout = (sorted(folder.glob(f"*.{part}.txt")) for part in ("train", "heldout"))
    chosen = [file for file in files if file.name.removesuffix(".train.txt") not in stage.without]
    return TrainingText(tuple(chosen), tuple(heldout), **stage.layout)


def begin(work: Path, packages: Path) -> Path:
    """The checkpoint of the first stage: a vocabulary, random weights, and the teacher's vectors of every piece.

    A piece by itself is a text for the teacher; its vector, as long as the other first weights, is where the piece's
    embedding begins.
    """
    folder = work / "start"
    if (folder / "config.json").is_file():
        return folder
    pieces = train_vocabulary(counted_lines(work / "text"), VOCABULARY, most_words=EVERY_WORD)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=False, model_max_length=128)
    torch.manual_seed(0)
    model = BertForPreTraining(BertConfig(**{**CONFIG.to_dict(), "vocab_size": len(tokenizer)}))
    vectors = teacher.Teacher.fetch(packages).encode([piece.removeprefix("##") for piece in pieces])
    components = principal_components(vectors, CONFIG.hidden_size)
    ordinary = torch.tensor([not piece.startswith("[") or len(piece) == 1 for piece in pieces])
    with torch.no_grad():
        weight = model.bert.embeddings.word_embeddings.weight
        weight[ordinary] = (components * CONFIG.initializer_range / components.std())[ordinary]
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def counted_lines(text: Path) -> Iterator[str]:
    """Every line to learn from, as often as its language counts."""
    for path in sorted(text.glob("*.train.txt")):
        lines = path.read_text(encoding="utf-8").split("\n")
        for _ in range(COUNTED[path.name.split(".")[1]]):
            yield from filter(None, lines)


def install(trained: Trained, target: Path) -> None:
    """Write the checkpoint as float16, with its vocabulary, log, curve and card."""
    from minibert.training.curve import draw_curves

    model = trained.model
    model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.1
    model.save_pretrained(target, dtype=torch.float16)  # half the space; run in float32
    trained.tokenizer.save_pretrained(target)
    lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in trained.log)
    (target / NAME).write_text(lines, encoding="utf-8")
    draw_curves(target)
    (target / "README.md").write_text(demo_card.card(trained, target), encoding="utf-8")


def told(stage: Stage, result: Result) -> list[str]:
    """Cells of the card: what a stage did."""
    settings, steps = stage.settings, f"{result.steps:,}"
    return [
        stage.what,
        steps if not result.stopped else f"{steps} of {result.total:,}",
        f"{stage.layout['step_tokens'] + stage.sentence_tokens:,}",
        f"{stage.sentence_tokens:,} × {stage.weight:g}" if stage.sentence_tokens else "none",
        f"{settings.learning_rate:g}",
    ]


def main() -> int:
    """Prepare, train, and install when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=demo_text.DATA, metavar="DATA", help="../shared/data")
    parser.add_argument("--work", type=Path, default=WORK, metavar="DIR", help="of the run; default build/demo")
    parser.add_argument("--device", metavar="NAME", help="cuda, mps, …, or auto; default cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="default float32")
    parser.add_argument("--install", action="store_true", help="write the finished checkpoint into minibert/demo")
    options = parser.parse_args()
    try:
        return run(options)
    except MinibertError as error:
        sys.exit(str(error))


def run(options: argparse.Namespace) -> int:
    """Every stage that is not done yet."""
    work: Path = options.work
    if not list((work / "text").glob("*.heldout.txt")):
        demo_text.print_summary(demo_text.prepare(options.data, work / "text"))
    vectors = {
        apart: teacher.teach(work / "text", work / "teacher", CONFIG.hidden_size, languages_apart=apart)
        for apart in sorted({stage.languages_apart for stage in STAGES})
    }
    before = begin(work, work / "teacher")
    done: list[list[str]] = []
    with join_processes(find_device(options.device)) as processes:
        for stage in STAGES:
            taught = None
            if stage.sentence_tokens:
                chosen = vectors[stage.languages_apart]
                taught = dataclasses.replace(chosen, step_tokens=stage.sentence_tokens, weight=stage.weight)
            settings = dataclasses.replace(stage.settings, precision=options.precision)
            result = pretrain(
                text_of(work / "text", stage), work / stage.name, settings,
                start=Start(checkpoint=before), teacher=taught, processes=processes,
            )  # fmt: skip
            if result.interrupted:
                print(
                    f"{stage.name}: stopped after step {result.steps:,} of {result.total:,}; the same command goes on."
                )
                return 130
            before = work / stage.name
            done.append(told(stage, result))
    if options.install:
        facts = {
            "told": done, "count": len(STAGES), "where": f"{where()}, {options.precision}",
            "taught": len(vectors[False].sentences),
            "documents": demo_card.documents(demo_card.files_of(work / "text")),
            "stage_columns": " | ".join(demo_card.STAGE_COLUMNS),
        }  # fmt: skip
        install(look_back(work, [stage.name for stage in STAGES], options.data, facts), TARGET)
        print(f"{TARGET}: {sum(path.stat().st_size for path in TARGET.iterdir()) / 2**20:.1f} MiB")
    return 0


def where() -> str:
    """The machine, in words."""
    if torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name()}"
    return f"{torch.get_num_threads()} cores of a CPU ({platform.machine()}), torch {torch.__version__}"


if __name__ == "__main__":
    sys.exit(main())
