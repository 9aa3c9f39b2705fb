# SPDX-License-Identifier: Apache-2.0
"""Writes the files of features of tests/golden/features with h5py, in the forms that CLAM, TRIDENT and STAMP leave behind.

    pip install h5py numpy
    python tests/golden/make_features.py

The values are made up: row i, column j is (8 i + j) / 8 - 1, which every float type holds. Nothing here is read by the build or by
the tests; the files are committed.
"""
import pathlib
import shutil

import h5py
import numpy as np

HERE = pathlib.Path(__file__).parent / "features"
N, DIM = 5, 8
VALUES = np.arange(N * DIM).reshape(N, DIM) / 8 - 1
# Two columns of a grid of 256 pixels, and one patch of another contour.
COORDS = np.array([(100, 50), (100, 306), (100, 562), (356, 50), (1003, 77)])
TRIDENT = {"patch_size": 256, "patch_size_level0": 512, "level0_magnification": 40, "target_magnification": 20, "overlap": 0,
           "name": "one", "savetodir": "job/20x_256px_0px_overlap", "level0_width": 2000, "level0_height": 1600}


def write(name, features, coords=COORDS, attributes=None, file_attributes=None, key="features", **how):
    path = HERE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset(key, data=features, **how)
        if coords is not None:
            file.create_dataset("coords", data=coords)
            for k, value in (attributes or {}).items():
                file["coords"].attrs[k] = value
        for k, value in (file_attributes or {}).items():
            file.attrs[k] = value


shutil.rmtree(HERE, ignore_errors=True)
# CLAM: rows are chunks that may grow, positions are int32 without attributes.
write("clam/h5_files/one.h5", VALUES.astype(np.float32), COORDS.astype(np.int32), chunks=(1, DIM), maxshape=(None, DIM))
write("clam/h5_files/two.h5", VALUES[:3].astype(np.float32), COORDS[:3].astype(np.int32), chunks=(1, DIM), maxshape=(None, DIM))
# TRIDENT: one folder per encoder in the job, the attributes of its positions.
write("trident/features_resnet50/one.h5", VALUES.astype(np.float32), attributes=TRIDENT)
write("trident/features_resnet50/two.h5", VALUES[None].astype(np.float32), COORDS[None], attributes=TRIDENT)
# STAMP: 16 bits, microns.
STAMP = {"stamp_version": "2.0", "extractor": "test", "unit": "um", "tile_size_um": 256.0, "tile_size_px": 224, "feat_type": "tile"}
write("stamp/one.h5", VALUES.astype(np.float16), COORDS / 2, file_attributes=STAMP, key="feats")
half = VALUES.astype(np.float16)
half[0, :6] = [2.0**-24, -1023 * 2.0**-24, 65504, -65504, -0.0, 1 / 3]
write("stamp/extremes.h5", half, None, key="feats")
# Others that are read
write("forms/double.h5", VALUES, None)
write("forms/big_endian.h5", VALUES.astype(">f4"), None)
write("forms/big_endian_half.h5", VALUES.astype(">f2"), None)
write("forms/packed.h5", VALUES.astype(np.float32), None, compression="gzip", shuffle=True)
# … and that are refused
write("refused/empty.h5", np.zeros((0, DIM), np.float32), np.zeros((0, 2), np.int64))
write("refused/nothing.h5", np.array([]), np.array([]))
nan = VALUES.astype(np.float32)
nan[3, 2] = np.nan
write("refused/nan.h5", nan)
inf = VALUES.astype(np.float16)
inf[4, 7] = -np.inf
write("refused/infinite.h5", inf)
write("refused/one_row.h5", VALUES[0].astype(np.float32), None)
write("refused/cube.h5", np.zeros((2, 3, 4), np.float32), None)
write("refused/whole_numbers.h5", np.zeros((2, 3), np.int32), None)
write("refused/fewer_positions.h5", VALUES.astype(np.float32), COORDS[:4])
write("refused/positions_only.h5", VALUES.astype(np.float32), None, key="embeddings")
with h5py.File(HERE / "refused/group.h5", "w") as file:
    file["features/uni"] = VALUES.astype(np.float32)
write("wider.h5", np.zeros((2, 12), np.float32), None)
