"""Which run a folder holds: ``run.json``, which a later call must fit to resume the run.

A run that is finished may be made longer: the same call with more epochs or steps continues it.  Every step keeps the
learning rate of the run that made it, so the former lengths are kept in run.json, under "extended", and an interrupted
extension resumes like any run.  Start with :func:`check_identity`.
"""

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from minibert.checksum import json_digest, read_sealed, write_sealed
from minibert.errors import CheckpointError, InputError
from minibert.training.snapshot import identities, latest_step

logger = logging.getLogger("minibert.training")
LENGTHS = ("epochs", "steps")  # the settings that say how long a run is
EXTENDED = "extended"  # key of run.json: the former lengths, first to last
Length = dict[str, int | None]  # "epochs" and "steps"
StepsOf = Callable[[Length], int]  # how many steps a run of that length has


def check_version(folder: Path) -> None:
    """Raise InputError for a run of a version whose files had no checksums, and which read texts differently."""
    sealed = True
    if (folder / "run.json").exists():
        with suppress(CheckpointError):  # damaged: check_identity decides whether it can be written again
            sealed = read_sealed(folder / "run.json")[1]
    if not sealed:
        raise InputError(
            f"{folder} holds a run of an earlier version of minibert, without checksums. End it with that version, or "
            "begin again in another folder. (A checkpoint that is complete can be used as any other.)"
        )


def check_identity(folder: Path, identity: dict[str, Any], steps_of: StepsOf | None = None) -> None:
    """Write run.json, or compare with the one that is there; InputError where they differ.

    A damaged one is written again, unless the snapshots are of another run: CheckpointError.  With ``steps_of`` a
    finished run may be extended.
    """
    check_version(folder)
    path, place = folder / "run.json", folder.resolve()
    if place.name in ("snapshots", "data") and (place.parent / "run.json").exists():
        raise InputError(f"{folder} belongs to the run in {place.parent}, which keeps its files there. Name another.")
    try:
        stored = read_sealed(path)[0] if path.exists() else None
    except CheckpointError as error:
        if (digests := identities(folder)) and json_digest(identity) not in digests:
            raise CheckpointError(
                f"{error} The snapshots beside it are not of a run with these arguments. Give those of that run, or "
                "another folder."
            ) from error
        logger.warning("%s It is written again.", error)
        stored = None
    if stored is None:
        write_sealed(path, identity)
        return
    former = stored.pop(EXTENDED, [])
    before, now = flat(stored), flat(json.loads(json.dumps(identity)))
    different = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    if different and steps_of and all(name in [f"settings.{length}" for length in LENGTHS] for name in different):
        check_extension(folder, *(steps_of(length_of(one)) for one in (stored, identity)))
        write_sealed(path, {**identity, EXTENDED: [*former, length_of(stored)]})
        return
    advice = "To go on with that run, give the same arguments; for a new one, another folder."
    for name in different:
        if name == "data" and before.get(name) and now.get(name):  # digests, which say nothing to a reader
            files, here = len(before[name]), len(now[name])
            other = "of other contents" if files == here else f"in {files} files, and this one has {here}"
            raise InputError(f"{folder} holds a run with data {other}. {advice}")
        first, second = (repr(values[name]) if name in values else "as usual" for values in (before, now))
        raise InputError(f"{folder} holds a run with {name} {first}, and this one has {second}. {advice}")


def check_extension(folder: Path, before: int, now: int) -> None:
    """Raise InputError unless the run of ``before`` steps is finished, and shorter than ``now`` steps."""
    done = latest_step(folder)
    if now <= before:
        raise InputError(
            f"{folder} holds a run of {before:,} steps, and this one has {now:,}. A run can be made longer, not "
            "shorter: give the same arguments, or another folder."
        )
    if done < before:
        raise InputError(
            f"{folder} holds a run of {before:,} steps, of which {done:,} are done, and this one has {now:,}. End that "
            "run first, with the arguments that it was begun with; then it can be made longer."
        )


def length_of(identity: dict[str, Any]) -> Length:
    """The settings of a run that say how long it is."""
    return {name: identity["settings"][name] for name in LENGTHS}


def read_history(folder: Path, identity: dict[str, Any]) -> tuple[list[Length], list[str]]:
    """The lengths that the run of a folder has had, the present one last; and its digest at each of these."""
    lengths = [*read_sealed(folder / "run.json")[0].get(EXTENDED, []), length_of(identity)]
    digests = []
    for number, length in enumerate(lengths):
        then = {**identity, "settings": {**identity["settings"], **length}}
        digests.append(json_digest({**then, EXTENDED: lengths[:number]} if number else then))
    return lengths, digests


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one: ``{"settings.seed": 0}``."""
    result: dict[str, Any] = {}
    for name, value in content.items():
        result |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return result
