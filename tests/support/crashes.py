"""Runs that are killed: a process that dies before a chosen operation on a file, and how a process ended."""

import os
import signal
import sys

FEWEST_KILLS = 20
OPERATIONS = {"open", "write", "fsync", "replace", "unlink", "mkdir"}  # Python's own functions, by name


def die_before(operation: int) -> None:
    """Have this process kill itself before its n-th operation on a file."""
    left = [operation]

    def watch(frame: object, event: str, called: object) -> None:
        is_operation = event == "c_call" and getattr(called, "__name__", "") in OPERATIONS
        if is_operation and not isinstance(getattr(called, "__self__", None), str):  # str.replace
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)


def ended(process: int) -> bool:
    """Wait for a run: True when it ended well, False when it was killed; anything else is an error."""
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code == 0


def is_running(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
