"""A .bin file read without torch's or Python's pickle: its state dict, and where the numbers are in the file.

A pickle is a program for a stack machine: "push this string, push that number, call this function".  Python's own
machine calls whatever the program names.  torch's ``weights_only=True`` calls only the functions on its list, which
includes ``bytearray`` (a hundred bytes that fill the memory).  The machine here calls nothing at all: it knows the
three functions that build a tensor, and any other name in a program stays a name (:class:`_Foreign`) that is never
looked up.  So it reads a training checkpoint past its optimizer, its hyper-parameters and the classes of programs
that are not installed.  The result is a description of the tensors, whose numbers are then mapped from the file.

A file holds one state dict, or a mapping with one inside (:data:`HOLDERS`).  Start with :class:`_Machine`, then
:func:`read_zip` (since torch 1.6) and :func:`read_legacy`.  Sources: Lib/pickletools.py of Python;
torch/serialization.py, ``_save`` and ``_legacy_save``.
"""

import io
import math
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

LARGEST_PICKLE = 1 << 20  # bytes; bert-large's program has 60 thousand
LARGEST_LISTING = 4 << 20  # bytes of a zip archive's table of contents; bert-large's has 30 thousand
SHARING = 64  # how many tensors may share the same numbers: tied weights, shared layers; not a million
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

STORAGES = {
    "torch.DoubleStorage": torch.float64, "torch.FloatStorage": torch.float32, "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16, "torch.LongStorage": torch.int64, "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16, "torch.CharStorage": torch.int8, "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}  # fmt: skip
TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
MAPPING = "collections.OrderedDict"
# The keys under which training programs store the model's state dict, the most reliable first.
HOLDERS = (
    "state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params", "state",
    "checkpoint",
)  # fmt: skip
DEEPEST_HOLDER = 3
# Modules that start programs and open files, and hold no class that a training checkpoint could need.  Nothing is
# called here, whatever a file names; but a file that names these is hostile, and must not pass for a good one.
DENIED = (
    "os", "posix", "nt", "subprocess", "sys", "socket", "shutil", "runpy", "importlib", "ctypes", "pty", "_io", "io",
    "pickle", "torch.serialization",
)  # fmt: skip
DENIED_BUILTINS = ("eval", "exec", "execfile", "compile", "open", "__import__", "getattr", "input")


class BadPickle(Exception):
    """What is wrong with the file, as the middle of a sentence; PickleWeights adds the file's name."""


@dataclass(frozen=True, eq=False)
class _Word:
    """The name of a function that builds tensors; it is never imported or called."""

    name: str


@dataclass(frozen=True, eq=False)
class _Foreign:
    """The name of any other class or function, and whatever the program makes with it; it is never made."""

    name: str


class _Mapping(dict[str, Any]):
    """The items of a dict whose keys are strings; ``odd`` is the type of the first key that is not."""

    odd = ""


@dataclass(frozen=True, eq=False)
class _Storage:
    """Consecutive numbers in the file, which tensors are views of."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor as the program describes it: a view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def check(self) -> None:
        """Raise BadPickle unless it lies within its storage and uses no number twice."""
        numbers = (self.offset, *self.shape, *self.stride)
        if len(self.shape) != len(self.stride) or not all(type(n) is int and 0 <= n < 1 << 40 for n in numbers):
            raise BadPickle("has a shape that cannot be")
        count = math.prod(self.shape)
        span = 1 + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True)) if count else 0
        if self.offset + span > self.storage.count:
            raise BadPickle(f"has shape {self.shape} and reaches outside the {self.storage.count} numbers it lies in")
        if count > span:
            raise BadPickle(f"has shape {self.shape} out of {span} numbers: it was expanded. Save its .contiguous()")


class _Machine:
    """Runs one pickle.  Values are None, booleans, numbers, strings, tuples, lists and the classes above.

    Of these only strings are ever hashed, compared or printed: shared parts can make a value astronomically large.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, _Storage] = {}

    def run(self, program: io.BytesIO) -> Any:  # noqa: PLR0912, PLR0915 – one case an instruction
        """The value that ``program`` leaves on the stack."""
        stack = self.stack
        argument: Any
        for instruction, argument, _ in pickletools.genops(program):
            match instruction.name:
                case "STOP":
                    return stack.pop()
                case "PROTO":
                    pass
                case "MARK":
                    self.marks.append(len(stack))
                case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                    stack.append(argument)
                case "BINUNICODE" | "SHORT_BINSTRING" | "BINSTRING":  # the latter two: saved by Python 2
                    stack.append(argument)
                case "NONE" | "NEWTRUE" | "NEWFALSE":
                    stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[instruction.name])
                case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                    stack.append({"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": _Mapping}[instruction.name]())
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    size = int(instruction.name[-1])
                    stack[-size:] = [tuple(stack[-size:])]
                case "TUPLE":
                    stack.append(tuple(self.since_mark()))
                case "APPEND" | "APPENDS":
                    items = [stack.pop()] if instruction.name == "APPEND" else self.since_mark()
                    if (target := self.top(list)) is not None:
                        target.extend(items)
                case "SETITEM" | "SETITEMS":
                    items = [stack.pop(-2), stack.pop()] if instruction.name == "SETITEM" else self.since_mark()
                    if (target := self.top(_Mapping)) is not None:
                        self.fill(target, zip(items[::2], items[1::2], strict=True))
                case "BINPUT" | "LONG_BINPUT":
                    self.memo[argument] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(self.memo[argument])
                case "GLOBAL":
                    stack.append(self.word(argument.replace(" ", ".", 1)))
                case "BINPERSID":
                    stack.append(self.storage(stack.pop()))
                case "REDUCE":
                    arguments = stack.pop()
                    stack.append(self.call(stack.pop(), arguments))
                case "NEWOBJ":
                    stack.pop()
                    if not isinstance(stack[-1], _Foreign):
                        raise BadPickle("uses the instruction NEWOBJ, which no state dict needs")
                case "BUILD":  # attributes of a dict: torch keeps the versions of modules there
                    stack.pop()
                    self.top(_Mapping)
                case other:
                    raise BadPickle(f"uses the instruction {other}, which no state dict needs")
        raise BadPickle("ends too early")

    def since_mark(self) -> list[Any]:
        """Pop everything that was pushed since the last mark."""
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def top(self, cls: type) -> Any:
        """The top of the stack, which must be a ``cls``; None for something foreign, which accepts anything."""
        if isinstance(self.stack[-1], _Foreign):
            return None
        if type(self.stack[-1]) is not cls:
            raise BadPickle(f"changes a {type_of(self.stack[-1])} where a {type_of(cls())} should be")
        return self.stack[-1]

    @staticmethod
    def fill(target: _Mapping, items: Any) -> None:
        """Put ``items`` into ``target``, without those whose keys are not strings."""
        for key, value in items:
            if type(key) is not str:
                target.odd = target.odd or type_of(key)
            elif key in target:
                raise BadPickle(f"holds {key!r} twice")
            else:
                target[key] = value

    @staticmethod
    def word(name: str) -> _Word | _Foreign:
        """What the name of a class or function becomes; BadPickle for those that are denied."""
        if name in (MAPPING, *PARAMETERS, *TENSORS, *STORAGES):
            return _Word(name)
        module, _, last = name.rpartition(".")
        if module in DENIED or module.partition(".")[0] in DENIED:
            raise BadPickle(asks_for(name))
        if module in ("builtins", "__builtin__") and last in DENIED_BUILTINS:
            raise BadPickle(asks_for(name))
        return _Foreign(name)

    def storage(self, described: Any) -> _Storage | _Foreign:
        """The storage described by ``("storage", class, key, device, count)``."""
        match described:
            # The legacy format has a sixth item: None, or the storage that it is a view of.
            case ("storage", _Word(name), str(key), str(), int(count), *rest) if (
                name in STORAGES and count >= 0 and rest in ([], [None])
            ):
                return self.storages.setdefault(key, _Storage(key, STORAGES[name], count))
            case ("storage", _Foreign() as foreign, str(), str(), int(), *_):
                return foreign
        raise BadPickle("describes a storage in a way that torch does not")

    def call(self, function: Any, arguments: Any) -> Any:
        """The result of "calling" one of the known functions; something foreign stays what it is."""
        match function, arguments:
            case _Foreign(), _:
                return function
            case _Word(name), (_Storage() as storage, int(offset), tuple(shape), tuple(stride), *_) if name in TENSORS:
                return StoredTensor(storage, offset, shape, stride)
            case _Word(name), (_Foreign() as storage, *_) if name in TENSORS:
                return storage
            case _Word(name), (StoredTensor() | _Foreign() as tensor, *_) if name in PARAMETERS:
                return tensor
            case _Word(name), () if name == MAPPING:
                return _Mapping()
            case _Word(name), (list(pairs),) if name == MAPPING:  # as Python 2 wrote it
                target = _Mapping()
                self.fill(target, pairs)
                return target
        raise BadPickle("calls something that no state dict needs")


def type_of(value: Any) -> str:
    """The type of a value, for messages."""
    return "dict" if isinstance(value, _Mapping) else type(value).__name__.strip("_")


def asks_for(name: str) -> str:
    """The middle of a sentence about a name in a program that no state dict needs."""
    return f"asks for {name}, which no state dict needs. Save model.state_dict() and nothing else"


Described = dict[str, StoredTensor]
Places = dict[str, tuple[int, int]]  # storage: its first byte in the file, and its size in bytes


@dataclass(frozen=True)
class Description:
    """The state dict in a .bin file."""

    holder: str  # the keys that lead to the state dict, "model" or "state.model"; "" when the file is one
    tensors: Described
    places: Places


def describe_pickle(path: Path) -> Description:
    """The tensors that the .bin file ``path`` describes, in either of torch's two formats; nothing is built.

    Raises BadPickle when it neither is nor holds a whole state dict.
    """
    with path.open("rb") as file:
        start = file.read(4)
    try:
        description = read_zip(path) if start == b"PK\x03\x04" else read_legacy(path)
        check_places(path, description.tensors, description.places)
    except (BadPickle, OSError):
        raise
    except zipfile.BadZipFile as error:
        raise BadPickle(f"is no whole zip archive: {error}") from error
    except Exception as error:  # a broken program can fail in any way: an empty stack, a missing memo
        raise BadPickle(f"is broken: {type(error).__name__}") from error
    return description


def check_places(path: Path, tensors: Described, places: Places) -> None:
    """Raise BadPickle unless the file holds the numbers of every tensor, without too many tensors sharing them."""
    total = 0
    for name, stored in tensors.items():
        try:
            stored.check()
            _, size = places.get(stored.storage.key, (0, -1))
            if size != stored.storage.count * stored.storage.dtype.itemsize:
                raise BadPickle(f"lies in {stored.storage.count} numbers, of which the file has not just these")
        except BadPickle as error:
            raise BadPickle(f"holds {name}, which {error}") from error
        total += math.prod(stored.shape) * stored.storage.dtype.itemsize
    size = path.stat().st_size
    if total > SHARING * size:
        raise BadPickle(f"claims {total:,} bytes of tensors out of {size:,}: they are the same numbers many times")


class _ShortReads(io.FileIO):
    """A file that refuses long reads: zipfile trusts the size that an archive states for its listing."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > LARGEST_LISTING:
            raise zipfile.BadZipFile(f"its table of contents claims {size:,} bytes")
        return super().read(size)


def read_zip(path: Path) -> Description:
    """The format since torch 1.6: ``NAME/data.pkl`` is the program, ``NAME/data/KEY`` each run of numbers."""
    with _ShortReads(path) as file, zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if len(entries) != len(archive.infolist()):
            raise BadPickle("holds two entries of one name")
        # A compressed entry lets a small file fill the memory; torch never compresses.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise BadPickle("is a compressed archive, which torch never writes")
        if sum(entry.file_size for entry in entries.values()) > path.stat().st_size:
            raise BadPickle("claims more bytes than it has")
        if min((entry.header_offset for entry in entries.values()), default=0):
            raise BadPickle("has other bytes before its first entry")
        if any("/code/" in name for name in entries):
            raise BadPickle("is a program of TorchScript. Save the state dict of the model that it was made from")
        programs = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(programs) != 1:
            raise BadPickle(f"holds {len(programs)} entries NAME/data.pkl, expected one")
        root = programs[0].removesuffix("data.pkl")
        if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
            raise BadPickle("was saved on a big-endian machine")
        if entries[programs[0]].file_size > LARGEST_PICKLE:
            raise BadPickle(f"holds a description of more than {LARGEST_PICKLE:,} bytes")
        holder, tensors = find_state(_Machine().run(io.BytesIO(archive.read(programs[0]))))
        places = {}
        for key in {tensor.storage.key for tensor in tensors.values()} & {
            n.removeprefix(f"{root}data/") for n in entries
        }:
            entry = entries[f"{root}data/{key}"]
            file.seek(entry.header_offset)
            header = file.read(30)  # its last four bytes: the lengths of the name and of the padding before the numbers
            start = entry.header_offset + 30 + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
            if header[:4] != b"PK\x03\x04" or start + entry.file_size > path.stat().st_size:
                raise BadPickle(f"has no numbers where its table of contents says ({entry.filename!r})")
            places[key] = (start, entry.file_size)
    return Description(holder, tensors, places)


def read_legacy(path: Path) -> Description:
    """The format before torch 1.6: five pickles one after the other, then the numbers, each run after its length."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = io.BytesIO(file.read(LARGEST_PICKLE))
        if head.getvalue()[:1] != b"\x80" or _Machine().run(head) != LEGACY_MAGIC:
            raise BadPickle("is neither a zip archive nor a pickle of torch's")
        _Machine().run(head)  # the version of the format, 1001 ever since
        if _Machine().run(head).get("little_endian") is not True:
            raise BadPickle("was saved on a big-endian machine")
        machine = _Machine()
        holder, tensors = find_state(machine.run(head))
        places, position = {}, head.tell()
        for key in _Machine().run(head):
            if type(key) is not str:  # tested before the lookup, which would hash it, perhaps for ever
                raise BadPickle("names its storages in a way that torch does not")
            position = max(position, head.tell())
            file.seek(position)
            bytes_ = int.from_bytes(file.read(8), "little") * machine.storages[key].dtype.itemsize
            places[key] = (position + 8, bytes_)
            position += 8 + bytes_
            if position > size:
                raise BadPickle(f"has {size:,} bytes, expected at least {position:,}: it is cut off")
    if position != size:
        raise BadPickle(f"has {size - position:,} bytes after its end")
    return Description(holder, tensors, places)


def find_state(value: Any, depth: int = DEEPEST_HOLDER) -> tuple[str, Described]:
    """The keys that lead to the model's state dict in ``value``, and the state dict.

    Raises BadPickle when there is none, or when several may be the model's.
    """
    if not isinstance(value, _Mapping) or is_state(value):
        return "", state_dict(value)
    inner = {key: held for key, held in value.items() if isinstance(held, _Mapping) and held}
    states = [key for key, held in inner.items() if is_state(held)]
    keys = [key for key in HOLDERS if key in states] or (states if len(states) == 1 else [])
    if depth and not states:
        keys = [key for key in HOLDERS if key in inner]
    for key in keys[:1]:
        below, tensors = find_state(inner[key], depth - 1)
        return f"{key}.{below}".rstrip("."), tensors
    if states:
        raise BadPickle(f"holds {len(states)} state dicts ({', '.join(states[:8])}). Save the one that is BERT's alone")
    return "", state_dict(value)


def is_state(value: _Mapping) -> bool:
    """Whether these are names with their tensors, and nothing else."""
    return bool(value) and not value.odd and all(isinstance(held, StoredTensor) for held in value.values())


def state_dict(value: Any) -> Described:
    """``value``; BadPickle unless it is names with their tensors."""
    if isinstance(value, _Foreign):
        raise BadPickle(asks_for(value.name))
    if not isinstance(value, _Mapping):
        raise BadPickle(f"holds a {type_of(value)}, not a state dict, that is names with their tensors")
    for name, tensor in value.items():
        if isinstance(tensor, _Foreign):
            raise BadPickle(asks_for(tensor.name))
        if not isinstance(tensor, StoredTensor):
            raise BadPickle(f"is not a state dict, that is names with their tensors: {name!r} is a {type_of(tensor)}")
    if value.odd:
        raise BadPickle(f"has a {value.odd} where the name of a tensor should be")
    return value
