# SPDX-License-Identifier: Apache-2.0
"""Reference segmentation (OpenCV) and patch grid for tests/unit/test_tissue.c and test_grid.c.

usage: make_tissue.py synthetic            prints the numbers of a small made-up picture, as C
       make_tissue.py PICTURE STH MTH CLOSE A_T A_H HOLES SCALE_X SCALE_Y OURS.txt OURS.grid R
                                           compares a segmentation and a grid written by slidewise
Needs OpenCV and NumPy; run by hand."""
import sys

import cv2
import numpy as np


def segment(rgb, sthresh, mthresh, close, a_t, a_h, max_holes, sx, sy, otsu=False):
    s = cv2.medianBlur(np.ascontiguousarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[:, :, 1]), mthresh)
    kind = cv2.THRESH_BINARY + (cv2.THRESH_OTSU if otsu else 0)
    threshold, mask = cv2.threshold(s, 0 if otsu else sthresh, 255, kind)
    if close > 0:
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((close, close), np.uint8))
    ref = int(512 * 512 / (sx * sy))
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    kept = []
    for i in range(len(contours)):
        if tree[0][i][3] >= 0:
            continue
        holes = [contours[j] for j in range(len(contours)) if tree[0][j][3] == i]
        net = cv2.contourArea(contours[i]) - sum(cv2.contourArea(h) for h in holes)
        if net == 0 or not net > a_t * ref:
            continue
        holes = sorted(holes, key=cv2.contourArea, reverse=True)[:max_holes]
        kept.append((contours[i], [h for h in holes if cv2.contourArea(h) > a_h * ref]))
    return threshold, mask, kept


def scaled(contour, sx, sy):
    return (contour.astype(np.float64) * (sx, sy)).astype(np.int32)


def grid(kept, sx, sy, side, rule="four_pt"):
    """CLAM's order; side: level-0 pixels, whole."""
    out = []
    for outer, holes in kept:
        outer, holes = scaled(outer, sx, sy), [scaled(h, sx, sy) for h in holes]
        x0, y0, w, h = cv2.boundingRect(outer)
        for x in range(x0, x0 + w, side):
            for y in range(y0, y0 + h, side):
                cx, cy, shift = x + side // 2, y + side // 2, int(side // 2 * 0.5)
                points = [(cx - shift, cy - shift), (cx + shift, cy - shift), (cx - shift, cy + shift),
                          (cx + shift, cy + shift)] if shift else [(cx, cy)]
                inside = [cv2.pointPolygonTest(outer, (float(a), float(b)), False) >= 0 for a, b in points]
                if not any(inside):
                    continue
                if any(cv2.pointPolygonTest(hole, (x + side / 2, y + side / 2), False) > 0 for hole in holes):
                    continue
                out.append((x, y))
    return out


def synthetic():
    """Discs, rings, islands in holes, one-pixel lines; also computed in C by the tests."""
    h, w = 96, 120
    y, x = np.mgrid[0:h, 0:w]
    s = np.zeros((h, w), bool)

    def disc(cx, cy, r, value):
        s[(x - cx) ** 2 + (y - cy) ** 2 <= r * r] = value

    disc(35, 40, 28, True)
    disc(28, 36, 9, False)
    disc(45, 48, 7, False)
    disc(28, 36, 4, True)
    disc(90, 30, 15, True)
    disc(92, 78, 20, True)
    disc(92, 78, 12, False)
    s[70:72, 2:60] = True
    s[90, 5:40] = True
    s[0:6, 100:120] = True
    v = (x * 7 + y * 13) % 23
    rgb = np.where(s[..., None], np.stack([200 - v, 110 + v, 160 + v], -1), np.stack([240 - v % 3, 241 - v % 2, 242 - v % 4], -1))
    rgb[(x * 31 + y * 17) % 97 == 0] = (180, 40, 120)
    return rgb.astype(np.uint8)


if sys.argv[1] == "synthetic":
    rgb = synthetic()
    for name, args in {"plain": (8, 7, 4, 0.2, 0.05, 8), "no_close": (15, 3, 0, 0.01, 0.01, 1), "odd": (20, 5, 5, 0, 0, 8)}.items():
        for otsu in (False, True):
            t, mask, kept = segment(rgb, *args, 8.0, 8.25, otsu)
            print(name, "otsu" if otsu else "fixed", "threshold", t, "mask", int((mask > 0).sum()), int(np.argwhere(mask).sum()))
            for outer, holes in kept:
                print("  outer", len(outer), cv2.contourArea(outer), scaled(outer, 8, 8.25).reshape(-1, 2).sum(0), outer[0][0],
                      outer[1][0] if len(outer) > 1 else "", "holes", [(len(k), cv2.contourArea(k)) for k in holes])
            g = grid(kept, 8.0, 8.25, 64)
            print("  grid", len(g), g[:3], g[-1] if g else "", sum(i * (a + 3 * b) for i, (a, b) in enumerate(g, 1)))
else:
    picture = cv2.cvtColor(cv2.imread(sys.argv[1]), cv2.COLOR_BGR2RGB)
    sth, mth, close = map(int, sys.argv[2:5])
    a_t, a_h = map(float, sys.argv[5:7])
    sx, sy = map(float, sys.argv[8:10])
    _, _, kept = segment(picture, sth, mth, close, a_t, a_h, int(sys.argv[7]), sx, sy)
    want = [("c" if k == 0 else "h", scaled(r, sx, sy).reshape(-1, 2)) for o, hs in kept for k, r in enumerate([o] + hs)]
    have = [(line[0], np.array(line.split()[1:], int).reshape(-1, 2)) for line in open(sys.argv[10])]
    print("rings", len(want), len(have), "identical", len(want) == len(have) and
          all(a == b and p.shape == q.shape and (p == q).all() for (a, p), (b, q) in zip(want, have)),
          "as sets", sorted((a, tuple(map(tuple, sorted(p.tolist())))) for a, p in want)
          == sorted((a, tuple(map(tuple, sorted(p.tolist())))) for a, p in have))
    g = grid(kept, sx, sy, int(sys.argv[12]))
    ours = [tuple(map(int, line.split())) for line in open(sys.argv[11])]
    print("grid", len(g), len(ours), "identical", g == ours)
