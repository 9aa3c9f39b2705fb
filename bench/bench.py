#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""slidewise beside PyTorch, in turns, in the same run; without PyTorch slidewise alone.

Every row is measured by two programs that stay alive and take turns: one does the row's work once and says how long it took
while the other waits. Before that each of PyTorch's modes is tried for a moment, and the fastest is the one that is measured.
`make bench` builds what is needed and calls this; --help lists what can be chosen.
"""
import argparse
import datetime
import json
import os
import platform
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT_S = 300  # a single go that takes longer is not waited for
PAUSE_S = 0.1  # between turns: threads that spin for new work have given up by then
PREPARE_S = 400  # a mode that is not ready after this is given up (compiling takes its time)
ATTEND_N = (512, 10000, 40000)
WIDE_N = (512, 2048, 10000)


class Failed(Exception):
    pass


class Child:
    """A program that answers lines with lines."""

    def __init__(self, command, env, log):
        self.errors = tempfile.TemporaryFile(mode="w+")
        log.write("$ " + " ".join(command) + "\n")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        text=True, bufsize=1, env=env)

    def line(self, limit):
        """The next line; Failed when the program ends or takes too long."""
        ready, _, _ = select.select([self.process.stdout], [], [], limit)
        if not ready:
            self.process.kill()
            self.process.wait()
            raise Failed(f"> {limit} s")
        text = self.process.stdout.readline().strip()
        if not text:
            raise Failed(self.last_error())
        if text.startswith("failed"):
            raise Failed(text[7:])
        return text.split()

    def ask(self, what, limit):
        self.process.stdin.write(what + "\n")
        return self.line(limit)

    def last_error(self):
        code = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        return lines[-1] if lines else f"ended with code {code}" + (" (killed: out of memory?)" if code == -9 else "")

    def close(self):
        try:
            self.process.stdin.close()
            self.process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


class Bench:
    def __init__(self, options):
        self.o = options
        self.env = dict(os.environ, CUDA_VISIBLE_DEVICES="", PYTHONWARNINGS="ignore",
                        TORCHINDUCTOR_CACHE_DIR=os.path.join(options.build, "bench", "torch-cache"))
        os.makedirs(options.results, exist_ok=True)
        self.log = open(os.path.join(options.results, "latest.log"), "w", buffering=1)
        self.best = {}  # (row, precision) -> (eager mode, compiled mode)
        self.rows = []
        self.floor = {}
        self.tried = []  # what PyTorch's modes took, in words, for the row in progress

    def program(self, name):
        path = os.path.join(self.o.build, "bench", name)
        if not os.path.exists(path):
            sys.exit(f"bench.py: {path} is missing; build the target slidewise_bench")
        return path

    def ours(self, name, *settings):
        # The threads wait as the program's do (cli/waiting.c).
        return ["env", "GOMP_SPINCOUNT=" + os.environ.get("GOMP_SPINCOUNT", "1000"), self.program(name),
                f"threads={self.o.threads}", *settings]

    def peer(self, row, *settings):
        return [sys.executable, os.path.join(HERE, "peer_torch.py"), row, f"threads={self.o.threads}", *settings]

    # ---- PyTorch's modes

    def try_modes(self, row, modes, settings, repeats, limit=PREPARE_S):
        """Seconds of each mode that works, the fastest first."""
        found = {}
        command = self.peer(row, "modes=" + ",".join(modes), "select=1", f"repeats={repeats}", *settings)
        child = Child(command, self.env, self.log)
        try:
            for _ in modes:
                words = child.line(limit)
                self.log.write(" ".join(words) + "\n")
                if words[2] != "failed":
                    found[words[1]] = float(words[2])
                self.tried.append(f"{words[1]} " + (" ".join(words[2:]) if words[2] == "failed" else f"{found[words[1]]:.4g} s"))
        except Failed as e:
            self.tried.append(f"a mode of {', '.join(modes)}: {e}")
            self.log.write(f"{row}: {e}\n")
        child.close()
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def encoder_modes(self, row, precision, settings):
        """The eager modes, then, with the cast that was best so far, the compiled ones."""
        casts = [""] if precision == "fp32" else ["+autocast", "+pure"]
        forms = ("nchw", "nhwc")
        found = self.try_modes(row, [f"eager+{form}{cast}" for form in forms for cast in casts], settings, 2)
        if not self.o.no_compile:
            best = next(iter(found), "").split("+")[2:]
            found.update(self.try_modes(row, ["+".join(["compile", form, *best]) for form in forms], settings, 2))
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def loading_modes(self, row, precision, settings):
        """The encoder's best modes, with the number of workers that is best for the eager one in a small case."""
        cast = "" if precision == "fp32" else "+autocast"
        guess = {"eager+nhwc" + cast: 1.0} if self.o.no_compile else {"compile+nhwc" + cast: 1.0, "eager+nhwc" + cast: 2.0}
        encoder = self.best.get(("encoder-train" if row == "step" else "encoder-forward", precision)) or guess
        eager = next(mode for mode in [*encoder, "eager+nhwc" + cast] if mode.startswith("eager"))
        small = [*settings, "patches=16", "limit=128"]
        found = self.try_modes(row, [f"{eager}+w{w}" for w in (0, 1, 2)], small, 1)
        workers = next(iter(found), "w0").rsplit("+", 1)[-1]
        return {f"{mode}+{workers}": None for mode in encoder}

    def choose(self, row, precision, settings):
        """Modes to measure, the most promising first; the next one is for where the first does not work."""
        if row.startswith("attend"):
            # the first go of a process costs more, which counts unless N is large
            repeats = 0 if "n=40000" in settings else 2
            modes = ["columns"] if "columns=64" in settings else ["padded", "one"]
            return self.try_modes(row, modes, settings, repeats, LIMIT_S)
        if row.startswith("encoder"):
            self.best[row, precision] = self.encoder_modes(row, precision, settings)
            return self.best[row, precision]
        return self.loading_modes(row, precision, settings)

    # ---- one row

    def turns(self, us, them, repeats):
        times = {us: [], them: []}
        for _ in range(repeats):
            for child in (us, them):
                if child:
                    time.sleep(PAUSE_S)
                    times[child].append(float(child.ask("go", LIMIT_S)[1]))
        return times.get(us, []), times.get(them, [])

    def measure(self, title, row, precision, command, settings, repeats, unit):
        out = {"title": title, "row": row, "precision": precision, "unit": unit}
        self.rows.append(out)
        us = them = None
        try:
            us = Child(command, self.env, self.log)
            ready = us.line(PREPARE_S)
            out["items"], out["flops"] = float(ready[1]), float(ready[2])
            if self.o.peer:
                them = self.open_peer(out, row, precision, settings)
            out["ours"], out["peer"] = self.turns(us, them, repeats)
            out["ours_memory"] = int(us.ask("memory", LIMIT_S)[1])
            if them:
                out["peer_memory"], out["peer_at_rest"] = map(int, them.ask("memory", LIMIT_S)[1:])
        except Failed as e:
            out["failed"] = str(e)
        for child in (us, them):
            if child:
                child.close()
        print(self.line(out), flush=True)

    def open_peer(self, out, row, precision, settings):
        settings = [f"precision={precision}", *settings]
        self.tried = []
        found = self.choose(row, precision, settings)
        out["tried"] = self.tried
        for mode, seconds in found.items():
            if seconds and seconds > LIMIT_S:
                out["peer_failed"] = f"> {LIMIT_S} s"
                return None
            child = Child(self.peer(row, f"modes={mode}", *settings), self.env, self.log)
            try:
                child.line(PREPARE_S)
                out["mode"] = mode
                return child
            except Failed as e:
                out["peer_failed"] = str(e)
                child.close()
        out.setdefault("peer_failed", "no mode works")
        return None

    def start(self, repeats):
        """From nothing to the end of the first training step, each time in a new process."""
        out = {"title": "start to the end of the first step", "row": "start", "precision": "fp32", "unit": "s",
               "items": 1, "flops": 0, "mode": "eager+nhwc", "ours": [], "peer": []}
        self.rows.append(out)
        sides = [("ours", self.ours("bench_step", f"store={self.store}", "kind=start", "patches=8"))]
        if self.o.peer:
            sides.append(("peer", self.peer("start", f"store={self.store}", "modes=eager+nhwc+w0", "patches=8")))
        try:
            for turn in range(repeats + 1):
                for side, command in sides:
                    time.sleep(PAUSE_S)
                    began = time.perf_counter()
                    child = Child(command, self.env, self.log)
                    child.line(LIMIT_S)
                    seconds = time.perf_counter() - began
                    child.close()
                    if turn:  # the first reads the files from disk
                        out[side].append(seconds)
        except Failed as e:
            out["failed"] = str(e)
        print(self.line(out), flush=True)

    # ---- the table

    HEADER = ("| row | precision | slidewise | PyTorch | ratio | of the floor | memory, MB | slowest - fastest |\n"
              "|---|---|---|---|---|---|---|---|")

    @staticmethod
    def figure(out, seconds):
        if out["unit"] == "ms":
            return f"{seconds * 1e3:.2f} ms" if seconds < 0.1 else f"{seconds * 1e3:.0f} ms"
        if out["unit"] == "s":
            return f"{seconds:.2f} s"
        return f"{out['items'] / seconds:.1f}/s"

    def of_floor(self, out, seconds):
        peak = self.floor.get("bf16_gflops" if out["precision"] == "bf16" else "f32_gflops", 0)
        return f"{100 * out['flops'] / seconds / peak / 1e9:.0f} %" if peak and out["flops"] else "-"

    def line(self, out):
        if "failed" in out:
            return f"| {out['title']} | {out['precision']} | not measured: {out['failed']} | | | | | |"
        ours, peer = out["ours"], out["peer"]
        mine = statistics.median(ours)
        theirs, ratio = "-", "-"
        memory = f"{out['ours_memory'] / 1e6:.0f}" if "ours_memory" in out else "-"
        noise = f"{self.figure(out, max(ours))} - {self.figure(out, min(ours))}"
        if peer:
            other = statistics.median(peer)
            theirs, ratio = f"{self.figure(out, other)} ({out['mode']})", f"{other / mine:.2f}"
            noise += f"; {self.figure(out, max(peer))} - {self.figure(out, min(peer))}"
            if "peer_memory" in out:
                memory += f" / {out['peer_memory'] / 1e6:.0f}"
        elif "peer_failed" in out:
            theirs = out["peer_failed"]
        return (f"| {out['title']} | {out['precision']} | {self.figure(out, mine)} | {theirs} | {ratio} | "
                f"{self.of_floor(out, mine)} | {memory} | {noise} |")

    def describe(self):
        def said(*command):
            try:
                return subprocess.run(command, capture_output=True, text=True, cwd=HERE, timeout=60).stdout.strip()
            except (OSError, subprocess.TimeoutExpired):
                return ""

        cpu = platform.processor() or platform.machine()
        with open("/proc/cpuinfo") as info:
            cpu = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), cpu)
        commit = said("git", "describe", "--always", "--dirty") or "unknown"
        torch = said(sys.executable, "-c", "import torch; print(torch.__version__)") if self.o.peer else "absent"
        floor = self.floor
        return [f"{datetime.datetime.now():%Y-%m-%d %H:%M}, commit {commit}, {cpu}, {self.o.threads} threads, "
                f"load before {os.getloadavg()[0]:.2f}; PyTorch {torch}",
                f"floor of this machine: {floor.get('f32_gflops', 0):.0f} GFLOP/s of fp32 multiply-adds, "
                f"{floor.get('bf16_gflops', 0):.0f} of bf16 pair products (0: none), {floor.get('triad_gbs', 0):.1f} GB/s",
                "medians; patches per second unless a unit is given; a ratio above 1: slidewise is faster; memory: peak of the "
                "process from its second go on, slidewise / PyTorch. 'of the floor' counts direct convolutions (2.805 GFLOP "
                "forward, 8.179 training, per patch of 224 pixels): minimal filtering (Winograd) does with fewer, so more than "
                "100 % is possible. Attention counts its products (with one column Q K^T only), not its exponentials."]

    def read_floor(self):
        out = subprocess.run(self.ours("bench_floor"), capture_output=True, text=True, check=True).stdout
        self.floor = {name: float(value) for name, value in map(str.split, out.splitlines())}

    # ---- the whole

    def run(self):
        o = self.o
        began = time.perf_counter()
        self.read_floor()
        texts = self.describe()
        self.n_head = len(texts)
        print("\n".join(texts) + "\n\n" + self.HEADER, flush=True)
        with tempfile.TemporaryDirectory(prefix="slidewise-bench-") as self.store:
            made = subprocess.run(self.ours("bench_store", f"out={self.store}", f"patches={o.patches}"),
                                  capture_output=True, text=True)
            if made.returncode:
                sys.exit(made.stderr.strip())
            self.log.write(made.stdout)
            self.run_rows()
        rest = [out["peer_at_rest"] for out in self.rows if "peer_at_rest" in out]
        if rest:
            texts.append(f"of PyTorch's memory {min(rest) / 1e6:.0f} MB are the imported libraries, before any work")
        texts.append(f"{(time.perf_counter() - began) / 60:.1f} minutes in all; stores of synthetic slides: "
                     + made.stdout.strip().replace("\n", "; "))
        print("\n" + "\n".join(texts[self.n_head:]))
        self.write(texts)

    def run_rows(self):
        o = self.o
        precisions = [p for p in o.precision if p == "fp32" or self.floor.get("bf16_gflops")]
        for p in precisions:
            if "encoder" in o.rows:
                for kind, title in (("forward", "encoder, forward"), ("train", "encoder, training step")):
                    batch = f"batch={o.batch}"
                    self.measure(title, f"encoder-{kind}", p, self.ours("bench_encoder", "serve=1", f"kind={kind}",
                                 f"precision={p}", batch), [batch], o.repeats, "patches")
            if "step" in o.rows:
                bags = [f"store={self.store}", "bags=2", f"patches={o.bag}"]
                self.measure(f"training with loading, 2 bags of {o.bag}", "step", p,
                             self.ours("bench_step", "serve=1", f"precision={p}", *bags), bags, o.repeats, "patches")
            if "infer" in o.rows:
                store = f"store={self.store}"
                self.measure("whole slide, store to logits", "infer", p,
                             self.ours("bench_infer", "serve=1", f"precision={p}", store), [store], o.repeats, "patches")
        if "start" in o.rows:
            self.start(o.repeats)
        if "attend" in o.rows:
            for precision in o.precision:
                self.attention(precision)
        if "wide" in o.rows and "fp32" in o.precision:
            self.wide_attention()

    def attention(self, precision):
        o = self.o
        for n in ATTEND_N[:2] if o.quick else ATTEND_N:
            for kind in ("forward", "train"):
                repeats = o.repeats if n < 40000 else min(o.repeats, o.repeats_large)
                title = f"attention, N = {n}, {'forward + backward' if kind == 'train' else 'forward'}"
                settings = [f"n={n}", f"warm={int(n < 40000)}"]
                self.measure(title, f"attend-{kind}", precision, self.ours("bench_attend", "serve=1", f"kind={kind}",
                             f"precision={precision}", *settings), settings, repeats, "ms")

    def wide_attention(self):
        """Values of as many columns as keys have, which is what PyTorch's function is made for; fp32 only."""
        o = self.o
        for n in WIDE_N[:2] if o.quick else WIDE_N:
            for kind in ("forward", "train"):
                title = f"attention with 64 columns, N = {n}, {'forward + backward' if kind == 'train' else 'forward'}"
                settings = [f"n={n}", "width=64", "columns=64"]
                self.measure(title, f"attend-{kind}", "fp32", self.ours("bench_attend", "serve=1", f"kind={kind}",
                             *settings), settings, o.repeats, "ms")

    def write(self, texts):
        name = os.path.join(self.o.results, f"{datetime.datetime.now():%Y%m%d-%H%M%S}")
        with open(name + ".md", "w") as file:
            file.write("\n\n".join(texts[:self.n_head]) + "\n\n" + self.HEADER + "\n")
            file.write("\n".join(map(self.line, self.rows)) + "\n\n" + "\n\n".join(texts[self.n_head:]) + "\n")
            if any("tried" in out for out in self.rows):
                file.write("\nPyTorch's modes, one go of each (the workers in a small case):\n\n")
            for out in self.rows:
                if "tried" in out:
                    file.write(f"- {out['title']}, {out['precision']}: {'; '.join(out['tried'])}\n")
        with open(name + ".json", "w") as file:
            json.dump({"about": texts, "floor": self.floor, "rows": self.rows}, file, indent=1)
        print(f"written: {name}.md and .json")


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    build = os.environ.get("SLIDEWISE_BUILD", os.path.join(HERE, "..", "build", "release"))
    p.add_argument("--build", default=os.path.abspath(build), help="build folder (default: $SLIDEWISE_BUILD)")
    p.add_argument("--results", default=os.path.join(HERE, "results"), help="where tables are written")
    p.add_argument("--rows", default="encoder,step,infer,start,attend,wide",
                   help="which rows, comma-separated; attend: a value of one column, wide: of 64 (%(default)s)")
    p.add_argument("--precision", default="fp32,bf16", help="which precisions (%(default)s)")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of both sides (%(default)s)")
    p.add_argument("--repeats", type=int, help="turns per row (7; quick: 3)")
    p.add_argument("--repeats-large", type=int, default=3, help="turns of attention at N = 40 000 (%(default)s)")
    p.add_argument("--batch", type=int, default=32, help="patches of the encoder rows (%(default)s)")
    p.add_argument("--patches", type=int, help="of the whole slide (600; quick: 200)")
    p.add_argument("--bag", type=int, help="patches per bag of the training row (64; quick: 16)")
    p.add_argument("--quick", action="store_true", help="fewer turns, smaller bags, nothing compiled: a look, not a result")
    p.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    p.add_argument("--no-peer", action="store_true", help="leave PyTorch out")
    o = p.parse_args()
    o.rows, o.precision = o.rows.split(","), o.precision.split(",")
    o.repeats = o.repeats or (3 if o.quick else 7)
    o.patches = o.patches or (200 if o.quick else 600)
    o.bag = o.bag or (16 if o.quick else 64)
    o.no_compile = o.no_compile or o.quick
    o.build = os.path.abspath(o.build)
    o.peer = not o.no_peer and subprocess.run(
        [sys.executable, "-c", "import torch, torchvision"], capture_output=True).returncode == 0
    if not o.peer:
        print("PyTorch (torch and torchvision) is not here or not wanted: slidewise alone, without ratios")
    return o


if __name__ == "__main__":
    Bench(parse()).run()
