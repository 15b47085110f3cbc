"""Files behind the other protocols, s3://, gs://, hf:// and so on, through fsspec, which huggingface_hub brings.

The driver of a protocol is the user's own (s3fs, gcsfs, …), and so are its settings: keys, endpoints and profiles are
taken from the environment, as everywhere else, never from an argument.  fsspec and its drivers raise whatever their
clients do; :func:`sentence_of` makes one sentence of each.  Start with :func:`open_store`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from minibert.data.patience import Patience
from minibert.data.web import Look
from minibert.errors import InputError, MinibertError, MissingExtraError
from minibert.urls import parts_of, protocol_of, shown_url, without_secrets

Result = TypeVar("Result")
FileSystem = Any  # fsspec.AbstractFileSystem, which has no types
# What a driver calls the checksum of an object, the likeliest first; else the time of the last change.
STAMPS = (
    "ETag", "etag", "sha256", "blob_id", "md5Hash", "content_md5", "LastModified", "last_modified", "updated", "mtime",
    "created",
)  # fmt: skip
EXAMPLES = "http://, https://, s3://, gs://, abfs://, hf://"


def open_store(url: str) -> tuple[FileSystem, str]:
    """The file system of a URL, and the path in it.

    Raises InputError for a protocol that nobody knows and for a URL without a bucket, MissingExtraError for a driver
    that is not installed.
    """
    from fsspec.core import url_to_fs

    shown = shown_url(url)
    if not parts_of(url)[2].strip("/"):
        raise InputError(f"{shown} names no bucket and no file, expected {protocol_of(url)}://BUCKET/FOLDER.")
    try:
        system, path = url_to_fs(url)
    except ImportError as error:  # fsspec names the package: "Install s3fs to access S3"
        why = without_secrets(first_line(error))
        raise MissingExtraError(
            f"{shown} needs the driver of {protocol_of(url)}://, which is not installed ({why}). Install it with pip, "
            "and run again."
        ) from error
    except ValueError as error:
        if "not known" in str(error):
            raise InputError(
                f"{shown}: {protocol_of(url)}:// is no protocol that fsspec knows; there are {EXAMPLES} and others."
            ) from error
        raise InputError(f"{shown} cannot be opened ({without_secrets(first_line(error))}).") from error
    except Exception as error:  # a driver that looks for its credentials at once, or reads its settings
        raise InputError(sentence_of(error, shown, "opened")) from error
    return system, str(path)


def told(
    shown: str, action: Callable[[], Result], done: str = "read", kind: type[MinibertError] = InputError
) -> Result:
    """What ``action`` returns, tried again where that may help; an error of ``kind`` for what it raises.

    Drivers try again by themselves what their servers answer; here only a connection that fails is.
    """
    patience = Patience(shown)
    while True:
        try:
            return action()
        except (ConnectionError, TimeoutError) as error:
            if not patience.wait(first_line(error)):
                raise kind(sentence_of(error, shown, done)) from error
        except Exception as error:  # each driver has exceptions of its own, which cannot be listed by name
            raise kind(sentence_of(error, shown, done)) from error


def sentence_of(error: Exception, shown: str, done: str) -> str:
    """What went wrong and what to do."""
    why, store = without_secrets(first_line(error)), protocol_of(shown)
    match error:
        case FileNotFoundError():
            return f"{shown} does not exist. Check the address: the bucket or repository, the folder, the name."
        case IsADirectoryError() | NotADirectoryError():
            return f"{shown} cannot be {done} ({why}). Check the address."
        case PermissionError():
            return (
                f"{shown} may not be {done} ({why}). Check the rights, and the keys that the environment gives to "
                f"{store}://."
            )
        case ImportError():
            return f"{shown} cannot be {done}: {why}."
    return (
        f"{shown} cannot be {done} ({type(error).__name__}: {why}). Check the address, the network, and what the "
        f"environment gives to {store}://: keys and endpoint."
    )


def first_line(error: BaseException) -> str:
    """The first line of a message, with the next one if it announces that, or the name of the class."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1]).rstrip(".")


class StoredFile:
    """One file of a file system of fsspec's."""

    def __init__(self, system: FileSystem, path: str, shown: str) -> None:
        self.system, self.path, self.address, self.shown = system, path, shown, shown

    def look(self) -> Look:
        """The size and the stamp; InputError when the file cannot be read."""
        return look_of(told(self.shown, lambda: self.system.info(self.path)), self.shown)

    def fetch(self, start: int, end: int, known: Look) -> bytes:
        """The bytes from ``start`` to before ``end``, and no others."""
        # Drivers without asynchronous reading open a buffered file; "none" keeps it from reading ahead.
        options = {} if getattr(self.system, "async_impl", False) else {"cache_type": "none"}
        content: bytes = told(self.shown, lambda: self.system.cat_file(self.path, start=start, end=end, **options))
        if len(content) != end - start:
            raise InputError(f"{self.shown} was changed while it was read. Give it back its content, and run again.")
        return content


def look_of(info: dict[str, Any], shown: str) -> Look:
    """Size and stamp of what a driver says of a file."""
    if info.get("type") == "directory":
        raise InputError(f"{shown} is a folder, expected a file.")
    size = info.get("size")
    if size is None:
        raise InputError(f"{shown}: the server does not say how long the file is. Download it, and name that.")
    return Look(int(size), next((str(info[name]) for name in STAMPS if info.get(name)), str(size)))


class Found(NamedTuple):
    """A file that a URL names, alone or with others."""

    place: StoredFile
    look: Look
    folders: tuple[str, ...] = ()  # of a URL that names a folder: those in it that lead to the file


def search(url: str) -> tuple[list[Found], bool]:
    """The files of a pattern, of a folder and the folders in it, or the one that a URL names; whether it is a folder.

    A folder's own files come first, then those of its folders, by their names.  Raises InputError for a URL of nothing.
    """
    from fsspec.core import has_magic

    system, path = open_store(url)
    shown = shown_url(url)
    told(shown, system.invalidate_cache)
    is_pattern = has_magic(path)
    if not is_pattern:
        info = told(shown, lambda: system.info(path))
        if info.get("type") != "directory":
            return [Found(StoredFile(system, path, shown), look_of(info, shown))], False
    listed = told(shown, lambda: (system.glob if is_pattern else system.find)(path, detail=True))
    files = []
    for name, info in listed.items():
        if info.get("type") != "directory":
            address = shown_url(str(system.unstrip_protocol(name)))
            folders = () if is_pattern else tuple(name.removeprefix(path).strip("/").split("/")[:-1])
            files.append(Found(StoredFile(system, name, address), look_of(info, address), folders))
    if not files:
        raise InputError(f"There is no file {'called like' if is_pattern else 'in'} {shown}. Check the address.")
    return sorted(files, key=lambda file: (file.folders, file.place.path)), not is_pattern
