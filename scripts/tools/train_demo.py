"""Trains the small Korean and English checkpoint that comes with minibert, and writes its card.

    python scripts/tools/train_demo.py                            from ../shared/data; stopped at any moment, it goes on
    python scripts/tools/train_demo.py DATA --device cuda         minutes instead of hours
    python scripts/tools/train_demo.py --install                  when it is done: into minibert/demo, as float16

The text is prepared by demo_text.py; what is held out, by whole chapter and whole review, is kept out of the vocabulary
too.  About two to five hours on two cores.  Needs pip install '.[train]'.
"""

import argparse
import dataclasses
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import demo_text
import teacher
import torch

from minibert import BertConfig, BertForMaskedLM, BertForPreTraining, BertTokenizer, fill_mask
from minibert.devices import find_device
from minibert.pretraining.distillation import principal_components
from minibert.pretraining.evaluation import heldout_scores
from minibert.pretraining.examples import PretrainingExamples
from minibert.pretraining.leakage_probe import probe_accuracy
from minibert.pretraining.run import HELD_OUT, TRAINING, Start, TrainingText, pretrain
from minibert.pretraining.tokenized import TokenizedText
from minibert.pretraining.vocabulary import train_vocabulary
from minibert.training.distributed import join_processes
from minibert.training.loop import Result
from minibert.training.metrics import NAME, read_metrics
from minibert.training.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "demo"
TARGET = ROOT / "minibert" / "demo"
NAMES = {"hangul": "Korean", "latin": "English"}
LINES = (
    "이 영화 정말 [MASK]", "연기가 너무 [MASK] 영화", "배우들의 [MASK]가 좋았다.", "시간 가는 줄 [MASK] 봤네요",
    "She was very [MASK] to see him.", "He looked at [MASK] and smiled.", "They sat down by the [MASK].",
    "The old man shook his [MASK].",
)  # fmt: skip
STEPS_A_LINE = 100  # of the log that is kept
DRAWS = 8  # of masks and pairs, for the card: there are few held-out pairs
LEAST = (1, 24, 40)  # pieces of A and B in the pairs that the card tells of: what is longer tells more

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
# How often a text is counted when the vocabulary is made: of the English there is several times as much.
COUNTED = {"english": 1, "korean": 3, "chinese": 2}
LANGUAGES = tuple(COUNTED)
LONG = 24  # pieces that A and B have at least where next sentences are learned: shorter ones tell little
OTHER = "knowledge.english"  # text of another kind than chapters, to ask about next sentences, too


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run that goes on from the weights of the one before."""

    name: str  # of its folder
    what: str  # it learns
    layout: dict[str, Any]  # of its text
    settings: Settings
    sentence_tokens: int = 0  # of the sentences whose vectors are taught in a step; 0: none
    dropout: float = 0.0


# Masked words and the teacher's vectors are learned from the first step; the vectors bring words that mean the same
# together long before enough masked ones have been seen.  Whether B follows A takes attention from A's words to B's,
# which nothing rewards before it is there, so that it is shown by itself for a while, with segments that are long enough
# to tell.  That spoils a part of the rest, and the last stage, all three together until the rate is 0, mends it.
STAGES = (
    Stage(
        "words", "all three",
        {"step_tokens": 3072},
        Settings(learning_rate=1e-3, steps=12_000, warmup=0.04, evaluate_every=1500, save_every=250, stop_after=9_000),
        sentence_tokens=1536,
    ),
    Stage(
        "pairs", f"next sentences, nothing hidden, A and B of {LONG} pieces or more",
        {"step_tokens": 6144, "shortest": LONG, "task": "nsp"},
        Settings(learning_rate=3e-4, steps=1_200, warmup=0.05, evaluate_every=300, save_every=100, seed=1),
    ),
    Stage(
        "together", f"all three, pairs of {LONG} pieces or more",
        {"step_tokens": 6144, "shortest": LONG},
        Settings(learning_rate=5e-4, steps=6_000, warmup=0.03, evaluate_every=1000, save_every=100, seed=2),
        sentence_tokens=3072,
    ),
)  # fmt: skip
TAUGHT = 8.0  # the weight of the teacher's vectors: 1 - cosine is a small number beside nats


def text_of(folder: Path, **layout: Any) -> TrainingText:
    """What is learned from, and what is held out."""
    files, heldout = (tuple(sorted(folder.glob(f"*.{part}.txt"))) for part in ("train", "heldout"))
    return TrainingText(files, heldout, **layout)


def begin(work: Path, packages: Path) -> Path:
    """The checkpoint of the first stage: a vocabulary, random weights, and the teacher's vectors of every piece.

    A piece by itself is a text for the teacher; its vector, as long as the other first weights, is where the piece's
    embedding begins.
    """
    folder = work / "start"
    if (folder / "config.json").is_file():
        return folder
    pieces = train_vocabulary(counted_lines(work / "text"), VOCABULARY)
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


@dataclasses.dataclass
class Trained:
    """Stages that are done, with everything the card tells."""

    model: BertForPreTraining
    tokenizer: BertTokenizer
    scores: dict[str, float]
    probes: tuple[float, float]  # on what was learned from, and on what was held out
    log: list[dict[str, Any]]
    facts: dict[str, Any]


def look_back(work: Path, facts: dict[str, Any]) -> Trained:
    """The last stage's weights, their scores, the log of all, and what a probe of surfaces makes of the last pairs."""
    run = work / STAGES[-1].name
    tokenizer = BertTokenizer.from_pretrained(run)
    texts = {name: TokenizedText.load(run / name, json.loads(origin_in(run / name))) for name in (TRAINING, HELD_OUT)}
    model, counts = BertForPreTraining.from_pretrained(run), texts[TRAINING].piece_counts(len(tokenizer))
    scores = heldout_scores(model, PretrainingExamples(texts[HELD_OUT], tokenizer), counts, samples=DRAWS)
    for least in LEAST:  # as pairs are asked about in use: with nothing hidden
        pairs = PretrainingExamples(texts[HELD_OUT], tokenizer, shortest=least, task="nsp")
        scores |= {f"{name} {least}": score for name, score in heldout_scores(model, pairs, samples=DRAWS).items()}
    training, heldout = (PretrainingExamples(text, tokenizer, shortest=LONG) for text in texts.values())
    probes = probe_accuracy(training, 0), sum(probe_accuracy(heldout, draw) for draw in range(DRAWS)) / DRAWS
    return Trained(model, tokenizer, scores, probes, joined_log(work), facts)


def origin_in(path: Path) -> str:
    """What a tokenized text says that it was made from."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        found: str = file.metadata()["origin"]
    return found


def joined_log(work: Path) -> list[dict[str, Any]]:
    """The log of all stages as one, thinned, its steps counted through."""
    joined: list[dict[str, Any]] = []
    for stage in STAGES:
        before = joined[-1]["step"] if joined else 0
        entries = thinned(read_metrics(work / stage.name))
        joined += [{**entry, "step": before + entry["step"]} for entry in entries]
    return joined


def thinned(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All evaluations, and the means of every hundred steps."""
    kept: list[dict[str, Any]] = []
    group: list[dict[str, Any]] = []
    for entry in entries:
        if "scores" in entry:
            kept.append(entry)
            continue
        group.append(entry)
        if len(group) == STEPS_A_LINE:
            found = {name: [one[name] for one in group if one.get(name)] for name in ("loss", "mlm", "nsp", "vectors")}
            kept.append({**entry, **{name: sum(values) / len(values) for name, values in found.items() if values}})
            group = []
    return kept


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
    (target / "README.md").write_text(card(trained, target), encoding="utf-8")


def card(trained: Trained, target: Path) -> str:
    """What a user should know: data, licence, steps, scores, what it can and cannot do."""
    scores, facts = trained.scores, trained.facts
    rows = [("all", ""), *((NAMES.get(name, name), f"/{name}") for name in ("latin", "hangul"))]
    words = "\n".join(
        f"| {name} | {scores[f'mlm_loss{end}']:.2f} | {scores[f'unigram_loss{end}']:.2f} | "
        f"{scores[f'top1{end}']:.1%} | {scores[f'top5{end}']:.1%} | {scores[f'masked{end}']:,.0f} |"
        for name, end in rows
    )
    pairs = "\n".join(
        f"| {name} | " + " | ".join(share(scores, end, least) for least in LEAST) + " |" for name, end in rows
    )
    return CARD.format(
        words=words, pairs=pairs, guesses=guesses(target), probe=trained.probes, vocabulary=VOCABULARY, draws=DRAWS,
        least=LEAST, long=LONG, count=len(STAGES), averaged=" and ".join(f"`{name}`" for name in AVERAGED), **facts,
    )  # fmt: skip


def share(scores: dict[str, float], end: str, least: int) -> str:
    """A cell of the table of pairs: how many were told right, and of how many."""
    pairs = scores[f"pairs{end} {least}"]
    return f"{scores[f'nsp_accuracy{end} {least}']:.1%} of {pairs:,.0f}" if pairs else "none"


def told(stage: Stage, result: Result) -> str:
    """A row of the card: what a stage did."""
    settings, steps = stage.settings, f"{result.steps:,}"
    return (
        f"| {stage.name} | {stage.what} | {steps if not result.stopped else f'{steps} of {result.total:,}'} | "
        f"{stage.layout['step_tokens']:,} | {settings.learning_rate:g} | {settings.warmup:.0%} | {stage.dropout:g} |"
    )


def guesses(target: Path) -> str:
    """What the checkpoint as it is stored puts in the place of [MASK]."""
    model, tokenizer = BertForMaskedLM.from_pretrained(target), BertTokenizer.from_pretrained(target)
    rows = []
    for line in LINES:
        found = fill_mask(model, tokenizer, line, 5)
        words = ", ".join(f"{guess.token} {guess.probability:.0%}" for guess in found[0])
        rows.append(f"| {line} | {words} |")
    return "\n".join(rows)


CARD = """---
language: [ko, en]
license: apache-2.0
---
# The demo checkpoint of minibert

4 layers, 256 hidden, 4 heads, 128 positions; Korean and English; {vocabulary:,} pieces, cased, Hangul composed.
Pre-trained from nothing by `scripts/tools/train_demo.py` with masked language modelling and next-sentence prediction,
and stored as float16.  It is small enough to travel with the code, so that every command and every example works
without a network.

## What it learned from
{documents}

Both are free of rights: the reviews CC0 (Naver film reviews, from the raw files of e9t/nsmc), the books in the public
domain.  The vocabulary was trained on the same text, without what is held out.  Reviews that the sentiment comparison
tests on are in neither of the Korean files to learn from.

## How
In {count} stages, each from the weights of the one before or of the one named; the checkpoint is the mean of the
weights that {averaged} ended with:

| stage | what it learned | steps | tokens a step | rate | warm-up | dropout |
| --- | --- | --- | --- | --- | --- | --- |
{stages}

The rate rises to what is given and then falls to 0 in a straight line; "800 of 1,800" ended before that.  An epoch
shows every passage twice, with the sentences that follow and with another's; masks, cuts and partners are drawn anew in
every epoch.  AdamW, the sum of both losses; trained on {where}.  The losses of
every hundred steps and every evaluation are in `metrics.jsonl`: of the stages, which are joined one after the other
and end with the last; the mean's scores stand below.

![the curves](loss.svg)

## How well it reads what it never saw
Held out by whole chapter and whole review, and asked about {draws} times, with other masks and pairs each time.  When a
stage ended, and which ends are averaged, was decided by looking at held-out next sentences, so that their shares
flatter a little; the English ones come from few chapters, too: a point more or less is chance.

Masked words, a loss in nats a piece; "unigram" is guessing by frequency alone:

| text | loss | unigram | first guess right | among five | masked pieces |
| --- | --- | --- | --- | --- | --- |
{words}

Next sentences, with nothing hidden; a random B looks as the true one does, and half of the pairs are true:

| text | A and B of any length | {least[1]} pieces or more | {least[2]} or more |
| --- | --- | --- | --- |
{pairs}

A probe that sees only lengths, punctuation and language tells true pairs from random ones ({long} pieces or more) in
{probe[0]:.1%} of the cases in the text that was learned from, and in {probe[1]:.1%} in what was held out.

## What it puts in the place of [MASK]

| line | guesses |
| --- | --- |
{guesses}

## What it can and cannot do
It knows how people write about films in Korean and how novels of the 19th century are written in English, and next to
nothing about the world.  Use it to see how BERT works, to try every command, and as a starting point for small tasks on
such text.  It is no measure of what BERT can do, and whoever needs good vectors or answers takes a large checkpoint.
Reviews are blunt; what it learned from them it may say.
"""


def main() -> int:
    """Prepare, train, and install when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=demo_text.DATA, metavar="DATA", help="../shared/data")
    parser.add_argument("--work", type=Path, default=WORK, metavar="DIR", help="of the run; default build/demo")
    parser.add_argument("--device", metavar="NAME", help="cuda, mps, …, or auto; default cpu")
    parser.add_argument("--install", action="store_true", help="write the finished checkpoint into minibert/demo")
    options = parser.parse_args()
    work: Path = options.work
    if not list((work / "text").glob("*.heldout.txt")):
        demo_text.print_summary(demo_text.prepare(options.data, work / "text"))
    vectors = teacher.teach(work / "text", work / "teacher", CONFIG.hidden_size, weight=TAUGHT)
    before = begin(work, work / "teacher")
    lines: list[str] = []
    with join_processes(find_device(options.device)) as processes:
        for stage in STAGES:
            taught = dataclasses.replace(vectors, step_tokens=stage.sentence_tokens) if stage.sentence_tokens else None
            start = Start(checkpoint=before, dropout=stage.dropout)
            text = text_of(work / "text", **stage.layout)
            result = pretrain(text, work / stage.name, stage.settings, start=start, teacher=taught, processes=processes)
            if result.interrupted:
                print(
                    f"{stage.name}: stopped after step {result.steps:,} of {result.total:,}; the same command goes on."
                )
                return 130
            before = work / stage.name
            lines.append(told(stage, result))
    if options.install:
        facts = {"stages": "\n".join(lines), "where": where(), "documents": documents(text)}
        install(look_back(work, facts), TARGET)
        print(f"{TARGET}: {sum(path.stat().st_size for path in TARGET.iterdir()) / 2**20:.1f} MiB")
    return 0


def where() -> str:
    """The machine, in words."""
    if torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name()}"
    return f"{torch.get_num_threads()} cores of a CPU ({platform.machine()}), torch {torch.__version__}"


def documents(text: TrainingText) -> str:
    """A line for each file: how much of what."""
    lines = []
    for path in map(Path, (*text.files, *text.heldout_files)):
        content = path.read_text(encoding="utf-8")
        many = len(content.split("\n\n"))
        lines.append(f"- `{path.name}`: {many:,} documents, {len(content.split()):,} words")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
