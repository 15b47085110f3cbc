"""A corpus on a Ray cluster whose workers, nodes and driver are killed at random; and what Ray costs.

    python scripts/studies/ray_kills.py kills                    200,000 rows, 30 kills, three nodes on this machine
    python scripts/studies/ray_kills.py kills --texts FILE --rows 20000 --kills 10
    python scripts/studies/ray_kills.py overhead --rounds 7      Ray's actors against plain processes, A B A B

``kills`` starts a ray.cluster_utils.Cluster: a head and nodes with a CPU each, every node a process tree of its own.
``minibert embed --ray`` runs on it, in a process of its own.  After a few shards each, SIGKILL goes to a worker, to a
node's raylet with its workers, or to that command, which is then given again; a node that was killed is replaced.  At
the end the folder is compared with that of one process with as many threads as a worker.  Exits 1 unless every byte is
the same.

``overhead`` embeds the same plan in turn by ``--ray`` workers and by as many plain processes, each making the shards of
every N-th group (``--worker i/N``).  Compared are the seconds, and the processor's seconds of all processes, from when
all models are loaded until the last shard is there.  A shard has 1,024 rows by default: with minibert-demo and short
rows some two seconds of one core.  Needs the extra ray.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from inputs import ROOT

from minibert.corpus import Plan, embed_shards, finish, plan_corpus
from tests.support.corpus import contents
from tests.support.ray_nodes import Nodes, nodes, shards_in, start, wait_until

MODEL, THREADS = "minibert-demo", 1
WORDS = [
    "the", "a", "sun", "river", "bank", "is", "was", "closed", "open", "on", "in", "under", "house", "she", "he",
    "they", "sat", "by", "slept", "never", "sings", "old", "new", "day",
]  # fmt: skip
CHILD = """
import sys, time
from minibert.corpus import Plan, embed_shards
plan = Plan.open(sys.argv[1]); plan.prepare()
numbers = plan.of_worker(int(sys.argv[2]), int(sys.argv[3]))
print("ready", flush=True); sys.stdin.readline()
before = time.process_time()
embed_shards(plan, numbers)
print(time.process_time() - before, flush=True)
"""


def write_rows(path: Path, texts: str | None, count: int) -> None:
    """``count`` rows: the lines of a file, again and again, or random words of a fixed seed."""
    if texts is not None:
        lines = Path(texts).read_text(encoding="utf-8").splitlines()
        rows = [lines[number % len(lines)] for number in range(count)]
    else:
        generator = random.Random(22)
        rows = [" ".join(generator.choices(WORDS, k=generator.randint(2, 8))) for _ in range(count)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def kills(options: argparse.Namespace, folder: Path) -> bool:
    """Whether the folder has the bytes of one process after all kills."""
    rows, output, generator = folder / "rows.txt", folder / "on-ray", random.Random(options.seed)
    write_rows(rows, options.texts, options.rows)
    shards = -(-options.rows // options.shard_rows)
    pause = max(1, int(0.9 * shards / options.kills))  # shards from one kill to the next, on average
    given = ["--input", rows, "--output", output, "--shard-rows", options.shard_rows, "--threads", THREADS]
    began, counts, in_flight = time.monotonic(), Counter[str](), 0
    with nodes(options.nodes) as cluster:
        process = start(*given, "--ray", cluster.address)
        while sum(counts.values()) < options.kills:
            goal = shards_in(output) + generator.randint(max(1, pause // 2), max(1, pause * 3 // 2))
            goal = min(goal, shards - (options.kills - sum(counts.values())))
            if not wait_until(lambda: shards_in(output) >= goal and bool(cluster.workers()), process, 600):  # noqa: B023
                break
            time.sleep(generator.uniform(0, 1))  # not always just after a shard
            kind = generator.choice(("worker", "node", "driver"))
            lost = kill(kind, cluster, process, generator)
            counts[kind] += 1
            in_flight += lost
            print(
                f"{time.monotonic() - began:6.0f} s  {shards_in(output):4}/{shards} shards  killed: {kind}", flush=True
            )
            if kind == "driver":
                process = start(*given, "--ray", cluster.address)
        _, err = process.communicate(timeout=3600)
        if process.returncode:
            print(err)
    seconds = time.monotonic() - began
    listed = ", ".join(f"{count} {kind}s" for kind, count in sorted(counts.items()))
    print(f"{sum(counts.values())} kills ({listed}) in {seconds:.0f} s on {options.nodes} nodes")
    print(f"at most {in_flight} shards were being made when they were killed, of {shards}: {in_flight / shards:.1%}")
    began = time.monotonic()
    plan = plan_corpus(MODEL, rows, folder / "one", shard_rows=options.shard_rows, threads=THREADS, normalize=True)
    embed_shards(plan)
    finish(plan)
    print(f"one process, not killed: {time.monotonic() - began:.0f} s")
    found, expected = contents(output), contents(folder / "one")
    different = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    print(f"{len(expected)} files, {sum(map(len, expected.values())):,} bytes: {len(different)} differ {different[:5]}")
    return not different and sum(counts.values()) == options.kills


def kill(kind: str, cluster: Nodes, process: "subprocess.Popen[str]", generator: random.Random) -> int:
    """Kill something; returns how many workers died with it."""
    workers = cluster.workers()
    if kind == "worker":
        os.kill(generator.choice(workers), signal.SIGKILL)
        return 1
    if kind == "node":
        lost = cluster.kill_node(generator.randrange(len(cluster.nodes)))
        cluster.add()
        return lost
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return len(workers)  # they end with the driver


def cpu(processes: Sequence[int]) -> float:
    """The processor's seconds that these have used."""
    total = 0
    for process in processes:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def fresh(plan: Plan, folder: Path) -> Plan:
    """The same plan in a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in plan.folder.names():
        if name.startswith(("plan-", "manifest")):
            with plan.folder.local(name) as path:
                shutil.copy(path, folder / name)
    return Plan.open(folder)


def plain(plan: Plan, workers: int) -> tuple[float, float]:
    """Seconds, and the processor's, of as many processes as Ray has actors."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(plan.folder), str(number), str(workers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(workers)
    ]
    for child in children:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
    began = time.monotonic()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    used = sum(float(child.communicate()[0]) for child in children)
    return time.monotonic() - began, used


def on_ray(plan: Plan, cluster: Nodes, workers: int) -> tuple[float, float, float]:
    """The same on Ray, from when all actors are ready.  The processor's seconds are those of the cluster and of this
    process; last, those of the actors among them.
    """
    from minibert.integrations.ray_cluster import connected
    from minibert.integrations.ray_corpus import RayEngine, places_of
    from minibert.integrations.scheduling import Event, Ready, Schedule

    class AllReady(RayEngine):
        """Tells that workers are ready once all of them are."""

        held: tuple[Event, ...] = ()
        began = used = by_actors = 0.0

        def events(self, seconds: float) -> list[Event]:
            found = super().events(seconds)
            if self.began:
                return found
            self.held += tuple(event for event in found if isinstance(event, Ready))
            others = [event for event in found if not isinstance(event, Ready)]
            if len(self.held) < workers:
                return others
            self.began, self.by_actors = time.monotonic(), cpu(cluster.workers())
            self.used = cpu(cluster.processes()) + time.process_time()
            return [*others, *self.held]

    with connected(cluster.address) as ray:
        engine = AllReady(ray, *places_of(plan), plan.threads, None)
        schedule = Schedule(plan.groups(), engine, workers)
        schedule.run()
        seconds = time.monotonic() - engine.began
        used = cpu(cluster.processes()) + time.process_time() - engine.used
        by_actors = cpu(cluster.workers()) - engine.by_actors
        engine.close()
    assert schedule.made == plan.shards
    return seconds, used, by_actors


def overhead(options: argparse.Namespace, folder: Path) -> bool:
    """Whether the median ratio is below 1.1."""
    rows = folder / "rows.txt"
    write_rows(rows, options.texts, options.rows)
    plan = plan_corpus(MODEL, rows, folder / "plan", shard_rows=options.shard_rows, threads=THREADS, normalize=True)
    print(f"{plan}; {options.nodes} workers of {THREADS} thread; seconds, and processor's seconds")
    ratios: list[tuple[float, float]] = []
    with nodes(options.nodes) as cluster:
        cluster.cluster.wait_for_nodes()
        for number in range(options.rounds):
            one = plain(fresh(plan, folder / "plain"), options.nodes)
            two = on_ray(fresh(plan, folder / "ray"), cluster, options.nodes)
            assert shards_in(folder / "plain") == shards_in(folder / "ray") == plan.shards
            ratios.append((two[0] / one[0], two[1] / one[1]))
            print(
                f"round {number + 1}: plain {one[0]:.1f} s ({one[1]:.1f}), Ray {two[0]:.1f} s ({two[1]:.1f}, actors' "
                f"{two[2]:.1f}), ratio {ratios[-1][0]:.3f} ({ratios[-1][1]:.3f})",
                flush=True,
            )
    for what, values in zip(("seconds", "processor's seconds"), zip(*ratios, strict=True), strict=True):
        print(f"Ray / plain, {what}: median {statistics.median(values):.3f}, {min(values):.3f} to {max(values):.3f}")
    return statistics.median(ratio for ratio, _ in ratios) < 1.1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("kills", "overhead"))
    parser.add_argument("--rows", type=int, help="default 200,000 for kills, 20,000 for overhead")
    parser.add_argument("--texts", metavar="FILE", help="rows to use, a line each")
    parser.add_argument("--shard-rows", type=int, default=1024)
    parser.add_argument("--nodes", type=int, help="default 3 for kills, 2 for overhead")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    of_kills = options.what == "kills"
    options.rows = options.rows or (200_000 if of_kills else 20_000)
    options.nodes = options.nodes or (3 if of_kills else 2)
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    os.environ["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory(prefix="ray-kills-") as folder:
        return 0 if (kills if of_kills else overhead)(options, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
