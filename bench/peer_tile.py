# SPDX-License-Identifier: Apache-2.0
"""Tilers in Python, for comparison; what each does is one of

  tissue, coords, store   the CLAM-style pipeline: OpenCV on the saturation of the coarse level; the grid of patches into h5; one
                          read_region per patch, JPEG by Pillow or PyTurboJPEG, pickled into one LMDB file
  plain                   read_region per patch at positions that are given, JPEG, nothing kept: the cheapest loop there is
  hs2p-coords, hs2p-store pip's hs2p: its own positions; the JPEGs into a tar

  peer_tile.py KIND slides=FILE,... out=DIR [jpeg=pil|turbo] [processes=1] [coords=DIR/patches] [mpp=0.5] [quality=80]

It answers lines like the programs in C (bench/util.h): "ready PATCHES 0", then for every "go" a line "seconds WALL CPU", for
"memory" the peak of its processes together. Imports, the start of processes and one go to warm up come before "ready".
`coords`: h5 files as `slidewise tile --clam` writes them, at level 0, for `plain`."""
import gc
import glob
import io
import multiprocessing
import os
import pickle
import resource
import shutil
import sys
import time
import warnings

import cv2
import h5py
import lmdb
import numpy
import openslide
from PIL import Image

SIDE = 256
STHRESH, MTHRESH, CLOSE, A_T, A_H, MAX_HOLES = 8, 7, 4, 100, 16, 8
state = {"slides": {}}


# ---- tissue and coordinates, as CLAM does them

def segment(slide):
    """The contours that are large enough and their holes, in level-0 pixels."""
    level = slide.get_best_level_for_downsample(64) if slide.level_count > 1 else 0
    rgba = numpy.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]))
    saturation = cv2.cvtColor(rgba, cv2.COLOR_RGB2HSV)[:, :, 1]
    smooth = cv2.medianBlur(saturation, MTHRESH)
    _, mask = cv2.threshold(smooth, STHRESH, 255, cv2.THRESH_BINARY)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, numpy.ones((CLOSE, CLOSE), numpy.uint8))
    scale = [full / part for full, part in zip(slide.dimensions, slide.level_dimensions[level])]
    unit = int(512 * 512 / (scale[0] * scale[1]))
    # the one deviation, slidewise's default for small slides: no contour needs more than 1 % of the slide
    least, least_hole = A_T * unit, A_H * unit
    if least > 0.01 * mask.size:
        least, least_hole = 0.01 * mask.size, 0.01 * mask.size * A_H / A_T
    found, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    tree = tree[0][:, 2:] if tree is not None else numpy.zeros((0, 2), int)
    kept = []
    for outer in numpy.flatnonzero(tree[:, 1] == -1):
        inner = [found[i] for i in numpy.flatnonzero(tree[:, 1] == outer)]
        area = cv2.contourArea(found[outer]) - sum(map(cv2.contourArea, inner))
        if area > 0 and area > least:
            inner = sorted(inner, key=cv2.contourArea, reverse=True)[:MAX_HOLES]
            inner = [ring for ring in inner if cv2.contourArea(ring) > least_hole]
            kept.append([(ring * scale).astype(numpy.int32) for ring in [found[outer], *inner]])
    return kept


def in_tissue(ring, holes, x, y):
    """CLAM's four_pt: one of four points around the centre; not with the centre in a hole."""
    centre, shift = (x + SIDE // 2, y + SIDE // 2), int(SIDE // 2 * 0.5)
    points = [(centre[0] + dx, centre[1] + dy) for dx, dy in ((shift, shift), (shift, -shift), (-shift, shift), (-shift, -shift))]
    if not any(cv2.pointPolygonTest(ring, tuple(map(float, point)), False) >= 0 for point in points):
        return False
    middle = (x + SIDE / 2, y + SIDE / 2)
    return not any(cv2.pointPolygonTest(hole, middle, False) > 0 for hole in holes)


def grid(contours):
    out = []
    for ring, *holes in contours:
        left, top, width, height = cv2.boundingRect(ring)
        for x in range(left, left + width, SIDE):
            out += [(x, y) for y in range(top, top + height, SIDE) if in_tissue(ring, holes, x, y)]
    return numpy.array(out, numpy.int64).reshape(-1, 2)


def tissue_of(path):
    with openslide.OpenSlide(path) as slide:
        return len(segment(slide))


def coords_of(path):
    with openslide.OpenSlide(path) as slide:
        found = grid(segment(slide))
    name = os.path.splitext(os.path.basename(path))[0]
    with h5py.File(os.path.join(state["out"], name + ".h5"), "w") as file:
        data = file.create_dataset("coords", data=found, maxshape=(None, 2), chunks=(max(1, len(found)), 2))
        data.attrs.update({"patch_size": SIDE, "patch_level": 0, "name": name})
    return found


# ---- patches

def encode_pil(image):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=state["quality"])
    return out.getvalue()


def encode_turbo(image):
    import turbojpeg
    if "coder" not in state:
        state["coder"] = turbojpeg.TurboJPEG()
    return state["coder"].encode(numpy.asarray(image), state["quality"], turbojpeg.TJPF_RGB, turbojpeg.TJSAMP_420)


def cut(job):
    path, x, y = job
    if path not in state["slides"]:
        state["slides"].clear()
        state["slides"][path] = openslide.OpenSlide(path)
    image = state["slides"][path].read_region((x, y), 0, (SIDE, SIDE)).convert("RGB")
    return (encode_turbo if state["jpeg"] == "turbo" else encode_pil)(image)


def forget(_):
    """A new go opens its slides anew."""
    for slide in state["slides"].values():
        slide.close()
    state["slides"].clear()
    if state["barrier"]:
        state["barrier"].wait()  # so that each process gets one of these


def attach(barrier):
    state["barrier"] = barrier
    cv2.setNumThreads(1)  # the processes are the threads


def spread(work, jobs, chunk):
    return state["pool"].imap(work, jobs, chunksize=chunk) if state["pool"] else map(work, jobs)


# ---- goes: each returns the number of patches (of contours for tissue)

def tissue():
    return sum(spread(tissue_of, state["paths"], 1))


def coords():
    return sum(map(len, spread(coords_of, state["paths"], 1)))


def store():
    """Everything: the positions, then the patches into one LMDB file, a transaction for 5000."""
    jobs, count = [], {}
    for path, found in zip(state["paths"], spread(coords_of, state["paths"], 1)):
        jobs += [(path, int(x), int(y)) for x, y in found]
        count[os.path.splitext(os.path.basename(path))[0]] = len(found)
    keys = [f"{name}-{k}".encode() for name, n in count.items() for k in range(n)]
    env = lmdb.open(os.path.join(state["out"], "patches.lmdb"), subdir=False, map_size=1 << 34, readonly=False, meminit=False)
    txn = env.begin(write=True)
    for i, (key, jpeg) in enumerate(zip(keys, spread(cut, jobs, 32))):
        txn.put(key, pickle.dumps(jpeg))
        if i % 5000 == 4999:
            txn.commit()
            txn = env.begin(write=True)
    for key, value in (("__keys__", keys), ("__len__", len(keys)), ("__slide__", list(count)), ("__pn__", count)):
        txn.put(key.encode(), pickle.dumps(value))
    txn.commit()
    env.sync()
    env.close()
    return len(jobs)


def plain():
    return sum(1 for _ in spread(cut, state["jobs"], 32))


def hs2p(save):
    from pathlib import Path
    import hs2p as library
    slides = [library.SlideSpec(sample_id=Path(path).stem, image_path=Path(path), spacing_at_level_0=state["mpp"])
              for path in state["paths"]]
    # 32: the level that slidewise and CLAM take where the next one's downsample is a little more than 64
    done = library.tile_slides(
        slides, output_dir=Path(state["out"]), num_workers=state["processes"], save_tiles=save, preview=None,
        jpeg_backend="turbojpeg" if state["jpeg"] == "turbo" else "pil",
        tiling=library.TilingConfig(backend="openslide", mask_backend="openslide", requested_spacing_um=state["mpp"],
                                    requested_tile_size_px=SIDE, tolerance=0.05, overlap=0.0),
        segmentation=library.SegmentationConfig(method="hsv", downsample=32))
    if len(done) != len(slides):
        sys.exit("hs2p left slides out")
    return sum(item.num_tiles for item in done)


def given_jobs(folder):
    jobs = []
    for path in state["paths"]:
        name = os.path.splitext(os.path.basename(path))[0]
        with h5py.File(os.path.join(folder, name + ".h5")) as file:
            if int(file["coords"].attrs["patch_level"]) != 0 or int(file["coords"].attrs["patch_size"]) != SIDE:
                sys.exit(f"{path}: the coordinates are not of patches of {SIDE} pixels of level 0")
            jobs += [(path, int(x), int(y)) for x, y in file["coords"][:]]
    return jobs


# ---- measuring

def cpu_seconds():
    """Of this process, of those that ended, and of the pool's."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + ended.ru_utime + ended.ru_stime
    for pid in state["pids"]:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with open(path) as file:
                total += int(file.read().split()[0]) * 1e-9
    return total


def peak_bytes():
    total = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for pid in state["pids"]:
        with open(f"/proc/{pid}/status") as file:
            total += next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    if not state["pids"]:  # hs2p's processes end with each go; the system tells the largest only
        total += state["processes"] * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return total


def measured(go):
    shutil.rmtree(state["out"], ignore_errors=True)
    os.makedirs(state["out"])
    forget(0)
    if state["pool"]:
        state["pool"].map(forget, range(state["processes"]), chunksize=1)
    gc.collect()
    begin, cpu = time.perf_counter(), cpu_seconds()
    count = go()
    return count, time.perf_counter() - begin, cpu_seconds() - cpu


def main():
    kind, args = sys.argv[1], dict(arg.split("=", 1) for arg in sys.argv[2:])
    warnings.simplefilter("ignore")
    state.update(paths=args["slides"].split(","), out=args["out"], jpeg=args.get("jpeg", "pil"), mpp=float(args.get("mpp", 0.5)),
                 quality=int(args.get("quality", 80)), processes=int(args.get("processes", 1)), pool=None, pids=[], barrier=None)
    goes = {"tissue": tissue, "coords": coords, "store": store, "plain": plain, "hs2p-coords": lambda: hs2p(False),
            "hs2p-store": lambda: hs2p(True)}
    if kind == "plain":
        state["jobs"] = given_jobs(args["coords"])
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries may print
    if state["processes"] > 1 and not kind.startswith("hs2p"):
        state["pool"] = multiprocessing.Pool(state["processes"], attach, (multiprocessing.Barrier(state["processes"]),))
        state["pids"] = [process.pid for process in multiprocessing.active_children()]
    print("ready", measured(goes[kind])[0], 0, file=answers, flush=True)
    for line in sys.stdin:
        if line.strip() == "go":
            count, seconds, cpu = measured(goes[kind])
            print(f"seconds {seconds:.6f} {cpu:.6f}", file=answers, flush=True)
        else:
            print("memory", peak_bytes(), 0, file=answers, flush=True)
    if state["pool"]:
        state["pool"].terminate()


if __name__ == "__main__":
    main()
