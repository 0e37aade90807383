"""What a mounted dbtasks costs a host's `invoke --list`: an empty tasks.py beside one with the mount.

    python benchmarks/invoke_list.py [RUNS]

Runs alternate, so that a machine that slows down slows both; the figure is the
median of the differences, pair by pair. The aim is 15 ms of CPU time at most.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

EMPTY = (
    "from invoke import Collection, task\n\n@task\ndef nothing(c):\n    pass\n\nns = Collection(nothing)\n"
)
MOUNTED = EMPTY + "\nimport dbtasks\n\nns.add_collection(dbtasks, name='db')\n"


def cpu_seconds(folder: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "invoke", "--list"], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / kind for kind in ("empty", "mounted")]
        for folder, text in zip(folders, (EMPTY, MOUNTED), strict=True):
            folder.mkdir()
            (folder / "tasks.py").write_text(text)
            cpu_seconds(folder)  # once for the caches
        pairs = [tuple(cpu_seconds(folder) for folder in folders) for _ in range(runs)]
    empty, mounted = (statistics.median(column) for column in zip(*pairs, strict=True))
    cost = statistics.median(b - a for a, b in pairs)
    print(
        f"empty {empty * 1000:.0f} ms, mounted {mounted * 1000:.0f} ms of CPU; dbtasks costs {cost * 1000:.1f} ms"
    )


if __name__ == "__main__":
    main()
