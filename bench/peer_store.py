# SPDX-License-Identifier: Apache-2.0
"""The reference-style reader: one LMDB file, a pickled list of keys, each patch a pickled JPEG; Pillow or PyTurboJPEG.

  peer_store.py make JPEGS FILE.lmdb                       writes it from a folder of `slidewise store export`
  peer_store.py read FILE.lmdb [decode=pil|turbo|none] [processes=1] [open=0]

`read` answers like the programs in C (bench/util.h). Every go reads all patches in the same random order; with two processes each
has every other chunk of 32 of them and writes its pixels to memory that both share, as PyTorch's loader does. open=1: each go
opens the file and reads its list of keys first, else that was done before."""
import glob
import io
import multiprocessing
import os
import pickle
import random
import resource
import sys
import time

import lmdb
import numpy
from PIL import Image

CHUNK, SIDE = 32, 256
state = {"env": None}


def make(folder, path):
    names = sorted(glob.glob(os.path.join(folder, "*um", "*", "*.jpg")))
    env = lmdb.open(path, subdir=False, map_size=1 << 34, meminit=False)
    keys, count = [], {}
    with env.begin(write=True) as txn:
        for name in names:
            slide = os.path.basename(os.path.dirname(name))
            keys.append(f"{slide}-{count.get(slide, 0)}".encode())
            count[slide] = count.get(slide, 0) + 1
            with open(name, "rb") as file:
                txn.put(keys[-1], pickle.dumps(file.read()))
        for key, value in (("__keys__", keys), ("__len__", len(keys)), ("__slide__", list(count)), ("__pn__", count)):
            txn.put(key.encode(), pickle.dumps(value))
    env.sync()
    env.close()


def open_env():
    state["env"] = lmdb.open(state["path"], subdir=False, readonly=True, lock=False, readahead=False, meminit=False,
                             map_size=100 << 30)
    with state["env"].begin() as txn:
        state["keys"] = pickle.loads(txn.get(b"__keys__"))
    order = list(range(len(state["keys"])))
    random.Random(1).shuffle(order)
    state["order"] = order


def decode_turbo(jpeg):
    import turbojpeg
    if "coder" not in state:
        state["coder"] = turbojpeg.TurboJPEG()
    return state["coder"].decode(jpeg, turbojpeg.TJPF_RGB)


def read_chunk(chunk):
    for slot, i in enumerate(state["order"][chunk * CHUNK:(chunk + 1) * CHUNK]):
        with state["env"].begin() as txn:
            jpeg = pickle.loads(txn.get(state["keys"][i]))
        if state["decode"] == "none":
            continue
        pixels = decode_turbo(jpeg) if state["decode"] == "turbo" else numpy.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
        state["pixels"][slot] = pixels
    return 0


def shut(_):
    if state["env"]:
        state["env"].close()
        state["env"] = None
    if state["barrier"]:
        state["barrier"].wait()  # so that each process gets one of these


def chunk_of_worker(chunk):
    if not state["env"]:
        open_env()
    return read_chunk(chunk)


def attach(settings, shared, barrier):
    state.update(settings, barrier=barrier)
    me = multiprocessing.current_process()._identity[0] % settings["processes"]
    state["pixels"] = numpy.frombuffer(shared, numpy.uint8).reshape(settings["processes"], CHUNK, SIDE, SIDE, 3)[me]


def go():
    if not state["env"]:
        open_env()
    chunks = range((len(state["order"]) + CHUNK - 1) // CHUNK)
    for _ in state["pool"].imap_unordered(chunk_of_worker, chunks) if state["pool"] else map(read_chunk, chunks):
        pass


def cpu_seconds():
    total = time.process_time()
    for pid in state["pids"]:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with open(path) as file:
                total += int(file.read().split()[0]) * 1e-9
    return total


def close_all():
    shut(0)
    if state["pool"]:
        state["pool"].map(shut, range(state["processes"]), chunksize=1)


def serve(args):
    settings = {"path": sys.argv[2], "decode": args.get("decode", "pil"), "processes": int(args.get("processes", 1))}
    shared = multiprocessing.RawArray("B", settings["processes"] * CHUNK * SIDE * SIDE * 3)
    state.update(settings, pool=None, pids=[], barrier=None)
    state["pixels"] = numpy.zeros((CHUNK, SIDE, SIDE, 3), numpy.uint8)
    if settings["processes"] > 1:
        state["pool"] = multiprocessing.Pool(settings["processes"], attach, (settings, shared,
                                                                                  multiprocessing.Barrier(settings["processes"])))
        state["pids"] = [process.pid for process in multiprocessing.active_children()]
    go()
    print("ready", len(state["keys"]), 0, flush=True)
    if args.get("open") == "1":
        close_all()
    for line in sys.stdin:
        if line.strip() == "go":
            begin, cpu = time.perf_counter(), cpu_seconds()
            go()
            print(f"seconds {time.perf_counter() - begin:.6f} {cpu_seconds() - cpu:.6f}", flush=True)
            if args.get("open") == "1":
                close_all()
        else:
            print("memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, 0, flush=True)
    if state["pool"]:
        state["pool"].terminate()


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], sys.argv[3])
    else:
        serve(dict(arg.split("=", 1) for arg in sys.argv[3:]))
