#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""slidewise's tiling beside tilers in Python, in turns, on the same slides, in the same run:

  bench/tile.py [OPTION...] SLIDE[,SLIDE...]...      each argument is one set of slides (or folders), measured for itself

Three kinds of work: tissue alone; tissue and the coordinates of the patches; all, to JPEGs that are kept. Every slide is taken to
have the same resolution, so that patches of 256 px are pixels of level 0 as they are; JPEGs of quality 80, 4:2:0, the accurate
transform. Both sides have two threads or processes. The peers are those of bench/peer_tile.py (openslide-python, OpenCV, h5py,
lmdb, Pillow, PyTurboJPEG and hs2p, as far as this Python has them). Each program starts, warms up and then waits for its turns;
starting, imports and the first go are not counted. Wall-clock time says what a user waits; processor time is also given, since
it does not depend on what else runs. Results go into memory where TMPDIR is there (TMPDIR=/dev/shm)."""
import argparse
import datetime
import glob
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

from bench import HERE, Child, Failed

PREPARE_S, GO_S = 300, 120
KINDS = {"tissue": "tissue only", "coords": "tissue and coordinates", "store": "all, JPEGs kept"}


class Row:
    def __init__(self, kind, name, command, side):
        # side: ours, variant, peer, floor; where positions are given: given, of ours, and loop, of theirs
        self.kind, self.name, self.command, self.side = kind, name, command, side
        self.wall, self.cpu, self.items, self.memory, self.failed, self.child = [], [], 0, 0, "", None

    def result(self):
        keys = ("kind", "name", "side", "items", "wall", "cpu", "memory", "failed")
        return {key: getattr(self, key) for key in keys}


def has(*modules):
    return all(importlib.util.find_spec(module) for module in modules)


class Tiling:
    def __init__(self, options, slides, folder):
        self.o, self.slides, self.folder = options, slides, folder
        self.env = dict(os.environ, PYTHONWARNINGS="ignore")
        self.program = os.path.join(options.build, "bench", "bench_tile")

    def ours(self, kind, name, side="ours", *settings):
        out = os.path.join(self.folder, f"ours-{kind}-{len(self.rows)}")
        command = [self.program, "serve=1", f"kind={kind}", "slides=" + ",".join(self.slides), f"mpp={self.o.mpp}",
                   f"threads={self.o.threads}", "out=" + out, *settings]
        self.rows.append(Row("store" if kind == "floor" else kind, name, command, side))
        self.rows[-1].out = out

    def peer(self, kind, name, what, *settings, side="peer"):
        out = os.path.join(self.folder, f"peer-{len(self.rows)}")
        command = [sys.executable, os.path.join(HERE, "peer_tile.py"), what, "slides=" + ",".join(self.slides), f"mpp={self.o.mpp}",
                   "out=" + out, "coords=" + os.path.join(self.folder, "given", "patches"), *settings]
        self.rows.append(Row(kind, name, command, side))

    def plan(self):
        self.rows = []
        two = f"processes={self.o.threads}"
        for kind in ("tissue", "coords"):
            self.ours(kind, "slidewise")
            self.ours(kind, "slidewise, `--reader openslide`", "variant", "reader=openslide")
        self.ours("store", "slidewise")
        self.ours("store", "slidewise, `--reader openslide`", "variant", "reader=openslide")
        self.ours("store", "slidewise, `--passthrough`", "variant", "passthrough=1")
        self.ours("store", "slidewise, positions given (`--coords`)", "given", "coords=" + os.path.join(self.folder, "given"))
        self.ours("floor", "floor: libjpeg-turbo decodes and encodes", "floor", f"tile_px={self.o.tile_px}")
        if has("openslide", "cv2", "h5py", "lmdb"):
            for number, text in (("processes=1", "1 process"), (two, f"{self.o.threads} processes")):
                for kind in ("tissue", "coords"):
                    self.peer(kind, f"CLAM-style, {text}", kind, number)
                for jpeg, codec in (("pil", "Pillow"), ("turbo", "PyTurboJPEG")):
                    if jpeg == "turbo" and not has("turbojpeg"):
                        continue
                    self.peer("store", f"CLAM-style, {codec}, {text}", "store", number, f"jpeg={jpeg}")
                    self.peer("store", f"positions given, {codec}, nothing kept, {text}", "plain", number, f"jpeg={jpeg}", side="loop")
                if has("hs2p"):
                    self.peer("coords", f"hs2p, {text}", "hs2p-coords", number)
                    for jpeg, codec in (("pil", "Pillow"), ("turbo", "PyTurboJPEG")):
                        self.peer("store", f"hs2p, {codec}, {text}", "hs2p-store", number, f"jpeg={jpeg}")
        self.rows = [row for row in self.rows if row.kind in self.o.rows]

    def given(self):
        """Positions for the peer that has none of its own."""
        paths = os.path.join(self.folder, "mpp.csv")
        with open(paths, "w") as file:
            file.write("slide_id,mpp\n" + "".join(f"{os.path.splitext(os.path.basename(s))[0]},{self.o.mpp}\n" for s in self.slides))
        subprocess.run([os.path.join(self.o.build, "bin", "slidewise"), "tile", "-q", "--mpp", str(self.o.mpp), "--mpp-csv", paths,
                        "--clam", os.path.join(self.folder, "given"), *self.slides], check=True, stdout=subprocess.DEVNULL)

    def start(self, row, log):
        try:
            row.child = Child(row.command, self.env, log)
            row.items = float(row.child.line(PREPARE_S)[1])
        except Failed as error:
            self.fail(row, error)

    @staticmethod
    def fail(row, error):
        row.failed = str(error)
        row.child.close()
        row.child = None

    def turns(self):
        for _ in range(self.o.repeats):
            for row in self.rows:
                if not row.child:
                    continue
                try:
                    words = row.child.ask("go", GO_S)
                    row.wall.append(float(words[1]))
                    row.cpu.append(float(words[2]))
                except (Failed, OSError) as error:
                    self.fail(row, error)
                if row.side in ("ours", "variant", "given"):
                    shutil.rmtree(row.out, ignore_errors=True)
                    os.makedirs(row.out, exist_ok=True)

    def run(self, log):
        self.given()
        self.plan()
        for row in self.rows:
            self.start(row, log)
        self.turns()
        for row in self.rows:
            if row.child:
                row.memory = int(row.child.ask("memory", GO_S)[1])
                row.child.close()
        return [row.result() for row in self.rows]


def rate(row, what):
    """Patches per second; of tissue alone, slides per second."""
    return row["items"] / statistics.median(row[what])


def figure(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def table(rows, n_slides):
    lines = ["| | patches/s | patches per CPU s | ratio | of CPU time | peak, MB | slowest - fastest |", "|---|---|---|---|---|---|---|"]
    for kind, title in KINDS.items():
        of_kind = [row for row in rows if row["kind"] == kind]
        for row in of_kind:
            if kind == "tissue":
                row["items"] = n_slides
        mine, given = (next((row for row in of_kind if row["side"] == side and row["wall"]), None) for side in ("ours", "given"))
        if not of_kind:
            continue
        lines.append(f"| **{title}**{' (slides/s)' if kind == 'tissue' else ''} | | | | | | |")
        for row in of_kind:
            if not row["wall"]:
                lines.append(f"| {row['name']} | not measured: {row['failed']} | | | | | |")
                continue
            ratios, beside = [""] * 2, given if row["side"] == "loop" else mine
            if beside and row["side"] not in ("ours", "given"):
                ratios = [f"{rate(beside, what) / rate(row, what):.2f}" for what in ("wall", "cpu")]
            lines.append(f"| {row['name']} | {figure(rate(row, 'wall'))} | {figure(rate(row, 'cpu'))} | {ratios[0]} | {ratios[1]} | "
                         f"{row['memory'] / 1e6:.0f} | {figure(row['items'] / max(row['wall']))} - "
                         f"{figure(row['items'] / min(row['wall']))} |")
        for side, beside, text in (("peer", mine, "against the best that does as much"), ("loop", given, "against the best loop")):
            peers = [row for row in of_kind if row["side"] == side and row["wall"]]
            if beside and peers:
                best = [max(peers, key=lambda row: rate(row, what)) for what in ("wall", "cpu")]
                lines.append(f"| *{text}* | {rate(beside, 'wall') / rate(best[0], 'wall'):.2f} ({best[0]['name']}) | "
                             f"{rate(beside, 'cpu') / rate(best[1], 'cpu'):.2f} ({best[1]['name']}) | | | | |")
        floor = next((row for row in of_kind if row["side"] == "floor" and row["wall"]), None)
        if mine and floor:
            lines.append(f"| *of the floor* | {100 * rate(mine, 'wall') / rate(floor, 'wall'):.0f} % | "
                         f"{100 * rate(mine, 'cpu') / rate(floor, 'cpu'):.0f} % | | | | |")
    return "\n".join(lines)


def describe(options):
    cpu = "?"
    with open("/proc/cpuinfo") as info:
        cpu = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), cpu)
    versions = [f"Python {sys.version.split()[0]}"]
    import importlib.metadata as known
    for name in ("openslide-python", "openslide-bin", "opencv-python-headless", "opencv-python", "Pillow", "PyTurboJPEG", "h5py",
                 "lmdb", "numpy", "hs2p"):
        try:
            versions.append(f"{name} {known.version(name)}")
        except known.PackageNotFoundError:
            pass
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=HERE).stdout.strip()
    return (f"{datetime.datetime.now():%Y-%m-%d %H:%M}, commit {commit}, {cpu}, {options.threads} threads, load before "
            f"{os.getloadavg()[0]:.2f}; {', '.join(versions)}. Medians of {options.repeats} turns; ratio: slidewise is so many times as "
            "fast, in wall-clock and in processor time.")


def expand(argument):
    out = []
    for path in argument.split(","):
        inside = sorted(glob.glob(os.path.join(glob.escape(path), "*"))) if os.path.isdir(path) else [path]
        out += [os.path.abspath(name) for name in inside]
    missing = [path for path in out if not os.path.isfile(path)]
    if missing:
        sys.exit(f"tile.py: {missing[0]}: no such file")
    return out


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    build = os.environ.get("SLIDEWISE_BUILD", os.path.join(HERE, "..", "build", "release"))
    p.add_argument("sets", nargs="+", metavar="SLIDE[,SLIDE...]")
    p.add_argument("--build", default=os.path.abspath(build), help="build folder (default: $SLIDEWISE_BUILD)")
    p.add_argument("--results", default=os.path.join(HERE, "results"), help="where tables are written")
    p.add_argument("--mpp", default="0.5", help="what all slides are taken to have (%(default)s)")
    p.add_argument("--rows", default=",".join(KINDS), help="which kinds of work (%(default)s)")
    p.add_argument("--tile-px", default="256", help="side of the slides' own tiles, for the floor (%(default)s)")
    p.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))), help="of both sides (%(default)s)")
    p.add_argument("--repeats", type=int, help="turns (5; quick: 2)")
    p.add_argument("--quick", action="store_true", help="fewer turns: a look, not a result")
    o = p.parse_args()
    o.rows = o.rows.split(",")
    o.repeats = o.repeats or (2 if o.quick else 5)
    return o


def main():
    o = parse()
    os.makedirs(o.results, exist_ok=True)
    name = os.path.join(o.results, f"{datetime.datetime.now():%Y%m%d-%H%M%S}-tile")
    text = describe(o)
    print(text, flush=True)
    if not has("openslide", "cv2", "h5py", "lmdb"):
        print("openslide-python, opencv-python, h5py and lmdb are not here: slidewise alone")
    everything = []
    with open(name + ".md", "w") as file, open(name + ".log", "w", buffering=1) as log:
        file.write(text + "\n")
        for argument in o.sets:
            slides = expand(argument)
            with tempfile.TemporaryDirectory(prefix="slidewise-bench-") as folder:
                rows = Tiling(o, slides, folder).run(log)
            title = os.path.basename(slides[0]) if len(slides) == 1 else f"{len(slides)} slides, from {os.path.basename(slides[0])} on"
            part = f"\n{title}\n\n{table(rows, len(slides))}\n"
            print(part, flush=True)
            file.write(part)
            everything.append({"slides": slides, "rows": rows})
    with open(name + ".json", "w") as file:
        json.dump({"about": text, "sets": everything}, file, indent=1)
    print(f"written: {name}.md and .json")


if __name__ == "__main__":
    main()
