# SPDX-License-Identifier: Apache-2.0
"""Prints the expected numbers of tests/unit/test_image.c: Pillow's antialiased BILINEAR in float, and the
size and hash of Pillow's JPEG of the same picture. Run by hand; needs Pillow and NumPy."""
import io

import numpy as np
from PIL import Image

W, H = 7, 5
y, x, c = np.meshgrid(np.arange(H), np.arange(W), np.arange(3), indexing="ij")
picture = ((x * 37 + y * 59 + c * 101 + x * y * 13) % 256).astype(np.uint8)


def resize(box, size):
    planes = []
    for k in range(3):
        plane = Image.fromarray(picture[:, :, k].astype(np.float32), "F").crop(box)
        planes.append(np.asarray(plane.resize(size, Image.BILINEAR)))
    return np.stack(planes)


def show(name, array):
    print(f"static const float {name}[] = {{")
    flat = array.ravel()
    for i in range(0, flat.size, 6):
        print("    " + ", ".join(f"{v:.4f}f" for v in flat[i:i + 6]) + ",")
    print("};")


show("smaller_3x2", resize((0, 0, W, H), (3, 2)))
show("larger_9x6_row0", resize((0, 0, W, H), (9, 6))[:, 0])
show("crop_4x3", resize((2, 1, 6, 5), (4, 3)))
show("beyond_4x3", resize((-2, 1, 4, 7), (4, 3)))  # Pillow puts black where there is no picture
show("beyond_2x5", resize((4, -3, 9, 2), (2, 5)))

y, x, c = np.meshgrid(np.arange(24), np.arange(40), np.arange(3), indexing="ij")
smooth = (128 + (x * 3 + y * 2 + c * 20)).clip(0, 255).astype(np.uint8)
out = io.BytesIO()
Image.fromarray(smooth).save(out, "JPEG", quality=80)
jpeg = out.getvalue()
value = 0xCBF29CE484222325
scan = jpeg[jpeg.index(b"\xff\xda"):]
for b in scan:
    value = ((value ^ b) * 0x100000001B3) % 2**64
print("scan bytes", len(scan), "fnv1a", hex(value))
back = np.asarray(Image.open(io.BytesIO(jpeg)))
print("decoded", back[0, 0], back[10, 20], back[23, 39], int(back.astype(int).sum()))
