"""docs/scale.md: the script for a Slurm array, run as Slurm would run its tasks, gives the folder of one process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import minibert
from minibert import Embedder, embed_corpus

ROOT = Path(__file__).parents[1]
DEMO = Path(minibert.__file__).parent / "demo"


def test_an_array_of_slurm(tmp_path) -> None:
    (tmp_path / "path" / "to").mkdir(parents=True)
    (tmp_path / "path" / "to" / "all-MiniLM-L6-v2").symlink_to(DEMO)
    rows = [f"Text {number} {'is long ' * (number % 5)}" for number in range(900)]
    (tmp_path / "reviews.csv").write_text("text\n" + "\n".join(rows) + "\n", encoding="utf-8")
    program = tmp_path / "bin" / "minibert"
    program.parent.mkdir()
    program.write_text(f'#!/bin/bash\nexec "{sys.executable}" -m minibert "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"
    }  # fmt: skip

    document = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```bash\n(#!/bin/bash\n.*?)^```$", document, re.MULTILINE | re.DOTALL)
    (plan,) = re.findall(r"^\$ (minibert embed .*--plan-only.*)$", document, re.MULTILINE)
    (tmp_path / "embed.sbatch").write_text(script, encoding="utf-8")

    def bash(*arguments: str, **variables: str) -> None:
        done = subprocess.run(
            ["bash", *arguments], cwd=tmp_path, env=environment | variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def manifest() -> dict:
        return json.loads((tmp_path / "vectors" / "manifest.json").read_text(encoding="utf-8"))

    bash("-c", f"{plan} --shard-rows 300")
    script = script.replace("--worker", "--shard-rows 300 --worker")  # else there would be one
    (tmp_path / "embed.sbatch").write_text(script, encoding="utf-8")
    for task in "1", "0":
        assert not manifest()["complete"]
        bash("embed.sbatch", SLURM_ARRAY_TASK_ID=task, SLURM_ARRAY_TASK_COUNT="2")
    assert manifest()["complete"]

    embed_corpus(
        Embedder.from_pretrained(DEMO), tmp_path / "reviews.csv", tmp_path / "one", column="text", shard_rows=300,
        threads=1, normalize=True,
    )  # fmt: skip
    shards = sorted(path.name for path in (tmp_path / "one").glob("shard-*"))
    assert len(shards) == 9
    for name in shards:
        if not name.endswith(".json"):  # a record names the plan, in which the model has another path
            assert (tmp_path / "vectors" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
