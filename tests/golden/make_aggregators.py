#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes aggregators_more.json: aggregators written a second time, in PyTorch and in double, at sizes where every part of them
acts (several tokens per landmark and region, several bags, padding). Parameter k in the order of its list gets
amplitude * sin(0.7 i + 0.3 (k + 1)), the input cos(0.9 i), as in aggregators.json.
    python3 make_aggregators.py > aggregators_more.json        (needs torch)"""
import json
import math
import sys

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


BUFFERS = {"organ_embedding"}


class Params:
    """Makes parameters as they are asked for, and remembers their order."""

    def __init__(self, amplitude):
        self.amplitude, self.of = amplitude, {}

    def __call__(self, name, *shape):
        if name not in self.of:
            n, k = math.prod(shape), len(self.of)
            value = self.amplitude * torch.sin(0.7 * torch.arange(n) + 0.3 * (k + 1))
            self.of[name] = value.reshape(shape).requires_grad_()
        return self.of[name]

    def linear(self, x, name, out, bias=True):
        return F.linear(x, self(name + ".weight", out, x.shape[-1]), self(name + ".bias", out) if bias else None)

    def norm(self, x, name, bias=True):
        c = x.shape[-1]
        w, b = self(name + ".weight", c), self(name + ".bias", c) if bias else None
        return F.layer_norm(x, (c,), w, b, 1e-5)


def act(c, x):
    return F.gelu(x) if c["act"] == "gelu" else F.relu(x)


def feature(p, c, x):
    ln = c["norm"] and c["kind"] != "dsmil" and c["kind"] != "rrtmil"
    if ln:
        x = p.norm(x, "feature.0", c["bias"])
    if c["norm"] and c["kind"] == "rrtmil":
        x = p.norm(x, "norm", c["bias"])
    return act(c, p.linear(x, "feature.1" if ln else "feature.0", c["inner_dim"], c["bias"]))


def heads(x, h):
    b, n, c = x.shape
    return x.reshape(b, n, h, c // h).transpose(1, 2)


def merge(x):
    b, h, n, d = x.shape
    return x.transpose(1, 2).reshape(b, n, h * d)


def positive_rows(a):
    a = a.clamp(min=0)
    return a / a.sum(-1, keepdim=True)


def ppeg(p, x, least):
    cls, f = x[:, :1], x[:, 1:]
    n, c = f.shape[1:]
    s = math.ceil(math.sqrt(n))
    f = torch.cat([f, f[:, : s * s - n]], 1)
    side = max(s, least)
    f = F.pad(f, (0, 0, 0, side * side - s * s))
    f = f.transpose(1, 2).reshape(-1, c, side, side)
    total = f
    for name, k in (("proj", 7), ("proj1", 5), ("proj2", 3)):
        w, b = p(f"pos_layer.{name}.weight", c, 1, k, k), p(f"pos_layer.{name}.bias", c)
        total = total + F.conv2d(f, w, b, padding=k // 2, groups=c)
    return torch.cat([cls, total.flatten(2).transpose(1, 2)[:, :n]], 1)


def dsmil(p, c, x):
    z = feature(p, c, x)
    k, h = c["classes"], c["inner_dim"]
    each = p.linear(z, "i_classifier", k, c["bias"])
    best, where = each.max(1)

    def query(y):
        y = F.relu(p.linear(y, "b_classifier.q.0", 128, c["bias"]))
        return torch.tanh(p.linear(y, "b_classifier.q.2", 128))

    q = query(z)
    v = F.relu(p.linear(z, "b_classifier.v.1", h, c["bias"]))
    critical = query(torch.stack([z[i, where[i]] for i in range(z.shape[0])]))
    a = torch.softmax(critical @ q.transpose(1, 2) / math.sqrt(128), -1)
    e = a @ v
    if c["norm"]:
        e = p.norm(e, "b_classifier.norm")
    w = p("b_classifier.fcc.weight", k, k, h)
    logits = F.conv1d(e, w, p("b_classifier.fcc.bias", k) if c["bias"] else None).squeeze(-1)
    return logits, a, best


def pinv(a):
    z = a.transpose(-1, -2) / (a.abs().sum(-1).max() * a.abs().sum(-2).max())
    one = torch.eye(a.shape[-1])
    for _ in range(6):
        y = a @ z
        z = 0.25 * z @ (13 * one - y @ (15 * one - y @ (7 * one - y)))
    return z


def nystrom(p, c, x, i, patches):
    h, dim = c["heads"], c["inner_dim"]
    m, n = dim // 2, x.shape[1]
    y = p.norm(x, f"layer{i}.norm")
    pad = -n % m
    y = F.pad(y, (0, 0, pad, 0))
    q, k, v = (heads(t, h) for t in F.linear(y, p(f"layer{i}.attn.to_qkv.weight", 3 * dim, dim)).chunk(3, -1))
    q = q / math.sqrt(dim // h)
    landmarks = [t.reshape(*t.shape[:2], m, -1, t.shape[-1]).mean(3) for t in (q, k)]
    a1 = torch.softmax(q @ landmarks[1].transpose(-1, -2), -1)
    a2 = torch.softmax(landmarks[0] @ landmarks[1].transpose(-1, -2), -1)
    a3 = torch.softmax(landmarks[0] @ k.transpose(-1, -2), -1)
    whole = a1 @ pinv(a2) @ a3
    w_out, b_out = p(f"layer{i}.attn.to_out.0.weight", dim, dim), p(f"layer{i}.attn.to_out.0.bias", dim)
    out = whole @ v + F.conv2d(v, p(f"layer{i}.attn.res_conv.weight", h, 1, 33, 1), padding=(16, 0), groups=h)
    y = F.linear(merge(out), w_out, b_out)[:, pad:]
    return x + y, whole[:, :, pad, pad + 1 : pad + 1 + patches]


def transmil(p, c, x):
    b, n, dim = x.shape[0], x.shape[1], c["inner_dim"]
    cls = p("cls_token", 1, 1, dim)
    if c.get("pos") != "none":
        for name, k in (("proj", 7), ("proj1", 5), ("proj2", 3)):
            p(f"pos_layer.{name}.weight", dim, 1, k, k), p(f"pos_layer.{name}.bias", dim)
    z = feature(p, c, x)
    s = math.ceil(math.sqrt(n))
    y = torch.cat([cls.expand(b, 1, dim), z, z[:, : s * s - n]], 1)
    y, first = nystrom(p, c, y, 1, n)
    if c.get("pos") != "none":
        y = ppeg(p, y, 1)
    y, second = nystrom(p, c, y, 2, n)
    s = p.norm(y, "norm", c["bias"])[:, 0]
    return p.linear(s, "classifier", c["classes"], c["bias"]), positive_rows((first + second) / 2), None


def vitmil(p, c, x):
    b, dim, h = x.shape[0], c["inner_dim"], c["heads"]
    cls = p("cls_token", 1, 1, dim)
    if c.get("pos") == "ppeg":
        for name, k in (("proj", 7), ("proj1", 5), ("proj2", 3)):
            p(f"pos_layer.{name}.weight", dim, 1, k, k), p(f"pos_layer.{name}.bias", dim)
    y = torch.cat([cls.expand(b, 1, dim), feature(p, c, x)], 1)
    for i in range(1, c["layers"] + 1):
        if i == 2 and c.get("pos") == "ppeg":
            y = ppeg(p, y, 7)
        q, k, v = F.linear(p.norm(y, f"layer{i}.norm"), p(f"layer{i}.attn.qkv.weight", 3 * dim, dim)).chunk(3, -1)
        a = torch.softmax(heads(q, h) @ heads(k, h).transpose(-1, -2) / math.sqrt(dim // h), -1)
        y = y + p.linear(merge(a @ heads(v, h)), f"layer{i}.attn.proj", dim)
        if c["ffn"]:
            u = F.gelu(p.linear(p.norm(y, f"layer{i}.norm2"), f"layer{i}.mlp.fc1", 4 * dim))
            y = y + p.linear(u, f"layer{i}.mlp.fc2", dim)
    s = p.norm(y, "norm", c["bias"])[:, 0]
    return p.linear(s, "classifier", c["classes"], c["bias"]), positive_rows(a[:, :, 0, 1:]), None


def parts(x, regions):
    b, n, c = x.shape
    s = math.ceil(math.sqrt(n))
    s += -s % regions
    x = F.pad(x, (0, 0, 0, s * s - n)).reshape(b, regions, s // regions, regions, s // regions, c)
    return x.transpose(2, 3).reshape(b * regions * regions, -1, c), s


def joined(x, b, regions, s, n):
    x = x.reshape(b, regions, regions, s // regions, s // regions, x.shape[-1])
    return x.transpose(2, 3).reshape(b, s * s, -1)[:, :n]


def inner_attention(p, x, name, h, epeg):
    dim = x.shape[-1]
    qkv = p.linear(x, name + ".qkv", 3 * dim)
    w, b = p(name + ".proj.weight", dim, dim), p(name + ".proj.bias", dim)
    q, k, v = (heads(t, h) for t in qkv.chunk(3, -1))
    logits = q @ k.transpose(-1, -2) / math.sqrt(dim // h)
    if epeg:
        logits = logits + F.conv2d(logits, p(name + ".pe.weight", h, 1, epeg, 1), p(name + ".pe.bias", h),
                                   padding=(epeg // 2, 0), groups=h)
    return F.linear(merge(torch.softmax(logits, -1) @ v), w, b)


def rrtmil(p, c, x):
    b, n = x.shape[:2]
    z = feature(p, c, x)
    dim = c["inner_dim"]
    p("online_encoder.norm.weight", dim), p("online_encoder.norm.bias", dim)
    y = z
    for i in range(c["layers"] - 1):
        r, s = parts(p.norm(y, f"online_encoder.layers.{i}.norm"), c["regions"])
        r = inner_attention(p, r, f"online_encoder.layers.{i}.attn.attn", c["heads"], c["epeg"])
        y = y + joined(r, b, c["regions"], s, n)
    r, s = parts(p.norm(y, "online_encoder.cr_msa.norm"), 8)
    logits = (r @ p("online_encoder.cr_msa.attn.phi", dim, c["crmsa"])).transpose(1, 2)
    low, high = logits.min(-1, keepdim=True)[0], logits.max(-1, keepdim=True)[0]
    scaled = (logits - low) / (high - low + 1e-8)
    some = torch.softmax(logits, -1) @ r
    bags = 1 if c.get("cross_bag") else b
    some = some.reshape(bags, -1, c["crmsa"], dim).transpose(1, 2).reshape(bags * c["crmsa"], -1, dim)
    some = inner_attention(p, some, "online_encoder.cr_msa.attn.attn", c["crmsa_heads"], 0)
    some = some.reshape(bags, c["crmsa"], -1, dim).transpose(1, 2).reshape(-1, c["crmsa"], dim)
    out = torch.einsum("wkc,wkn->wnc", some, scaled * torch.softmax(logits, 1))
    y = y + joined(out, b, 8, s, n)
    if c.get("shortcut"):
        y = y + z
    y = p.norm(y, "online_encoder.norm")
    a = p.linear(F.relu(p.linear(y, "pool_fn.attention.attention.0", 128, False)), "pool_fn.attention.attention.2", 1, False)
    a = torch.softmax(a.transpose(1, 2), -1)
    return p.linear((a @ y).squeeze(1), "predictor", c["classes"], c["bias"]), a, None


def smooth_svm(x, y):
    """Smooth top-1 SVM of rows of two, margin and temperature 1; the hinge where scores are far apart."""
    wrong, right = x[torch.arange(len(y)), 1 - y], x[torch.arange(len(y)), y]
    m = 1 + wrong - right
    hard = (x[:, 0] - x[:, 1]).abs() >= math.log(1000)
    print("rows far apart:", int(hard.sum()), "of", len(y), file=sys.stderr)
    return torch.where(hard, m.clamp(min=0), F.softplus(m)).mean()


def clam(p, c, x, own):
    """`own`: an attention for each class."""
    k, dim = c["classes"], c["inner_dim"]
    h = F.relu(p.linear(x, "attention_net.0", dim))
    u = torch.tanh(p.linear(h, "attention_net.3.attention_a.0", 256)) * torch.sigmoid(p.linear(h, "attention_net.3.attention_b.0", 256))
    a = torch.softmax(p.linear(u, "attention_net.3.attention_c", k if own else 1).transpose(1, 2), -1)
    s = a @ h
    if own:
        logits = torch.cat([p.linear(s[:, i], f"classifiers.{i}", 1) for i in range(k)], -1)
    else:
        logits = p.linear(s[:, 0], "classifiers", k)
    for i in range(k):
        p(f"instance_classifiers.{i}.weight", 2, dim), p(f"instance_classifiers.{i}.bias", 2)
    total = 0
    for b in range(x.shape[0]):
        for i in range(k):
            if i != c["labels"][b] and not c["subtyping"]:
                continue
            row = a[b, i if own else 0]
            at, y = torch.topk(row, c["instances"]).indices, torch.full((c["instances"],), int(i == c["labels"][b]))
            if i == c["labels"][b]:
                at = torch.cat([at, torch.topk(-row, c["instances"]).indices])
                y = torch.cat([y, torch.zeros(c["instances"], dtype=torch.int64)])
            logit = p.linear(h[b, at], f"instance_classifiers.{i}", 2)
            total = total + (F.cross_entropy(logit, y) if c.get("instance_ce") else smooth_svm(logit, y))
    total = total / x.shape[0] / (k if c["subtyping"] else 1)
    return logits, a, lambda bag: 0.7 * bag + 0.3 * total


def clam_sb(p, c, x):
    return clam(p, c, x, False)


def clam_mb(p, c, x):
    return clam(p, c, x, True)


def chief(p, c, x):
    k, dim, hidden = c["classes"], c["inner_dim"], c["hidden"]
    organs = p("organ_embedding", 19, 768).detach()
    h = act(c, p.linear(x, "attention_net.0", dim))
    u = torch.tanh(p.linear(h, "attention_net.3.attention_a.0", hidden)) * torch.sigmoid(p.linear(h, "attention_net.3.attention_b.0", hidden))
    a = torch.softmax(p.linear(u, "attention_net.3.attention_c", 1).transpose(1, 2), -1)
    s = (a @ h).squeeze(1)
    p("classifiers.weight", k, dim), p("classifiers.bias", k)
    for name, out, width in [(f"instance_classifiers.{i}", 2, dim) for i in range(k)] + [("att_head.fc1", hidden, dim), ("att_head.fc2", 1, hidden)]:
        p(name + ".weight", out, width), p(name + ".bias", out)
    text = F.relu(p.linear(organs[c["organ"]], "text_to_vision.0", dim))
    return p.linear(s + text if c["organ"] >= 0 else s, "classifiers", k), a, None


def dilated(q, k, v, segment, ratio):
    """One bag, [heads, n, d]: head by head and segment by segment. What each token gets, log-sum-exp, and what token 0 sees."""
    h, n, d = q.shape
    g = min(segment, n)
    out, lse, seen = torch.zeros(h, n, d), torch.full((h, n), -1e8), torch.zeros(h, n)
    for head in range(h):
        start = head // (h // ratio)
        for s in range(0, n, g):
            want = list(range(s + start, s + g, ratio))
            at = [t for t in want if t < n]
            padded = -(-g // ratio)
            pad = lambda x: torch.cat([x[head, at], torch.zeros(padded - len(at), d)])
            logit = pad(q) @ pad(k).T / math.sqrt(d)
            a = torch.softmax(logit, -1)
            out[head, at] = (a @ pad(v))[: len(at)]
            lse[head, at] = torch.logsumexp(logit, -1)[: len(at)]
            if 0 in at:
                seen[head, at] = a[at.index(0), : len(at)]
    return out, lse, seen


def gigap(p, c, x):
    b, n = x.shape[:2]
    dim, h = c["inner_dim"], c["heads"]
    cls = p("cls_token", 1, 1, dim)
    y = p.linear(x, "patch_embed.proj", dim)
    if "xy" in c:
        # the table of all places, row 1 + index of the grid of 1000 x 1000
        w = 10000.0 ** (-torch.arange(dim // 4) / (dim // 4))
        one = torch.cat([torch.sin(torch.arange(1000)[:, None] * w), torch.cos(torch.arange(1000)[:, None] * w)], 1)
        table = torch.cat([one.repeat(1000, 1), one.repeat_interleave(1000, 0)], 1)
        xy = torch.tensor(c["xy"]).reshape(b, n, 2).long()
        y = y + table[xy[..., 0] * 1000 + xy[..., 1]]
    y = torch.cat([cls.expand(b, 1, dim), y], 1)
    many = c["dilations"]
    lengths = [int(c["segment_first"] * (c["segment_last"] / c["segment_first"]) ** (i / (many - 1)) + 1e-9) for i in range(many)]
    print("segments", lengths, file=sys.stderr)
    for i in range(c["layers"]):
        name = f"encoder.layers.{i}."
        z = p.norm(y, name + "self_attn_layer_norm")
        k, v, q = (heads(p.linear(z, name + f"self_attn.{part}_proj", dim), h) for part in "kvq")
        w_out, b_out = p(name + "self_attn.out_proj.weight", dim, dim), p(name + "self_attn.out_proj.bias", dim)
        bags, maps = [], []
        for bag in range(b):
            each = [dilated(q[bag], k[bag], v[bag], lengths[j], 2**j) for j in range(many)]
            omega = torch.softmax(torch.stack([e[1] for e in each]), 0).detach()
            bags.append(sum(w[..., None] * e[0] for w, e in zip(omega, each)))
            maps.append(sum(w[:, :1] * e[2] for w, e in zip(omega, each))[:, 1:])
        z = p.norm(merge(torch.stack(bags)), name + "self_attn.inner_attn_ln")
        y = y + F.linear(z, w_out, b_out)
        hidden = c.get("hidden", 4 * dim)
        z = p.norm(y, name + "final_layer_norm")
        z = p.norm(F.gelu(p.linear(z, name + "ffn.fc1", hidden)), name + "ffn.ffn_layernorm")
        y = y + p.linear(z, name + "ffn.fc2", dim)
    y = p.norm(y, "encoder.layer_norm")
    s = y[:, 1:].mean(1) if c["pool"] == "mean" else y[:, 0]
    s = F.layer_norm(s, (dim,), p("norm.weight", dim), p("norm.bias", dim), 1e-6)
    return p.linear(s, "classifier", c["classes"]), positive_rows(torch.stack(maps)), None


def wikg(p, c, x):
    dim, k = c["inner_dim"], c["topk"]
    x = F.leaky_relu(p.linear(x, "_fc1.0", dim))
    x = (x + x.mean(1, keepdim=True)) / 2
    head, tail = p.linear(x, "W_head", dim), p.linear(x, "W_tail", dim)
    for name, out, width in (("U", dim // 2, dim), ("V", dim // 2, dim), ("W", dim, dim // 2)):
        p(f"gate_{name}.weight", out, width), p(f"gate_{name}.bias", out)
    value, index = torch.topk(head @ tail.transpose(1, 2) / math.sqrt(dim), min(k, x.shape[1]), dim=-1)
    t = torch.stack([tail[i, index[i]] for i in range(x.shape[0])])
    pi = torch.softmax(value, -1).unsqueeze(-1)
    h = head.unsqueeze(2)
    g = torch.tanh(h + pi * t + (1 - pi) * h)
    u = (t * g).sum(-1) if c.get("gate_dot") else t.sum(-1) * g.sum(-1)
    learnt = (torch.softmax(u, -1).unsqueeze(-1) * t).sum(2)
    y = F.leaky_relu(p.linear(head + learnt, "linear1", dim)) + F.leaky_relu(p.linear(head * learnt, "linear2", dim))
    for name, shape in (("norm.weight", (dim,)), ("norm.bias", (dim,)), ("fc.weight", (c["classes"], dim)), ("fc.bias", (c["classes"],))):
        p(name, *shape)
    a = None
    if c["pool"] == "attn":
        a = p.linear(F.leaky_relu(p.linear(y, "readout.gate_nn.0", dim // 2)), "readout.gate_nn.2", 1)
        a = torch.softmax(a.transpose(1, 2), -1)
    s = (a @ y).squeeze(1) if a is not None else y.mean(1) if c["pool"] == "mean" else y.max(1)[0]
    return p.linear(p.norm(s, "norm"), "fc", c["classes"]), a, None


def gated(p, x, name):
    u = torch.tanh(p.linear(x, name + ".attention_V.0", 128)) * torch.sigmoid(p.linear(x, name + ".attention_U.0", 128))
    return p.linear(u, name + ".attention_weights", 1).squeeze(-1)


def dtfd(p, c, x):
    """Bag by bag and group by group."""
    dim, k = c["inner_dim"], c["classes"]
    first, second, maps = [], [], []
    for bag in x:
        pseudo, logits, within = [], [], []
        for group in torch.tensor_split(bag, min(c["groups"], len(bag))):
            mid = act(c, p.linear(group, "dimReduction.fc1", dim, False))
            a = torch.softmax(gated(p, mid, "attention"), 0)
            s = (a[:, None] * mid).sum(0)
            logits.append(p.linear(s, "classifier.fc", k))
            cam = torch.softmax((a[:, None] * mid) @ p("classifier.fc.weight", k, dim).T, -1)[:, -1]
            order = torch.argsort(cam, descending=True)
            at = {"maxs": order[:1], "maxmins": torch.cat([order[:1], order[-1:]]), "mas": a.argmax()[None]}.get(c["distill"])
            pseudo.append(s[None] if at is None else mid[at])
            within.append(a)
        u = torch.cat(pseudo).detach()
        b = torch.softmax(gated(p, u, "UClassifier.attention"), 0)
        first.append(torch.stack(logits))
        second.append(p.linear((b[:, None] * u).sum(0), "UClassifier.classifier.fc", k))
        maps.append(torch.cat([a * w for a, w in zip(within, b.reshape(len(within), -1).sum(1))]))
    labels = torch.tensor(c["labels"])
    groups = torch.stack(first, 1)
    tier1 = torch.stack([F.cross_entropy(g, labels) for g in groups]).mean()
    return torch.stack(second), torch.stack(maps), lambda bag: bag + tier1


def selective_scan(u, delta, a_log, b, c, d):
    """Cell by cell: u, delta [rows, columns, e], b, c [rows, columns, n]."""
    rows, columns, _ = u.shape
    step, rate = F.softplus(delta), -torch.exp(a_log)
    along, state, out = {}, {}, []
    for i in range(rows):
        for j in range(columns):
            decay = torch.exp(step[i, j, :, None] * rate)
            g = (step[i, j] * u[i, j])[:, None] * b[i, j]
            if j > 0:
                g = g + decay * along[i, j - 1]
            along[i, j] = g
            state[i, j] = g + decay * state[i - 1, j] if i > 0 else g
            out.append((state[i, j] * c[i, j]).sum(-1) + d * u[i, j])
    return torch.stack(out)


def mamba2d(p, c, x):
    bags, n, _ = x.shape
    dim, e, s, rank = c["inner_dim"], 2 * c["inner_dim"], c["state"], -(-c["inner_dim"] // 16)
    z = act(c, p.linear(x, "_fc1.0", dim))
    p("norm.weight", dim), p("norm.bias", dim)
    pad = p("layers.pad_token", dim)
    total, weights = [], []
    for bag in range(bags):
        if "xy" in c:
            xy = torch.tensor(c["xy"][2 * n * bag : 2 * n * (bag + 1)]).reshape(n, 2)
            cell = torch.round(xy - xy.min(0)[0]).long().flip(1)
            size = tuple((cell.max(0)[0] + 1).tolist())
            if "canvas_rows" in c:
                cell, size = torch.floor(xy + 0.01).long().flip(1), (c["canvas_rows"], c["canvas_columns"])
        else:
            side = math.ceil(math.sqrt(n))
            cell, size = torch.stack([torch.arange(n) // side, torch.arange(n) % side], 1), (-(-n // side), side)
        at = cell[:, 0] * size[1] + cell[:, 1]
        last = {int(k): i for i, k in enumerate(at)}
        y = torch.stack([z[bag, last[k]] if k in last else pad for k in range(size[0] * size[1])])
        for i in range(c["blocks"]):
            m = f"layers.layers.{i}.mixer."
            a_log, d = p(m + "A_log", e, s), p(m + "D", e)
            w_in = p(m + "in_proj.weight", 2 * e, dim)
            w_conv, b_conv = p(m + "conv1d.weight", e, 1, 4), p(m + "conv1d.bias", e)
            w_x, w_dt, b_dt = p(m + "x_proj.weight", rank + 2 * s, e), p(m + "dt_proj.weight", e, rank), p(m + "dt_proj.bias", e)
            w_out, w_norm = p(m + "out_proj.weight", dim, e), p(f"layers.layers.{i}.norm.weight", dim)
            h = y / torch.sqrt((y * y).mean(-1, keepdim=True) + 1e-5) * w_norm
            u, gate = F.linear(h, w_in).chunk(2, -1)
            u = F.silu(F.conv1d(F.pad(u.T[None], (3, 0)), w_conv, b_conv, groups=e)[0].T)
            low, b, cc = F.linear(u, w_x).split([rank, s, s], -1)
            grid = [t.reshape(*size, -1) for t in (u, F.linear(low, w_dt, b_dt), b, cc)]
            out = selective_scan(grid[0], grid[1], a_log, grid[2], grid[3], d)
            y = y + F.linear(out * F.silu(gate), w_out)
        y = p.norm(y, "norm")
        a = torch.softmax(p.linear(torch.tanh(p.linear(y, "attention.0", 128)), "attention.2", 1).T, -1)
        total.append(a @ y)
        weights.append(a[0, at] / a[0, at].sum())
    return p.linear(torch.cat(total), "classifier", c["classes"]), torch.stack(weights)[:, None], None


def numbers(t):
    return [float(f"{v:.12g}") for v in t.detach().flatten().tolist()]


def run(make, **changes):
    c = dict(batch=2, n=20, input_dim=6, inner_dim=16, heads=2, classes=3, act="gelu", labels=[2, 0], amplitude=0.3, attn_bias=0,
             ffn=0, embed_new=0, plus=0, norm=1, bias=0, layers=2)
    c.update(changes)
    c["kind"] = make.__name__
    x = torch.cos(0.9 * torch.arange(c["batch"] * c["n"] * c["input_dim"])).reshape(c["batch"], c["n"], -1)
    p = Params(c["amplitude"])
    labels = torch.tensor(c["labels"])
    logits, attention, second = make(p, c, x)
    loss = F.cross_entropy(logits, labels)
    if callable(second):
        loss = second(loss)
    elif second is not None:
        loss = 0.5 * loss + 0.5 * F.cross_entropy(second, labels)
    loss.backward()
    c.update(logits=numbers(logits), attention=numbers(attention) if attention is not None and c["n"] <= 40 else [], loss=float(f"{loss.item():.14g}"), keys=list(p.of),
             grads={k: float(f"{0 if v.grad is None else v.grad.norm().item():.12g}") for k, v in p.of.items() if k not in BUFFERS})
    return c


cases = [
    run(dsmil, name="DSMIL of two bags, normed"),
    run(clam_sb, name="CLAM-SB of two bags", subtyping=0, instances=3, act="relu", bias=1, norm=0, amplitude=0.9),
    run(clam_mb, name="CLAM-MB of two bags, rows far apart", subtyping=1, instances=3, act="relu", bias=1, norm=0, amplitude=2.5),
    run(clam_sb, name="CLAM-SB with cross-entropy", subtyping=1, instances=8, instance_ce=1, act="relu", bias=1, norm=0),
    run(transmil, name="TransMIL of two bags, normed"),
    run(transmil, name="TransMIL without position, 13 tokens a landmark", n=100, pos="none", bias=1, norm=0, act="relu"),
    run(vitmil, name="ViTMIL with feed-forward blocks", ffn=1, heads=4),
    run(vitmil, name="ViTMIL with position, three layers", pos="ppeg", layers=3),
    run(vitmil, name="ViTMIL with position, larger than 7 x 7", pos="ppeg", n=70, bias=1, norm=0),
    run(rrtmil, name="RRTMIL of two bags", n=150, regions=4, epeg=5, crmsa=3, crmsa_heads=4),
    run(rrtmil, name="RRTMIL across bags", n=150, regions=4, epeg=5, crmsa=3, crmsa_heads=4, cross_bag=1),
    run(rrtmil, name="RRTMIL of three layers, with a shortcut", n=70, regions=3, epeg=0, crmsa=1, crmsa_heads=2, layers=3, shortcut=1, bias=1),
    run(wikg, name="WiKG of two bags", topk=4, pool="attn"),
    run(wikg, name="WiKG of two bags, dot product, largest", topk=5, pool="max", gate_dot=1, n=33),
    run(wikg, name="WiKG with fewer patches than links", topk=6, pool="attn", n=4),
    run(mamba2d, name="2DMamba of two bags on grids of their own", state=3, blocks=1, n=12,
        xy=[2, 3, 3, 3, 6, 3, 2, 4, 4, 5, 5.02, 5, 6, 6.01, 3, 7, 2, 7, 4.98, 8, 6, 8, 5, 5]
        + [0.5, 0.5, 1.5, 0.5, 2.5, 0.5, 0.5, 1.5, 1.5, 1.5, 2.5, 2.5, 0.5, 2.5, 1.5, 3.5, 2.5, 3.5, 0.5, 4.5, 2.5, 4.5, 1.5, 5.5]),
    run(mamba2d, name="2DMamba of two blocks on a canvas", state=2, blocks=2, n=7, batch=1, labels=[1], canvas_rows=6, canvas_columns=5,
        xy=[1, 1, 2.3, 1.2, 4, 1, 1, 2, 3.999, 4, 2, 4, 4, 5]),
    run(mamba2d, name="2DMamba without positions", state=4, blocks=1, n=22, act="relu"),
    run(chief, name="CHIEF of two bags", hidden=24, organ=18, norm=0),
    run(chief, name="CHIEF without text", hidden=24, organ=-1, norm=0, act="relu"),
    run(gigap, name="GigaPath, segments that bags do not fill", heads=4, dilations=3, segment_first=4, segment_last=16, pool="attn", n=18, amplitude=0.8),
    run(gigap, name="GigaPath of three layers, mean", heads=4, dilations=2, segment_first=5, segment_last=12, pool="mean", layers=3, hidden=24, n=37, amplitude=0.8),
    run(gigap, name="GigaPath with positions", heads=4, dilations=3, segment_first=4, segment_last=16, pool="attn", n=5, amplitude=0.8, pos="sincos",
        xy=[0, 0, 3, 7, 999, 2, 0, 999, 41, 17, 5, 5, 5, 6, 6, 5, 6, 6, 200, 31]),
    run(gigap, name="GigaPath of two patches", heads=8, dilations=4, segment_first=1024, segment_last=1048576, pool="attn", layers=1, n=2, amplitude=0.8),
    run(dtfd, name="DTFD of two bags", groups=3, distill="afs", shuffle=0),
    run(dtfd, name="DTFD of two bags, most for the last class", groups=3, distill="maxs", shuffle=0, act="relu", amplitude=0.6),
    run(dtfd, name="DTFD of two bags, and least for it", groups=4, distill="maxmins", shuffle=0, n=33),
    run(dtfd, name="DTFD of two bags, most attention", groups=5, distill="mas", shuffle=0, amplitude=0.6),
    run(dtfd, name="DTFD with fewer patches than groups", groups=5, distill="maxmins", shuffle=0, n=3),
]
print(json.dumps(cases, indent=1))
