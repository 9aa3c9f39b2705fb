# SPDX-License-Identifier: Apache-2.0
"""Writes the coordinate files of tests/golden/coords with h5py, in the forms that CLAM and TRIDENT leave behind.

    pip install h5py numpy
    python tests/golden/make_coords.py

The positions are made up. Nothing here is read by the build or by the tests; the files are committed.
"""
import pathlib

import h5py
import numpy as np

HERE = pathlib.Path(__file__).parent / "coords"


def write(name, coords, attributes, chunks=(1, 2), dtype=np.int64):
    coords = np.asarray(coords, dtype=dtype)
    with h5py.File(HERE / name, "w") as file:
        more = {"chunks": chunks, "maxshape": (None, coords.shape[1])} if chunks and coords.ndim == 2 else {}
        dataset = file.create_dataset("coords", data=coords, **more)
        for key, value in attributes.items():
            dataset.attrs[key] = value


POSITIONS = [(128, 64), (128, 576), (640, 64)]
CLAM = {"patch_size": 128, "patch_level": 1, "downsample": (4.0, 4.0), "downsampled_level_dim": (500, 400),
        "level_dim": (500, 400), "name": "one", "save_path": "out/patches"}
TRIDENT = {"patch_size": 256, "patch_size_level0": 512, "level0_magnification": 40, "target_magnification": 20, "overlap": 0,
           "name": "one", "savetodir": "job/20x_256px_0px_overlap", "level0_width": 2000, "level0_height": 1600}

HERE.mkdir(exist_ok=True)
write("clam.h5", POSITIONS, CLAM)
write("trident_patches.h5", POSITIONS, TRIDENT)
# int32 positions, a fixed-length name, whole numbers as reals
write("clam_numpy.h5", POSITIONS, {**CLAM, "name": np.bytes_("one"), "patch_size": np.int32(128), "patch_level": 1.0},
      dtype=np.int32)
write("trident_empty.h5", [], TRIDENT, dtype=np.float64)  # np.array([]): one dimension, no row
write("atlaspatch.h5", np.zeros((2, 5)), {"patch_size": 256}, chunks=None)
with h5py.File(HERE / "features.h5", "w") as file:
    file["features"] = np.zeros((2, 3), np.float32)
