"""Files of model hub repositories as paths on this disk, through the hub's own client and its standard cache.

``huggingface_hub`` downloads, locks and caches, so the cache is shared with other libraries, and ``HF_HOME``,
``HF_HUB_CACHE``, ``HF_HUB_OFFLINE``, ``HF_ENDPOINT`` and ``HF_TOKEN`` have their usual meaning.  Three things are added
here: a file that a repository does not have is None (a loader tries several names), every failure has a message, and
a download is compared with the checksum that the hub announced, which the client does not do.

Start with ``hub_file``; ``_sentence`` lists everything that can go wrong.
"""

import errno
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from minibert.errors import CheckpointError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

COMMIT = re.compile(r"[0-9a-f]{40}")


def hub_file(
    repo_id: str,
    name: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    force_download: bool = False,
) -> Path | None:
    """The path, in the cache, of the file ``name`` of the hub repository ``repo_id``; None when it has no such file.

    ``name`` may include a folder (``"1_Pooling/config.json"``).  ``revision`` is a branch, a tag or a commit, by
    default the main branch.  A branch can move between two calls, so a loader of several files passes :func:`commit_of`
    the first file as the revision of the others, as ``minibert.source.Checkpoint`` does.  Offline
    (``local_files_only`` or ``HF_HUB_OFFLINE=1``) only the cache is used.

    Offline, a file that is not in the cache is None if the cache has any other file of that revision, else an error.
    The hub may have the file; but a checkpoint that loaded once must load again offline, and the program that filled
    the cache may never have asked for optional files.  A loader that lacks a file should say that it looked offline.

    Raises CheckpointError for everything but a missing file: no network, no such repository or revision, no
    permission (on the hub or the disk), a full disk, a download that was interrupted or arrived damaged.
    """
    # Imported here: a local folder does not need the client, whose import is slow.
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    where = f"{name} of the hub repository {repo_id!r}" + (f" at revision {revision!r}" if revision else "")
    offline = local_files_only or constants.HF_HUB_OFFLINE
    if offline and force_download:
        raise CheckpointError(f"{where} cannot be downloaded anew offline. Leave force_download out, or go online.")
    cache = Path(cache_dir if cache_dir is not None else constants.HF_HUB_CACHE).expanduser()
    try:
        cached = try_to_load_from_cache(repo_id, name, cache_dir=cache, revision=revision)
        # Neither a path nor None: the cache knows from the hub that this commit has no such file.
        known_missing = cached is not None and not isinstance(cached, str)
        # A commit never changes, so it needs no second request.
        if known_missing and not force_download and (offline or COMMIT.fullmatch(revision or "")):
            return None
        path = Path(
            hf_hub_download(
                repo_id,
                name,
                revision=revision,
                cache_dir=cache,
                local_files_only=offline,
                token=token,
                force_download=force_download,
            )
        )
        if force_download or not isinstance(cached, str) or not path.samefile(cached):
            _check_arrived(path, where)
        return path
    except CheckpointError:
        raise
    except LocalEntryNotFoundError as error:
        if known_missing or (offline and _revision_is_cached(cache, repo_id, revision)):
            return None
        raise CheckpointError(_not_in_cache(error, where, cache, offline)) from error
    except EntryNotFoundError:
        return None
    except Exception as error:
        # Any other failure of the client, its transport or the disk.  Each generation of the client has other transport
        # exceptions, so they cannot be listed by name.
        raise CheckpointError(_sentence(error, repo_id, revision, where, cache)) from error


def hub_names(repo_id: str, revision: str | None, token: str | bool | None, local_files_only: bool) -> list[str]:
    """The names of the files in a hub repository; none if the hub does not answer, or offline.

    Only for a message about a missing file, so every failure here is ignored.
    """
    from huggingface_hub import HfApi, constants

    if local_files_only or constants.HF_HUB_OFFLINE:
        return []
    try:
        return [str(name) for name in HfApi(token=token).list_repo_files(repo_id, revision=revision)]
    except Exception:  # as in hub_file: the transport's exceptions cannot be listed by name
        return []


def commit_of(path: Path) -> str | None:
    """The commit of a path that :func:`hub_file` returned, None for any other path.

    As the ``revision`` of later calls it makes all files of a load come from one commit, even if the repository
    changes meanwhile.  Files that are cached, or known to be missing, at a commit need no request.
    """
    folders = path.parts
    if "snapshots" not in folders[:-2]:
        return None
    commit = folders[len(folders) - folders[::-1].index("snapshots")]
    return commit if COMMIT.fullmatch(commit) else None


def _revision_is_cached(cache: Path, repo_id: str, revision: str | None) -> bool:
    """Whether the cache holds any file of ``repo_id`` at ``revision``."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = cache / repo_folder_name(repo_id=repo_id, repo_type="model")
    ref = folder / "refs" / (revision or constants.DEFAULT_REVISION)
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else (revision or "")
    snapshot = folder / "snapshots" / commit
    return bool(commit) and snapshot.is_dir() and any(snapshot.iterdir())


def _check_arrived(path: Path, where: str) -> None:
    """Compare a new download with the checksum that the hub announced; remove it when they differ.

    The cache names a file's content by the announced checksum: SHA-256 for large files, git's SHA-1 for small ones.
    (Some mirrors announce the plain SHA-1 instead.)  On a disk without links that name is lost, and there is no check.
    """
    if not path.is_symlink():
        return
    blob = path.parent / path.readlink()  # one step only: a blob can be a link into a store with other names
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):
        digests = {_digest("sha256", blob)}
    elif COMMIT.fullmatch(blob.name):
        digests = {_digest("sha1", blob, b"blob %d\0" % blob.stat().st_size), _digest("sha1", blob)}
    else:
        return
    if blob.name not in digests:
        # If it stayed in the cache, every library would later use it as if it were complete.
        path.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        raise CheckpointError(
            f"{where} arrived damaged: the hub announced the checksum {blob.name}, the bytes received have "
            f"{min(digests)}. They were removed from the cache; run again to download them anew."
        )


def _digest(algorithm: str, path: Path, prefix: bytes = b"") -> str:
    digest = hashlib.new(algorithm, prefix, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _not_in_cache(error: Exception, where: str, cache: Path, offline: bool) -> str:
    """The message for a file that is not in the cache when the hub cannot, or must not, be asked."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    if offline:
        return (
            f"{where} is not in the cache {cache}, and minibert was told to stay offline (local_files_only or "
            "HF_HUB_OFFLINE). Load it once online, or give the path of a local folder that holds the files."
        )
    cause = error.__cause__
    if isinstance(cause, HfHubHTTPError):
        return _refused(cause, where)
    return (
        f"{where} is not in the cache {cache}, and the hub at {constants.ENDPOINT} cannot be reached ({_why(cause)}). "
        "Check the network and run again; files that are complete stay in the cache. Without a network, give the "
        "path of a local folder that holds the files."
    )


def _sentence(error: Exception, repo_id: str, revision: str | None, where: str, cache: Path) -> str:
    """What went wrong and what to do.  The order matters: GatedRepoError is a RepositoryNotFoundError."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    match error:
        case HFValidationError():
            sentence = (
                f"{repo_id!r} is neither a folder on this disk nor the name of a hub repository. Give a path that "
                "exists, or a name such as 'owner/name' of letters, digits, '-', '_' and '.'."
            )
        case GatedRepoError():
            sentence = (
                f"{where} is gated: the hub gives it only to those who accepted its terms. Accept them on the "
                "repository's page, then log in (set HF_TOKEN to a token of that account) and run again."
            )
        case RevisionNotFoundError():
            sentence = (
                f"The hub repository {repo_id!r} has no revision {revision!r}. Give a branch, a tag or a full commit "
                "that it has, or leave the revision out for the main branch."
            )
        case RepositoryNotFoundError():
            sentence = _unknown_repository(repo_id)
        case HfHubHTTPError() if error.response is not None and error.response.status_code == 401:
            sentence = _unknown_repository(repo_id)
        case HfHubHTTPError():
            sentence = _refused(error, where)
        case ValueError():
            sentence = f"{where} cannot be requested ({_why(error)}). Give the name of a file inside the repository."
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            sentence = (
                f"{where} does not fit on the disk: no space left for the cache {cache}. Free some, or point HF_HOME "
                "at a larger disk, and run again."
            )
        case OSError(errno=errno.EACCES | errno.EPERM | errno.EROFS | errno.ENOTDIR | errno.EEXIST):
            sentence = (
                f"{where} cannot be written to the cache {cache} ({_why(error)}). Make that folder writable, or point "
                "HF_HOME at one that is."
            )
        case _:
            sentence = (
                f"The download of {where} broke off or failed ({_why(error)}). Nothing incomplete was kept under its "
                "name. Check the network and run again; files that are complete stay in the cache. Without a network, "
                "give the path of a local folder that holds the files."
            )
    return sentence


def _unknown_repository(repo_id: str) -> str:
    # The hub gives the same answer for a private repository as for none, to hide which exist.
    return (
        f"The hub knows no repository {repo_id!r}, or does not show it to you, and there is no folder of that name on "
        "this disk. Check the spelling; if the repository is private, set HF_TOKEN to a valid token that may read it."
    )


def _refused(error: "HfHubHTTPError", where: str) -> str:
    from huggingface_hub import constants

    status = error.response.status_code if error.response is not None else None
    advice = (
        "That is the hub's trouble and often passes: run again in a while, or give the path of a local folder."
        if status in (408, 429) or (status or 0) >= 500
        else "Check HF_ENDPOINT, and that HF_TOKEN may read the repository."
    )
    return f"{where} was refused: the hub at {constants.ENDPOINT} answered with HTTP status {status}. {advice}"


def _why(error: BaseException | None) -> str:
    """The class of an error and the first line of its message: clients append paragraphs of advice."""
    lines = str(error).strip().splitlines()
    return type(error).__name__ + (f": {lines[0].rstrip('.')}" if lines else "")
