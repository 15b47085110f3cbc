"""Finding one of BERT's values among everything a program computed: by the numbers, under any name and any layout.

A program may hold a value as (B, T, H), (T, B, H), (B·T, H), packed without padding, with heads split or merged,
fused with others, or in parts (a tensor per head, or per text).  Each is an order of *atoms* (batch, token, head, place
in the head, …), each dimension of the tensor being one or several atoms side by side.  So a layout is a stride for
every atom, and reading a tensor in that layout is a gather.

To compare quickly, every tensor is first read at a few random places only (*probes*) in every layout that its shape
allows; whatever agrees there is compared in full.  Padding does not count.  Start with :class:`Index`.
"""

import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations

import torch
from torch import Tensor

PROBES = 48
LETTERS = {"B": "sample", "T": "token", "S": "seen token", "N": "head", "D": "place", "P": "packed token", "X": "part"}


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor that the other side computed, in the order of computation."""

    name: str  # what the other side calls it, with the line of code where that is known
    tensor: Tensor
    order: int = 0

    @cached_property
    def flat(self) -> Tensor:
        """The numbers in row-major order, in their own dtype."""
        return self.tensor.detach().cpu().reshape(-1)

    @cached_property
    def eps(self) -> float:
        """The distance from 1 to the next number in the value's dtype."""
        return torch.finfo(self.tensor.dtype).eps if self.tensor.is_floating_point() else 2.0**-52


@dataclass(frozen=True)
class Layout:
    """How a tensor is read as one of BERT's values."""

    atoms: str  # in the order of the tensor, for example "TBND"; P is a visible token, X a part of a fused tensor
    strides: tuple[int, ...]
    offset: int = 0
    fixed: tuple[tuple[str, int], ...] = ()  # atoms that the tensor holds one of: a single head, a single text

    def __str__(self) -> str:
        return self.atoms


@dataclass(frozen=True, eq=False)
class Match:
    """A value of BERT, found."""

    values: tuple[Value, ...]  # several where it was found in parts
    layout: Layout
    error: float  # the largest |Δ| over what counts
    ulps: float  # the same, in units in the last place of the largest value
    tensor: Tensor  # their numbers in BERT's layout, float64; where they hold none (packed), ours
    everywhere: bool  # whether it is right at the padding as well

    @property
    def name(self) -> str:
        """What they call it."""
        first, *others = self.values
        return first.name + (f" and {len(others)} more" if others else "")


@lru_cache(maxsize=4096)
def layouts(shape: tuple[int, ...], sizes: tuple[tuple[str, int], ...]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Every order of the atoms in which a tensor of that shape can hold them: (atoms, their strides).

    Each dimension, ones apart, is the product of atoms that stand side by side.
    """
    dims = [size for size in shape if size != 1]
    real = [(atom, size) for atom, size in sizes if size != 1]
    if math.prod(dims) != math.prod(size for _, size in real):
        return ()
    kept: dict[str, tuple[int, ...]] = {}
    for order in permutations(real):
        if not _fits([size for _, size in order], dims):
            continue
        strides, below = {}, 1
        for atom, size in reversed(order):
            strides[atom] = below
            below *= size
        kept["".join(atom for atom, _ in order)] = tuple(strides.get(atom, 0) for atom, _ in sizes)
    return tuple(kept.items())


def _fits(sizes: Sequence[int], dims: Sequence[int]) -> bool:
    """Whether the sizes, multiplied up from the left, give the dimensions."""
    at, product = 0, 1
    for size in sizes:
        product *= size
        if at < len(dims) and product == dims[at]:
            at, product = at + 1, 1
        elif at >= len(dims) or dims[at] % product:
            return False
    return product == 1 and at == len(dims)


class Index:
    """All values of one run of the other side, ready to be searched.

    Args:
        values: in the order of computation.
        visible: (B, T) bool, the tokens that are no padding.
        sizes: of the letters N, D, I, V, C.
    """

    def __init__(self, values: Sequence[Value], visible: Tensor, sizes: Mapping[str, int]) -> None:
        self.values, self.visible, self.sizes = list(values), visible, dict(sizes)
        self.families: dict[tuple[str, str], _Family] = {}
        self._counts: dict[str, Tensor] = {}
        self.parts = {""}  # in which parts values were found so far: whole, a head, a text, a head of a text

    def family(self, axes: str, fixed: str) -> "_Family":
        """Every value read as something with these axes; made when it is first asked for."""
        if (axes, fixed) not in self.families:
            self.families[axes, fixed] = _Family(self, axes, fixed)
        return self.families[axes, fixed]

    def find(self, axes: str, expected: Tensor, units: float, *, quickly: bool = False) -> Match | None:
        """The first value that equals ``expected`` within ``units`` in the last place of its largest number.

        None as well where ``expected`` is constant, which anything could equal by chance.  ``quickly``: in parts (a
        tensor per head, per text) only where other values were found in such parts.
        """
        ways = [
            fixed
            for fixed in ("", "N", "B", "BN")
            if all(letter in atoms_of(axes) for letter in fixed) and (not quickly or fixed in self.parts)
        ]
        roughly = float(expected.abs().max()) if expected.numel() else float("nan")  # of the padding, too
        largest: float | None = None
        for fixed in ways:
            family = self.family(axes, fixed)
            if roughly < float("inf") and not family.may_hold(expected, units * roughly):
                continue
            if largest is None:
                numbers = expected[self.counts(axes)]
                largest = float(numbers.abs().max()) if len(numbers) else float("nan")
                if not largest < float("inf") or float(numbers.max() - numbers.min()) <= 1e-12 * largest:
                    return None
            match = family.find(expected, units, largest)
            if match is not None:
                self.parts.add(fixed)
                return match
        return None

    def may_equal(self, axes: str, a: Tensor, b: Tensor, bound: float) -> bool:
        """Whether two values with these axes are that near at the probes; where not, they are not anywhere."""
        family = self.family(axes, "")
        return bool(family.choices) and float((family.at_probes(a) - family.at_probes(b)).abs().max()) <= bound

    def counts(self, axes: str) -> Tensor:
        """True where a value with these axes counts, in its shape up to the last axis that decides."""
        if axes not in self._counts:
            self._counts[axes] = self._where_it_counts(axes)
        return self._counts[axes]

    def _where_it_counts(self, axes: str) -> Tensor:
        if axes == "BNTS":
            both = self.visible[:, None, :, None] & self.visible[:, None, None, :]
            return both.expand(-1, self.sizes["N"], -1, -1)
        return self.visible if axes.startswith("BT") else self.visible.any(dim=1)


def atoms_of(axes: str) -> str:
    """H is N and D side by side."""
    return axes.replace("H", "ND")


class _Family:
    """Every value of a run, read as something with the same axes, at the same probes."""

    def __init__(self, index: Index, axes: str, fixed: str) -> None:
        self.index, self.axes, self.fixed = index, axes, fixed
        self.atoms = "".join(atom for atom in atoms_of(axes) if atom not in fixed)
        B, T = index.visible.shape
        self.sizes = {**index.sizes, "B": B, "T": T, "S": T}
        # One set of probes for each choice of the fixed atoms: a head, a text.
        self.choices = list(self._choices())
        self.probes = [self._probes(choice) for choice in self.choices]
        self.read: list[list[tuple[Value, Layout]]] = []
        self.table: list[Tensor] = []
        self.eps: dict[int, Tensor] = {}
        self.places: dict[int, Tensor] = {}  # of the probes, in a value in BERT's layout
        by_text = "B" in fixed
        for number, choice in enumerate(self.choices):
            if number and not by_text:  # a head's probes are the same for every head
                self.read.append(self.read[0])
                self.table.append(self.table[0])
                continue
            pairs = [(value, layout) for value in index.values for layout in self._layouts(value, choice)]
            known: dict[tuple[int, Layout], Tensor] = {}  # by the tensor: several values may be one
            for value, layout in pairs:
                key = id(value.tensor), layout
                if key not in known:
                    known[key] = value.flat[self._places(layout, self.probes[number])].double()
            rows = [known[id(value.tensor), layout] for value, layout in pairs]
            self.read.append(pairs)
            self.table.append(torch.stack(rows) if rows else torch.zeros(0, PROBES, dtype=torch.float64))

    def _choices(self) -> Iterator[dict[str, int]]:
        heads = range(self.sizes["N"]) if "N" in self.fixed else [None]
        texts = [b for b in range(self.sizes["B"]) if self.index.visible[b].any()] if "B" in self.fixed else [None]
        if ("B" in self.fixed and len(texts) < 2) or ("N" in self.fixed and self.sizes["N"] < 2):
            return
        for b in texts:
            for n in heads:
                yield {letter: at for letter, at in (("B", b), ("N", n)) if at is not None}

    def _probes(self, choice: Mapping[str, int]) -> dict[str, Tensor]:
        """Random coordinates among those that count: letter → (PROBES,) int64."""
        draw = torch.Generator().manual_seed(7)
        visible = self.index.visible
        if "B" in choice:
            tokens = visible[choice["B"]].nonzero()[:, 0]
            pairs = torch.stack([torch.full_like(tokens, choice["B"]), tokens], dim=1)
        else:
            pairs = visible.nonzero()
        picked = pairs[torch.randint(len(pairs), (PROBES,), generator=draw)]
        at = {"B": picked[:, 0], "T": picked[:, 1]}
        if "S" in self.atoms:
            lengths = [visible[b].nonzero()[:, 0] for b in at["B"].tolist()]
            at["S"] = torch.stack([seen[torch.randint(len(seen), (), generator=draw)] for seen in lengths])
        for letter in "NDIVC":
            if letter in self.atoms:
                at[letter] = torch.randint(self.sizes[letter], (PROBES,), generator=draw)
        return at

    def _layouts(self, value: Value, choice: Mapping[str, int]) -> Iterator[Layout]:
        """Every way to read a value with these axes."""
        shape, numel = tuple(value.tensor.shape), value.tensor.numel()
        fixed = tuple(choice.items()) if "B" in self.fixed else ()
        sizes = {atom: self.sizes[atom] for atom in self.atoms}
        tried = [sizes]
        visible = self.index.visible
        if "B" in choice and "T" in sizes:  # a text by itself has no padding
            length = int(visible[choice["B"]].sum())
            if length != sizes["T"]:
                tried.append({**sizes, "T": length, **({"S": length} if "S" in sizes else {})})
        elif self.axes.startswith("BT") and not visible.all():
            tried.append({"P": int(visible.sum()), **{a: s for a, s in sizes.items() if a not in "BT"}})
        for each in tried:
            whole = math.prod(each.values())
            if not whole or numel % whole:
                continue
            parts = numel // whole
            if parts == 1:
                for atoms, strides in layouts(shape, tuple(each.items())):
                    yield Layout(atoms, self._by_atom(each, strides), 0, fixed)
            elif parts in (2, 3) and self.axes == "BTH":  # keys and values, or all three, in one tensor
                for atoms, strides in layouts(shape, (*each.items(), ("X", parts))):
                    for part in range(parts):
                        yield Layout(atoms, self._by_atom(each, strides[:-1]), part * strides[-1], fixed)

    def _by_atom(self, sizes: Mapping[str, int], strides: Sequence[int]) -> tuple[int, ...]:
        """The strides of B, T, … in the order of this family's atoms, -1 where a packed token takes their place."""
        known = dict(zip(sizes, strides, strict=True))
        return tuple(known.get(atom, -known["P"] if "P" in known else 0) for atom in self.atoms)

    def _places(self, layout: Layout, at: Mapping[str, Tensor]) -> Tensor:
        """Where in the flat tensor these coordinates are."""
        places = torch.full((PROBES,), layout.offset)
        packed = 0
        for atom, stride in zip(self.atoms, layout.strides, strict=True):
            if stride < 0:
                packed = -stride
            else:
                places = places + at[atom] * stride
        return places + self.rank[at["B"], at["T"]] * packed if packed else places

    @cached_property
    def rank(self) -> Tensor:
        """(B, T): the number of each visible token among them, row by row."""
        return (self.index.visible.flatten().cumsum(0) - 1).view_as(self.index.visible).clamp(min=0)

    def at_probes(self, expected: Tensor, number: int = 0) -> Tensor:
        """A value in BERT's layout at the probes, (PROBES,)."""
        if number not in self.places:
            at = {**self.probes[number], **{k: torch.full((PROBES,), v) for k, v in self.choices[number].items()}}
            places = torch.zeros(PROBES, dtype=torch.long)
            for atom in atoms_of(self.axes):
                places = places * self.sizes[atom] + at[atom]
            self.places[number] = places
        return expected.reshape(-1)[self.places[number]]

    def may_hold(self, expected: Tensor, bound: float) -> bool:
        """Whether any value is that near at the probes, in units of its eps; where not, :meth:`find` finds none."""
        if not self.choices or not len(self.table[0]):
            return False
        distance = (self.table[0] - self.at_probes(expected)).abs().amax(dim=1)
        return bool((distance <= self._eps(0) * bound).any())

    def find(self, expected: Tensor, units: float, scale: float) -> Match | None:
        """As :meth:`Index.find`, in one family; ``scale``: the largest number that counts."""
        if not self.choices:
            return None
        canonical = self._split(expected)
        counts = self._counts()
        found: list[tuple[Value, Layout]] = []
        result, error, ulps = canonical.clone(), 0.0, 0.0
        for number, choice in enumerate(self.choices):
            distance = (self.table[number] - self.at_probes(expected, number)).abs().amax(dim=1)
            best = None
            for row in (distance <= self._eps(number) * (units * scale)).nonzero()[:, 0].tolist():
                value, layout = self.read[number][row]
                part = self._part(canonical, choice)
                theirs = self._whole(value, layout, part, choice)
                here = (theirs - part).abs()[self._part(counts, choice)]
                far = float(here.max()) if len(here) else math.inf
                if far <= units * value.eps * scale:
                    best = value, layout, theirs, far
                    break
            if best is None:
                return None
            value, layout, theirs, far = best
            found.append((value, layout))
            self._part(result, choice).copy_(torch.where(theirs.isfinite(), theirs, self._part(result, choice)))
            error, ulps = max(error, far), max(ulps, far / (value.eps * scale) if scale else 0.0)
        values = tuple(dict.fromkeys(value for value, _ in found))
        padding = float((result - canonical).abs().max())
        everywhere = padding <= units * values[0].eps * max(scale, float(canonical.abs().max()))
        return Match(values, found[0][1], error, ulps, self._joined(result), everywhere)

    def computed_after(self, order: int, known: Iterable[Tensor], others: Container[Value] = ()) -> bool:
        """Whether a tensor that is none of the known values, and could be read with these axes, came after a place.

        ``others``: values that are known not to be meant.
        """
        if not self.choices:
            return False
        at = self.probes[0]
        seen = [self._split(each)[tuple(at[atom] for atom in self.atoms)] for each in known]
        later: dict[Value, bool] = {}  # whether it is one of the known, in one of its layouts
        for (value, _), row in zip(self.read[0], self.table[0], strict=True):
            if value.order > order and value not in others:
                same = any(float((row - each).abs().max()) <= 1e-5 * float(each.abs().max()) for each in seen)
                later[value] = later.get(value, False) or same
        return not all(later.values())

    def likeness(self, expected: Tensor) -> list[int]:
        """The rows of the first choice, those first whose numbers at the probes are most like the value's."""
        at = self.probes[0]
        right = self._split(expected)[tuple(at[atom] for atom in self.atoms)]
        table = self.table[0].nan_to_num()
        cosine = (table @ right).abs() / (table.norm(dim=1) * right.norm()).clamp(min=1e-300)
        order: list[int] = cosine.argsort(descending=True).tolist()
        return order

    def whole(self, value: Value, layout: Layout, ours: Tensor) -> Tensor:
        """A value in BERT's layout; where it holds no number (padding), ours."""
        return self._joined(self._whole(value, layout, self._split(ours), {}))

    def _eps(self, number: int) -> Tensor:
        """The eps of every value that was read, (M,)."""
        if number not in self.eps:
            self.eps[number] = torch.tensor([value.eps for value, _ in self.read[number]], dtype=torch.float64)
        return self.eps[number]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(self.axes.index("H"), (self.sizes["N"], -1)) if "H" in self.axes else x  # type: ignore[no-untyped-call, unused-ignore]

    def _joined(self, x: Tensor) -> Tensor:
        return x.flatten(self.axes.index("H"), self.axes.index("H") + 1) if "H" in self.axes else x

    def _counts(self) -> Tensor:
        """True where a value counts, with an axis for every atom."""
        atoms = atoms_of(self.axes)
        counts = self.index.counts(self.axes)
        while counts.dim() < len(atoms):
            counts = counts.unsqueeze(-1)
        return counts.expand([self.sizes[atom] for atom in atoms])

    def _part(self, x: Tensor, choice: Mapping[str, int]) -> Tensor:
        """What a fixed head or text leaves of a tensor with an axis for every atom; a view."""
        atoms = atoms_of(self.axes)
        return x[tuple(choice.get(atom, slice(None)) for atom in atoms)]

    def _whole(self, value: Value, layout: Layout, ours: Tensor, choice: Mapping[str, int]) -> Tensor:
        """The value in BERT's layout; where it holds no number (padding), ours."""
        shape = ours.shape
        length = value.tensor.numel()
        if "B" not in choice and min(layout.strides) >= 0 and length % ours.numel() == 0:  # every number is there
            return value.flat.as_strided(shape, layout.strides, value.flat.storage_offset() + layout.offset).double()
        places = torch.full(shape, layout.offset)
        inside = torch.ones(shape, dtype=torch.bool)
        packed = 0
        for axis, (atom, stride) in enumerate(zip(self.atoms, layout.strides, strict=True)):
            view = [1] * len(shape)
            view[axis] = -1
            if stride < 0:
                packed = -stride
                continue
            coordinate = torch.arange(shape[axis])
            places = places + (coordinate * stride).view(view)
            if "B" in choice and atom in "TS" and int(self.index.visible[choice["B"]].sum()) != shape[axis]:
                text = int(self.index.visible[choice["B"]].sum())
                if math.prod(self._cut(shape, text)) == length:
                    inside = inside & (coordinate < text).view(view)
        if packed:
            rank = self.rank.reshape(*self.rank.shape, *[1] * (len(shape) - 2))
            places = places + rank * packed
            inside = inside & self.index.visible.reshape(rank.shape)
        return torch.where(inside, value.flat[places.clamp(max=length - 1)].double(), ours)

    def _cut(self, shape: Sequence[int], length: int) -> list[int]:
        return [length if atom in "TS" else size for atom, size in zip(self.atoms, shape, strict=True)]
