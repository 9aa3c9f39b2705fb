#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random reads for training: slidewise's store beside the reference-style pickled LMDB, in turns, the same JPEGs in both:

  bench/store.py [OPTION...] SLIDE...       slides (or folders) that are tiled into the store first

All patches in random order, as bytes and decoded to RGB, by one thread or process and by two; warm, and cold: before each go the
file's pages leave the system's cache (fsync, then POSIX_FADV_DONTNEED; nobody has them mapped then), and what was read from the
disk again is counted (/proc/PID/io). The folder for that (--folder, default: TMPDIR) must lie on a disk, not in memory. Cold goes
open the store as well, warm ones have it open."""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile

import tile
from bench import HERE, Child, Failed

PREPARE_S, GO_S = 300, 120


class Row:
    def __init__(self, work, what, name, command, path, ours):
        self.work, self.what, self.name, self.command, self.path, self.ours = work, what, name, command, path, ours
        self.wall, self.cpu, self.disk, self.items, self.failed, self.child = [], [], [], 0, "", None

    def result(self):
        return {key: getattr(self, key) for key in ("work", "what", "name", "ours", "items", "wall", "cpu", "disk", "failed")}


def drop(path):
    """Takes the file out of the system's cache."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def from_disk(pid):
    """Bytes that the process and its children have read from the disk."""
    total = 0
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        pids = [pid, *map(int, file.read().split())]
    for one in pids:
        with open(f"/proc/{one}/io") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("read_bytes"))
    return total


def make(o, slides, folder):
    program, mpp = os.path.join(o.build, "bin", "slidewise"), os.path.join(folder, "mpp.csv")
    with open(mpp, "w") as file:
        file.write("slide_id,mpp\n" + "".join(f"{os.path.splitext(os.path.basename(s))[0]},0.5\n" for s in slides))
    subprocess.run([program, "tile", "-q", "--mpp", "0.5", "--mpp-csv", mpp, "--store", os.path.join(folder, "store"), *slides],
                   check=True, stdout=subprocess.DEVNULL)
    subprocess.run([program, "store", "export", "-q", os.path.join(folder, "store"), os.path.join(folder, "jpegs")], check=True,
                   stdout=subprocess.DEVNULL)
    if tile.has("lmdb", "numpy", "PIL"):
        subprocess.run([sys.executable, os.path.join(HERE, "peer_store.py"), "make", os.path.join(folder, "jpegs"),
                        os.path.join(folder, "reference.lmdb")], check=True)


def plan(o, folder):
    rows, program = [], os.path.join(o.build, "bench", "bench_reads")
    store, reference = os.path.join(folder, "store"), os.path.join(folder, "reference.lmdb")
    data = max((os.path.join(store, name) for name in os.listdir(store)), key=os.path.getsize)
    for what, opens in (("warm", 0), ("cold", 1)):
        for work, decode in (("bytes", 0), ("decoded", 1)):
            for n in (1, 2):
                if decode and what == "warm":
                    rows.append(Row(work, what, f"slidewise, {n} thread{'s' * (n > 1)}, what a random crop needs",
                                    [program, "serve=1", f"store={store}", "decode=2", f"threads={n}", f"open={opens}"], data, True))
                rows.append(Row(work, what, f"slidewise, {n} thread{'s' * (n > 1)}",
                                [program, "serve=1", f"store={store}", f"decode={decode}", f"threads={n}", f"open={opens}"], data, True))
            if not os.path.exists(reference):
                continue
            for codec, name in (("pil", "Pillow"), ("turbo", "PyTurboJPEG")) if decode else (("none", ""),):
                if codec == "turbo" and not tile.has("turbojpeg"):
                    continue
                for n in (1, 2):
                    rows.append(Row(work, what, f"pickled LMDB{', ' * bool(name)}{name}, {n} process{'es' * (n > 1)}",
                                    [sys.executable, os.path.join(HERE, "peer_store.py"), "read", reference, f"decode={codec}",
                                     f"processes={n}", f"open={opens}"], reference, False))
    return rows


def turn(row):
    pid = row.child.process.pid
    if row.what == "cold":
        drop(row.path)
    before = from_disk(pid)
    words = row.child.ask("go", GO_S)
    row.wall.append(float(words[1]))
    row.cpu.append(float(words[2]))
    row.disk.append(from_disk(pid) - before)
    if row.what == "cold" and row.disk[-1] < os.path.getsize(row.path) / 2:
        raise Failed(f"{row.name}: {row.path} did not leave the system's cache; give --folder on a disk")


def measure(o, rows, log):
    """The warm rows alone first: who keeps a file open keeps its pages."""
    for what in ("warm", "cold"):
        now = [row for row in rows if row.what == what]
        for row in now:
            row.child = Child(row.command, dict(os.environ), log)
            row.items = float(row.child.line(PREPARE_S)[1])
        for _ in range(o.repeats):
            for row in now:
                turn(row)
        for row in now:
            row.child.close()


def table(rows):
    lines = ["| | patches/s | patches per CPU s | times as fast | of CPU time | from disk, MB | slowest - fastest |",
             "|---|---|---|---|---|---|---|"]
    for what in ("warm", "cold"):
        for work in ("bytes", "decoded"):
            group = [row for row in rows if row.what == what and row.work == work]
            mine = next(row for row in group if row.name == "slidewise, 2 threads")
            lines.append(f"| **{what}, {work}** | | | | | | |")
            for row in group:
                rates = [row.items / statistics.median(times) for times in (row.wall, row.cpu)]
                best = [mine.items / statistics.median(times) for times in (mine.wall, mine.cpu)]
                ratio = ["" if row.ours else f"{a / b:.1f}" for a, b in zip(best, rates)]
                lines.append(f"| {row.name} | {rates[0]:.0f} | {rates[1]:.0f} | {ratio[0]} | {ratio[1]} | "
                             f"{statistics.median(row.disk) / 1e6:.1f} | {row.items / max(row.wall):.0f} - {row.items / min(row.wall):.0f} |")
    return "\n".join(lines)


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    build = os.environ.get("SLIDEWISE_BUILD", os.path.join(HERE, "..", "build", "release"))
    p.add_argument("slides", nargs="+", metavar="SLIDE")
    p.add_argument("--build", default=os.path.abspath(build), help="build folder (default: $SLIDEWISE_BUILD)")
    p.add_argument("--results", default=os.path.join(HERE, "results"), help="where tables are written")
    p.add_argument("--folder", help="where the stores are made, on a disk (default: TMPDIR)")
    p.add_argument("--repeats", type=int, default=7, help="turns (%(default)s)")
    return p.parse_args()


def main():
    o = parse()
    o.threads = 2
    os.makedirs(o.results, exist_ok=True)
    name = os.path.join(o.results, f"{datetime.datetime.now():%Y%m%d-%H%M%S}-store")
    text = tile.describe(o)
    slides = [slide for argument in o.slides for slide in tile.expand(argument)]
    with tempfile.TemporaryDirectory(prefix="slidewise-bench-", dir=o.folder) as folder, open(name + ".log", "w", buffering=1) as log:
        make(o, slides, folder)
        rows = plan(o, folder)
        try:
            measure(o, rows, log)
        except Failed as error:
            sys.exit(f"store.py: {error}")
        sizes = {os.path.basename(row.path): os.path.getsize(row.path) for row in rows}
    text += " Files: " + ", ".join(f"{path} {size / 1e6:.1f} MB" for path, size in sizes.items()) + f", {rows[0].items:.0f} patches."
    print(text + "\n\n" + table(rows))
    with open(name + ".md", "w") as file:
        file.write(text + "\n\n" + table(rows) + "\n")
    with open(name + ".json", "w") as file:
        json.dump({"about": text, "rows": [row.result() for row in rows]}, file, indent=1)
    print(f"written: {name}.md and .json")


if __name__ == "__main__":
    main()
