#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small PyTorch and safetensors files for tests/unit/test_weights.c.

Element i of every tensor is 0.25 * i - 1 (integers: 3 * i - 4), so the tests need no stored values.
Run in tests/golden: python3 make_weights.py (writes the folder weights/).
"""
import collections
import os
import pickle
import struct
import zipfile

import torch

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "weights")
Parameter = torch.nn.Parameter


def real(*shape, dtype=torch.float32):
    n = int(torch.Size(shape).numel())
    return (torch.arange(n, dtype=torch.float64) * 0.25 - 1).reshape(shape).to(dtype)


def whole(*shape, dtype=torch.int64):
    n = int(torch.Size(shape).numel())
    return (torch.arange(n) * 3 - 4).reshape(shape).to(dtype)


def everything():
    base = real(4, 6)
    state = collections.OrderedDict()
    state["conv1.weight"] = real(4, 3, 2, 2)
    state["shared.a"] = base
    state["shared.b"] = base[1:3]                # offset into one storage
    state["shared.t"] = base.t()                 # strides
    state["shared.slice"] = base[:, 1:6:2]
    state["shared.spread"] = real(3).expand(2, 3)  # stride 0
    state["half"] = real(7, dtype=torch.float16)
    state["bfloat16"] = real(7, dtype=torch.bfloat16)
    state["float64"] = real(7, dtype=torch.float64)
    state["int64"] = whole(5)
    state["int32"] = whole(5, dtype=torch.int32)
    state["uint8"] = torch.arange(5, dtype=torch.uint8)
    state["bool"] = torch.tensor([True, False, True])
    state["scalar"] = torch.tensor(7.5)
    state["tracked"] = torch.tensor(123456789012)
    state["empty"] = torch.zeros(0, 3)
    state["parameter"] = Parameter(real(2, 3))
    return state


def nested():
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))  # its state_dict has _metadata
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(real(*p.shape))
    momentum = {"state": {0: {"step": 3, "exp_avg": real(2, 3)}}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}
    return {"state_dict": net.state_dict(), "epoch": 3, "best": 0.75, "arch": "resnet18", "none": None, "flag": True,
            "size": torch.Size([2, 3]), "device": torch.device("cpu"), "big": 1 << 80, "negative": -5,
            "list": [real(2), (real(3), "x")], "optimizer": momentum}


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/slidewise-was-here",)


def both(name, value):
    torch.save(value, os.path.join(OUT, name + ".pt"))
    torch.save(value, os.path.join(OUT, name + "_legacy.pt"), _use_new_zipfile_serialization=False)


def deflated(name, source):
    """the same members, compressed"""
    with zipfile.ZipFile(os.path.join(OUT, source)) as old:
        with zipfile.ZipFile(os.path.join(OUT, name), "w", zipfile.ZIP_DEFLATED) as new:
            for info in old.infolist():
                new.writestr(info.filename, old.read(info))


def protocol4(name):
    torch.save({"a": real(2, 3)}, os.path.join(OUT, name), pickle_protocol=4)


def python2(name):
    """as Python 2 wrote legacy files: byte strings as text, OrderedDict from a list of pairs, no view tuple"""
    def text(s):
        return b"U" + struct.pack("<B", len(s)) + s
    pickled = (b"\x80\x02ccollections\nOrderedDict\n](](" + text(b"w") + b"ctorch._utils\n_rebuild_tensor\n(("
               + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"94001") + text(b"cpu")
               + b"K\x06NtQK\x00K\x02K\x03\x86K\x03K\x01\x86tRe" + b"e\x85R.")
    # the outer list holds one pair, itself a list
    head = b"".join(pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    data = struct.pack("<q6f", 6, *[0.25 * i - 1 for i in range(6)])
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(head + pickled + pickle.dumps(["94001"], 2) + data)


def main():
    os.makedirs(OUT, exist_ok=True)
    both("everything", everything())
    both("nested", nested())
    both("tensor", real(2, 3))
    both("evil", {"a": real(2), "b": Evil()})
    both("nothing", {"epoch": 3})
    deflated("deflated.pt", "everything.pt")
    protocol4("protocol4.pt")
    python2("python2_legacy.pt")
    state = {"a": real(2, 3), "b.half": real(3, dtype=torch.float16), "c.bf16": real(3, dtype=torch.bfloat16),
             "d.f64": real(3, dtype=torch.float64), "e.i64": whole(3), "f.scalar": torch.tensor(7.5)}
    from safetensors.torch import save_file
    save_file(state, os.path.join(OUT, "six.safetensors"), metadata={"made by": "safetensors"})


if __name__ == "__main__":
    main()
