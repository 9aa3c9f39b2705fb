# SPDX-License-Identifier: Apache-2.0
"""Writes metrics.json: cases of labels and probabilities with what scikit-learn says of them.

Run by hand (pip install scikit-learn) when a case is added; the numbers are committed.
"""
import json
import pathlib

import numpy as np
from sklearn import metrics as sk

HERE = pathlib.Path(__file__).parent
SEED = 7784414403328510413


def none(x):
    return None if np.isnan(x) else float(x)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def class_auc(y, p):
    """One-vs-rest AUC of each class; with two classes both come from p[:, 1]."""
    out = []
    for c in range(p.shape[1]):
        pos = y == c
        score = -p[:, 1] if p.shape[1] == 2 and c == 0 else p[:, c]
        out.append(sk.roc_auc_score(pos, score) if 0 < pos.sum() < len(y) else np.nan)
    return np.array(out)


def kappa(y, yhat, k, weights):
    with np.errstate(all="ignore"):
        return sk.cohen_kappa_score(y, yhat, labels=range(k), weights=weights)


def evaluate(y, p):
    k = p.shape[1]
    yhat = p.argmax(axis=1)
    seen = sorted(set(y) | set(yhat))  # tp + fp + fn > 0
    how = dict(labels=seen, average="macro", zero_division=0)
    auc = class_auc(y, p)
    return {
        "accuracy": sk.accuracy_score(y, yhat),
        "balanced_accuracy": sk.recall_score(y, yhat, **how),
        "auc": np.nan if np.isnan(auc).all() else np.nanmean(auc),
        "f1": sk.f1_score(y, yhat, **how),
        "precision": sk.precision_score(y, yhat, **how),
        "kappa": kappa(y, yhat, k, None),
        "kappa_quadratic": kappa(y, yhat, k, "quadratic"),
    }


def indices(count, fold, resamples):
    """The reference's resamples, with numpy's Mersenne Twister."""
    bits = np.random.RandomState((SEED + fold) & 0xFFFFFFFF)._bit_generator
    table = (np.arange(1, count + 1, dtype=np.float32) / np.float32(count)).astype(np.float64)
    raw = bits.random_raw(2 * count * resamples).astype(np.uint64)
    word = (raw[0::2] << np.uint64(32)) | raw[1::2]
    u = (word & np.uint64((1 << 53) - 1)).astype(np.float64) * 2.0**-53
    return np.searchsorted(table, u, side="left").reshape(resamples, count)


def bootstrap(y, p, fold, resamples):
    rows = [evaluate(y[i], p[i]) for i in indices(len(y), fold, resamples)]
    out = {}
    for name in rows[0]:
        v = np.array([r[name] for r in rows])
        ok = v[~np.isnan(v)]
        if len(ok) == 0:  # no resample defines it
            out[name] = {"mean": None, "sd": None, "low": None, "high": None, "undefined": len(v)}
            continue
        out[name] = {
            "mean": ok.mean(), "sd": ok.std(ddof=1), "low": np.percentile(ok, 2.5),
            "high": np.percentile(ok, 97.5), "undefined": int(len(v) - len(ok)),
        }
    return {"fold": fold, "resamples": resamples, "metrics": out}


def per_class(y, yhat, k):
    """Of each class by itself; 0/0 (no slide has the label, or none is predicted so) is NaN, not scikit-learn's warning."""
    how = dict(labels=range(k), average=None, zero_division=np.nan)
    precision, recall, f1, support = sk.precision_recall_fscore_support(y, yhat, **how)
    cells = sk.multilabel_confusion_matrix(y, yhat, labels=range(k))  # of each class [[tn, fp], [fn, tp]]
    # The others' recall, when the class is one side of two: recall of "is not c".
    specificity = [sk.recall_score(y != c, yhat != c, zero_division=np.nan) for c in range(k)]
    # F1 is 2 tp / (2 tp + fp + fn): 0/0 only where a class is neither labelled nor predicted.
    assert (np.isnan(f1) == (cells[:, 0, 1] + cells[:, 1].sum(axis=1) == 0)).all()
    return {
        "support": support.tolist(), "predicted": (cells[:, 0, 1] + cells[:, 1, 1]).tolist(),
        "tp": cells[:, 1, 1].tolist(), "fp": cells[:, 0, 1].tolist(), "fn": cells[:, 1, 0].tolist(), "tn": cells[:, 0, 0].tolist(),
        "recall": [none(x) for x in recall], "specificity": [none(x) for x in specificity],
        "precision": [none(x) for x in precision], "f1": [none(x) for x in f1],
    }


def case(name, y, p, fold=None, resamples=100):
    y = np.asarray(y)
    p = np.asarray(p, dtype=np.float64)
    auc = class_auc(y, p)
    out = {
        "name": name, "classes": p.shape[1], "label": y.tolist(), "probability": p.ravel().tolist(),
        "expected": {m: none(v) for m, v in evaluate(y, p).items()},
        "class_auc": [none(a) for a in auc], "auc_zero": float(np.nansum(auc) / len(auc)),
        "confusion": sk.confusion_matrix(y, p.argmax(axis=1), labels=range(p.shape[1])).ravel().tolist(),
        "per_class": per_class(y, p.argmax(axis=1), p.shape[1]),
    }
    if fold is not None:
        out["bootstrap"] = bootstrap(y, p, fold, resamples)
    return out


def roc(y, p):
    fpr, tpr, threshold = sk.roc_curve(y, p[:, 1], drop_intermediate=False)
    return {"label": y.tolist(), "probability": p.ravel().tolist(), "fpr": fpr.tolist(), "tpr": tpr.tolist(),
            "threshold": threshold[1:].tolist()}


def rounded(p, digits):
    """Coarse probabilities that still sum to 1: many ties."""
    q = np.round(p, digits)
    q[:, -1] = 1 - q[:, :-1].sum(axis=1)
    return np.clip(np.round(q, digits), 0, 1)


def random_case(rng, n, k, signal):
    y = rng.integers(0, k, n)
    z = rng.normal(size=(n, k))
    z[np.arange(n), y] += signal
    return y, softmax(z)


def each_class(rng, k):
    """The same six situations for k classes; `k - 1` is the class that is missing somewhere."""
    n, last = 12 * k, k - 1
    y, p = random_case(rng, n, k, 0.9)
    tied = rounded(p, 1)
    absent = np.where(y == last, 0, y)
    never = p.copy()
    never[:, last] *= 0.01
    never /= never.sum(axis=1, keepdims=True)
    assert (tied.argmax(axis=1) != p.argmax(axis=1)).any() and last in p.argmax(axis=1) and last not in never.argmax(axis=1)
    constant = np.arange(1, k + 1) / (k * (k + 1) / 2)
    return [
        case(f"{k} classes", y, p, fold=0),
        case(f"{k} classes, ties", y, tied, fold=1),
        case(f"{k} classes, one not labelled", absent, p, fold=0),
        case(f"{k} classes, one not labelled, ties", absent, tied),
        case(f"{k} classes, one never predicted", y, never),
        case(f"{k} classes, constant scores", y, np.tile(constant, (n, 1)), fold=0),
        case(f"{k} classes, equal scores", y, np.full((n, k), 1 / k)),
    ]


def main():
    rng = np.random.default_rng(20)
    spec = np.array([[2, .1, -1], [.3, 1.2, .2], [-.5, .4, .9], [1.5, 1.4, .1],
                     [.2, -.3, 1.8], [.9, 1, .8], [.1, 2, 1.9], [1.1, .2, .6]])
    cases = [case("specification", [0, 1, 2, 1, 2, 0, 2, 0], softmax(spec), fold=0)]
    y, p = random_case(rng, 40, 2, 0.8)
    cases.append(case("binary", y, p, fold=0, resamples=200))
    tied = rounded(p, 1)
    cases.append(case("binary with ties", y, tied, fold=1))
    cases.append(case("constant scores", y[:15], np.tile([.3, .7], (15, 1)), fold=2))
    cases.append(case("perfect", [0, 0, 1, 1, 1], [[.9, .1], [.8, .2], [.3, .7], [.2, .8], [.1, .9]]))
    cases.append(case("reversed", [1, 1, 0, 0], [[.9, .1], [.8, .2], [.3, .7], [.2, .8]]))
    y, p = random_case(rng, 30, 4, 1.2)
    cases.append(case("class absent but predicted", np.where(y == 2, 0, y), p, fold=0))
    q = p.copy()
    q[:, 2] = 0
    q /= q.sum(axis=1, keepdims=True)
    cases.append(case("class absent altogether", np.where(y == 2, 0, y), q))
    cases.append(case("one label only", [1] * 6, softmax(rng.normal(size=(6, 3)))))
    cases.append(case("one label, one prediction", [0, 0, 0], [[.9, .1], [.8, .2], [.6, .4]]))
    y, p = random_case(rng, 90, 5, 1.0)
    cases.append(case("five classes", y, rounded(p, 2), fold=0))
    small = [0, 0, 0, 0, 1]
    cases.append(case("four against one", small, [[.8, .2], [.7, .3], [.4, .6], [.9, .1], [.45, .55]], fold=0))
    for k in (2, 3, 6):
        cases += each_class(np.random.default_rng(1000 + k), k)
    y, p = random_case(rng, 40, 2, 0.8)
    out = {"source": "scikit-learn " + __import__("sklearn").__version__, "cases": cases, "roc": roc(y, rounded(p, 1))}
    text = json.dumps(out, separators=(",", ":"))
    (HERE / "metrics.json").write_text(text.replace('{"name"', '\n{"name"').replace(',"roc"', ',\n"roc"') + "\n")


if __name__ == "__main__":
    main()
