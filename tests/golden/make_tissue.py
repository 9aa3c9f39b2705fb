# SPDX-License-Identifier: Apache-2.0
"""Reference segmentation (OpenCV) and patch grid for tests/unit/test_tissue.c and test_grid.c, and for
tests/golden/test_tissue_slides.c.

usage: make_tissue.py synthetic            prints the numbers of a small made-up picture, as C
       make_tissue.py PICTURE STH MTH CLOSE A_T A_H HOLES SCALE_X SCALE_Y OURS.txt OURS.grid R
                                           compares a segmentation and a grid written by slidewise
       make_tissue.py slides DATA > tissue_slides.csv
                                           the patches of every slide below DATA/slides and DATA/atlas-mini/slides
Needs OpenCV 4 and NumPy, and openslide-python for slides; run by hand."""
import os
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


def grid(kept, sx, sy, side, rule="four_pt", within=None):
    """CLAM's order; side: level-0 pixels, whole; within: (width, height) of the slide where patches must not reach beyond it."""
    out = []
    for outer, holes in kept:
        outer, holes = scaled(outer, sx, sy), [scaled(h, sx, sy) for h in holes]
        x0, y0, w, h = cv2.boundingRect(outer)
        stop_x, stop_y = x0 + w, y0 + h
        if within:
            stop_x, stop_y = min(stop_x, within[0] - side + 1), min(stop_y, within[1] - side + 1)
        for x in range(x0, stop_x, side):
            for y in range(y0, stop_y, side):
                cx, cy, shift = x + side // 2, y + side // 2, int(side // 2 * 0.5)
                points = [(cx - shift, cy - shift), (cx + shift, cy - shift), (cx - shift, cy + shift),
                          (cx + shift, cy + shift)] if shift and rule.startswith("four_pt") else [(cx, cy)]
                if rule == "basic":
                    points = [(x, y)]
                inside = [cv2.pointPolygonTest(outer, (float(a), float(b)), False) >= 0 for a, b in points]
                if not (all(inside) if rule == "four_pt_hard" else any(inside)):
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


# sthresh, mthresh, close, a_t, a_h, max_n_holes
PRESETS = {"clam": (8, 7, 4, 100, 16, 8), "tcga": (8, 7, 4, 16, 4, 8), "tcga_nsclc": (8, 7, 4, 100, 16, 32),
           "bwh_biopsy": (15, 11, 2, 1, 1, 2), "bwh_resection": (15, 11, 4, 100, 16, 8)}
SIDE = 256


def columns(g):
    """x:y,y,y;x:y ... in the order of the grid"""
    text, last = "", None
    for x, y in g:
        text += f",{y}" if x == last else f"{';' if text else ''}{x}:{y}"
        last = x
    return text


def slides(data):
    import openslide
    print("slide,preset,otsu,rule,padding,seg_level,contours,patches,positions")
    for folder in ("slides", "atlas-mini/slides"):
        for name in sorted(os.listdir(os.path.join(data, folder))):
            try:
                s = openslide.OpenSlide(os.path.join(data, folder, name))
            except openslide.OpenSlideError:
                continue
            level = 0 if s.level_count == 1 else max(i for i, d in enumerate(s.level_downsamples) if d <= 64)
            rgb = np.array(s.read_region((0, 0), level, s.level_dimensions[level]))[:, :, :3]
            sx, sy = (a / b for a, b in zip(s.dimensions, s.level_dimensions[level]))
            cases = [(p, False, "four_pt", True) for p in PRESETS]
            if folder == "slides" or name < "b":
                cases += [("bwh_biopsy", False, r, True) for r in ("four_pt_hard", "center", "basic")]
                cases += [("bwh_biopsy", False, "four_pt", False), ("tcga", True, "four_pt", True)]
            for preset, otsu, rule, padding in cases:
                _, _, kept = segment(rgb, *PRESETS[preset], sx, sy, otsu)
                g = grid(kept, sx, sy, SIDE, rule, None if padding else s.dimensions)
                print(f"{folder}/{name},{preset},{int(otsu)},{rule},{int(padding)},{level},{len(kept)},{len(g)},\"{columns(g)}\"")


if sys.argv[1] == "slides":
    slides(sys.argv[2])
elif sys.argv[1] == "synthetic":
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
