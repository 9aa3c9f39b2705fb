# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/reference: two small LMDBs as the reference implementation leaves them, and one JPEG of each kind.

    pip install lmdb pillow numpy
    python tests/golden/make_reference_lmdb.py

One file each (no folder); a key is "{slide}-{index}", a value a pickled bytes object that holds a JPEG of quality 80; the
metadata are pickled, too. The pictures are noise. Nothing here is read by the build or by the tests; the files are committed.
"""
import io
import pathlib
import pickle

import lmdb
import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent / "reference"
SIDE = 32
SLIDES = {"a": 12, "a-1": 3, "b c": 1}  # keys of a and a-1 interleave in byte order: a-1, a-1-0, a-10


def jpeg(slide, index):
    rng = np.random.default_rng([sum(slide.encode()), index])
    small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(small).resize((SIDE, SIDE), Image.BILINEAR).save(out, "JPEG", quality=80)
    return out.getvalue()


def write(name, slides, protocol, metadata):
    path = HERE / name
    path.unlink(missing_ok=True)
    env = lmdb.open(str(path), subdir=False, map_size=2**24, lock=False, meminit=True)
    keys = []
    with env.begin(write=True) as txn:
        for slide, count in slides.items():
            for index in range(count):
                keys.append(f"{slide}-{index}".encode("ascii"))
                txn.put(keys[-1], pickle.dumps(jpeg(slide, index), protocol=protocol))
        if metadata:
            for key, value in {"__keys__": keys, "__len__": len(keys), "__slide__": list(slides), "__pn__": dict(slides)}.items():
                txn.put(key.encode(), pickle.dumps(value, protocol=protocol))
    env.close()


HERE.mkdir(exist_ok=True)
write("224_80_level1.lmdb", SLIDES, 4, True)
write("unfinished.lmdb", {"a": 2}, 3, False)  # stopped before its metadata; an older pickle
(HERE / "a-10.jpg").write_bytes(jpeg("a", 10))
(HERE / "a-1-2.jpg").write_bytes(jpeg("a-1", 2))
