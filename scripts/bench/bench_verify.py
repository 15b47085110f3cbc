"""How long does ``minibert verify CHECKPOINT --against my_bert.py:build`` take, and how much memory?

    python scripts/bench/bench_verify.py                           MiniLM and bert-base's shape, right ports and wrong
    python scripts/bench/bench_verify.py --against ../another      this checkout and another one, taking turns

Every run is a fresh process with one thread: load the checkpoint, build the port (plain functions, or modules with
fused attention), run it, look for every value, name the mistake.  Processor time is user and system together, so that
other work on the machine counts little; the peak is the most memory that was resident.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import material
import rounds

MODELS = (material.MINILM, material.BASE)
PORTS = {  # name → the port of tests/verify/ports, and its mistakes
    "right": ("functional", ()),
    "right, fused": ("fused", ()),
    "scores not scaled": ("functional", ("no-scale",)),
    "eps 1e-5": ("functional", ("eps=1e-5",)),
    "one layer's bias missing": ("functional", ("no-bias:value",)),
}


@dataclass(frozen=True)
class Run:
    """One process."""

    seconds: float  # user and system
    elapsed: float
    peak: float  # MiB
    code: int
    told: str  # its last line


def child(folder: Path, port: Path, checkout: Path) -> Callable[[], Run]:
    """One turn: a fresh process."""
    command = [sys.executable, "-m", "minibert", "verify", str(folder), "--against", f"{port}:build"]
    environment = rounds.child_environment() | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)}

    def run() -> Run:
        started = time.perf_counter()
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=checkout
            )  # -m takes the package of the folder that it runs in
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            told = output.read().decode().strip().splitlines()
        unit = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss: bytes there, KiB elsewhere
        elapsed = time.perf_counter() - started
        peak = used.ru_maxrss / unit
        return Run(used.ru_utime + used.ru_stime, elapsed, peak, process.returncode, told[-1] if told else "")

    return run


def write_port(place: Path, name: str) -> Path:
    """A file whose ``build`` makes that port."""
    module, mistakes = PORTS[name]
    path = place / f"port_{list(PORTS).index(name)}.py"
    path.write_text(
        f"import sys\nsys.path.insert(0, {str(rounds.ROOT)!r})\nfrom tests.verify.ports import {module}\n\n\n"
        f"def build(config, state_dict):\n    return {module}.build(config, state_dict, {mistakes!r})\n",
        encoding="utf-8",
    )
    return path


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=MODELS, help="minilm, base or folders; default: both")
    parser.add_argument("--port", nargs="+", default=list(PORTS), choices=PORTS, help="default: all")
    parser.add_argument("--rounds", type=material.positive, default=1, metavar="N", help="default 1")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout of minibert to compare with")
    options = parser.parse_args()
    checkouts = {"this": rounds.ROOT} | ({"other": options.against.resolve()} if options.against else {})
    print(f"{rounds.versions('torch')}; {rounds.machine()}; one thread")
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        for model in options.model:
            folder = material.checkpoint(model, Path(temporary))
            for name in options.port:
                port = write_port(Path(temporary), name)
                runs = {title: child(folder, port, place) for title, place in checkouts.items()}
                for title, found in rounds.take_turns(runs, options.rounds).items():
                    seconds, elapsed = ([getattr(r, what) for r in found] for what in ("seconds", "elapsed"))
                    failed |= found[0].code != (0 if name.startswith("right") else 1)
                    line = f"{model if len(model) < 20 else Path(model).name:8} {name:26} {title:6}"
                    line += (
                        f"{rounds.spread(seconds, '.1f')} s of a processor, {rounds.spread(elapsed, '.1f')} s, peak "
                    )
                    print(f"{line}{max(r.peak for r in found):5.0f} MiB  {found[0].told[:60]}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
