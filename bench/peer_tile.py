# SPDX-License-Identifier: Apache-2.0
"""A plain Python tiler, for comparison: one read_region per patch with openslide-python, JPEG by Pillow or PyTurboJPEG.

  peer_tile.py SLIDE COORDS.h5 --quality 80 --processes 1 [--jpeg pil|turbo]   one line of JSON: patches, seconds, peak memory
  peer_tile.py SLIDE COORDS.h5 --floor                                         decode and encode of the same pixels alone

COORDS.h5 is a file of CLAM as `slidewise tile --clam` writes it, at level 0: the same patches for both."""
import argparse
import io
import json
import multiprocessing
import resource
import time

import h5py
import openslide
from PIL import Image

state = {}


def start(slide, side, quality, jpeg):
    state.update(slide=openslide.OpenSlide(slide), side=side, quality=quality)
    if jpeg == "turbo":
        import numpy
        import turbojpeg
        coder = turbojpeg.TurboJPEG()
        state["encode"] = lambda image: coder.encode(numpy.asarray(image), quality, turbojpeg.TJPF_RGB, turbojpeg.TJSAMP_420)
    else:
        state["encode"] = encode_pil


def encode_pil(image):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=state["quality"])
    return out.getvalue()


def cut(xy):
    side = state["side"]
    rgba = state["slide"].read_region((int(xy[0]), int(xy[1])), 0, (side, side))
    white = Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=rgba.getchannel("A"))
    return state["encode"](white)


def floor(args, coords, side):
    """The seconds that libjpeg-turbo takes, on one core, to decode and to encode the patches' pixels once."""
    import turbojpeg
    coder = turbojpeg.TurboJPEG()
    start(args.slide, side, args.quality, "turbo")
    decode = encode = 0.0
    for xy in coords:
        jpeg = cut(xy)
        begin = time.perf_counter()
        pixels = coder.decode(jpeg, turbojpeg.TJPF_RGB)
        middle = time.perf_counter()
        coder.encode(pixels, args.quality, turbojpeg.TJPF_RGB, turbojpeg.TJSAMP_420)
        decode += middle - begin
        encode += time.perf_counter() - middle
    return {"patches": len(coords), "decode_s": decode, "encode_s": encode}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("slide")
    parser.add_argument("coords")
    parser.add_argument("--quality", type=int, default=80)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--jpeg", choices=("pil", "turbo"), default="pil")
    parser.add_argument("--floor", action="store_true")
    args = parser.parse_args()
    with h5py.File(args.coords) as file:
        coords, side = file["coords"][:], int(file["coords"].attrs["patch_size"])
        if int(file["coords"].attrs["patch_level"]) != 0:
            parser.error("the coordinates are not of level 0; tile at the slide's own resolution")
    if args.floor:
        print(json.dumps(floor(args, coords, side)))
        return
    begin, total = time.perf_counter(), 0
    if args.processes == 1:
        start(args.slide, side, args.quality, args.jpeg)
        total = sum(len(cut(xy)) for xy in coords)
    else:
        with multiprocessing.Pool(args.processes, start, (args.slide, side, args.quality, args.jpeg)) as pool:
            total = sum(len(jpeg) for jpeg in pool.imap(cut, coords, chunksize=32))
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + args.processes * (args.processes > 1) * resource.getrusage(
        resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps({"patches": len(coords), "seconds": seconds, "bytes": total, "peak_mb": peak / 1024}))


main()
