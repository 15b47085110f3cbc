"""The centres of an index: directions that a sample of the vectors gathers around (k-means by cosine).

Of each vector the nearest centre is found, then each centre becomes the mean direction of its vectors, a few times.
What is there after each time is kept in a file, so that a run that was killed goes on from it.  Start with
:func:`find_centres`.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from minibert.checkpoint.save import write_safetensors
from minibert.corpus.opened import OpenCorpus

ROUNDS = 8  # more of them gain little
VECTORS_PER_CENTRE = 40  # of the sample; faiss asks for 39 at least
PRODUCTS = 1 << 23  # of vectors and centres that are in memory at once


def find_centres(corpus: OpenCorpus, count: int, folder: Path) -> Tensor:
    """``count`` directions, (count, W) float32 of unit length.  ``folder``: where the state is kept."""
    kept = [number for number in range(1, ROUNDS + 1) if state_path(folder, number).is_file()]
    if kept:
        centres = load_file(state_path(folder, kept[-1]))["centres"]
    if kept[-1:] == [ROUNDS]:
        return centres
    vectors = sample_of(corpus, min(corpus.vectors, VECTORS_PER_CENTRE * count))
    if not kept:
        centres = vectors[:count].clone()  # the sample's order is drawn
    rounds = range(len(kept) + 1 if not kept else kept[-1] + 1, ROUNDS + 1)
    for number in tqdm(rounds, desc="finding centres", unit=" rounds", leave=False, disable=None):
        centres = moved(vectors, centres, number)
        write_safetensors(state_path(folder, number), {"centres": centres})
        state_path(folder, number - 1).unlink(missing_ok=True)
    return centres


def state_path(folder: Path, number: int) -> Path:
    """Where the centres are after that many rounds."""
    return folder / f"centres-{number}.safetensors"


def sample_of(corpus: OpenCorpus, size: int) -> Tensor:
    """``size`` of the vectors in a drawn order, (size, W) float32 of unit length."""
    draw = torch.Generator().manual_seed(0)
    chosen = torch.randperm(corpus.vectors, generator=draw)[:size].sort().values
    parts = [directions(corpus, numbers) for numbers in torch.split(chosen, 1 << 14)]
    return torch.cat(parts)[torch.randperm(size, generator=draw)]


def directions(corpus: OpenCorpus, numbers: Tensor) -> Tensor:
    """These vectors, (n,) sorted numbers, as (n, W) float32 of unit length; those of zeros stay."""
    return F.normalize(corpus.stored_as.dequantize(corpus.stored(numbers)), dim=1).float()


def nearest_centres(vectors: Tensor, centres: Tensor) -> Tensor:
    """The number of the centre nearest to each of (n, W) vectors: (n,) int64."""
    at_once = max(1, PRODUCTS // len(centres))
    return torch.cat([(block @ centres.T).argmax(dim=1) for block in torch.split(vectors, at_once)])


def moved(vectors: Tensor, centres: Tensor, seed: int) -> Tensor:
    """Each centre as the mean direction of its vectors; one without vectors becomes a drawn vector."""
    owners = nearest_centres(vectors, centres)
    sums = torch.zeros_like(centres).index_add_(0, owners, vectors)
    empty = (torch.bincount(owners, minlength=len(centres)) == 0).nonzero()[:, 0]
    draw = torch.Generator().manual_seed(seed)
    sums[empty] = vectors[torch.randperm(len(vectors), generator=draw)[: len(empty)]]
    return F.normalize(sums, dim=1)
