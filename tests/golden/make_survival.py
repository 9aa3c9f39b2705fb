# SPDX-License-Identifier: Apache-2.0
"""Writes survival.json: random times, events and risks with what scikit-survival says of them.

Run by hand (pip install scikit-survival lifelines) when a case is added; the numbers are committed. null: it raises an
error or gives NaN. Kaplan-Meier intervals and the log-rank test are checked against lifelines on the way.
"""
import json
import pathlib
import warnings

import lifelines
import lifelines.statistics
import numpy as np
from sksurv import compare, metrics as sk, nonparametric as npar
from sksurv.util import Surv

HERE = pathlib.Path(__file__).parent
SEED = 7784414403328510413


def none(x):
    return None if x is None or not np.isfinite(x) else float(x)


def attempt(f, *args, **kw):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return f(*args, **kw)
    except Exception:  # what it refuses is undefined here
        return None


def concordance(event, time, risk):
    r = attempt(sk.concordance_index_censored, event, time, risk)
    return {"index": none(r[0]) if r else None, "counts": [int(x) for x in r[1:]] if r else None}


def curve(event, time):
    t, s, ci = npar.kaplan_meier_estimator(event, time, conf_type="log-log")
    km = lifelines.KaplanMeierFitter().fit(time, event)
    same = km.survival_function_at_times(t).to_numpy()
    assert np.allclose(same, s, atol=1e-12)
    limits = km.confidence_interval_.loc[t].to_numpy()
    inside = (s > 0) & (s < 1)
    assert np.allclose(limits[inside, 0], ci[0][inside], atol=1e-9)
    return {"time": t.tolist(), "survival": s.tolist(), "low": ci[0].tolist(), "high": ci[1].tolist()}


def log_rank(event, time, group):
    r = attempt(compare.compare_survival, Surv.from_arrays(event, time), group) if len(set(group)) == 2 else None
    if r is None or not np.isfinite(r[0]):
        return None
    other = lifelines.statistics.logrank_test(time[group], time[~group], event[group], event[~group])
    assert abs(other.test_statistic - r[0]) < 1e-9
    return [float(r[0]), float(r[1])]


def indices(count, fold, resamples):
    """The reference's resamples, with numpy's Mersenne Twister."""
    bits = np.random.RandomState((SEED + fold) & 0xFFFFFFFF)._bit_generator
    table = (np.arange(1, count + 1, dtype=np.float32) / np.float32(count)).astype(np.float64)
    raw = bits.random_raw(2 * count * resamples).astype(np.uint64)
    word = (raw[0::2] << np.uint64(32)) | raw[1::2]
    u = (word & np.uint64((1 << 53) - 1)).astype(np.float64) * 2.0**-53
    return np.searchsorted(table, u, side="left").reshape(resamples, count)


def bootstrap(train, event, time, risk, survival, times, fold, resamples):
    rows = {"c_index": [], "c_index_ipcw": [], "auc_td": [], "ibs": []}
    for i in indices(len(time), fold, resamples):
        test = Surv.from_arrays(event[i], time[i])
        c = attempt(sk.concordance_index_censored, event[i], time[i], risk[i])
        u = attempt(sk.concordance_index_ipcw, train, test, risk[i])
        a = attempt(sk.cumulative_dynamic_auc, train, test, risk[i], times)
        b = attempt(sk.integrated_brier_score, train, test, survival[i], times)
        for name, value in zip(rows, [c and c[0], u and u[0], a and a[1], b]):
            rows[name].append(np.nan if value is None else value)
    out = {}
    for name, value in rows.items():
        v = np.array(value)
        assert np.isfinite(v).all(), name
        out[name] = [v.mean(), v.std(ddof=1), np.percentile(v, 2.5), np.percentile(v, 97.5)]
    return out


def case(name, train, test, times, survival=None, tau=None, resamples=0):
    (te, tt, tr), (event, time, risk) = train, test
    survival_train, survival_test = Surv.from_arrays(te, tt), Surv.from_arrays(event, time)
    threshold = float(np.median(tr))
    uno = attempt(sk.concordance_index_ipcw, survival_train, survival_test, risk)
    uno_tau = attempt(sk.concordance_index_ipcw, survival_train, survival_test, risk, tau=tau) if tau else None
    auc = attempt(sk.cumulative_dynamic_auc, survival_train, survival_test, risk, times)
    brier = ibs = None
    if survival is not None:
        brier = attempt(sk.brier_score, survival_train, survival_test, survival, times)
        ibs = attempt(sk.integrated_brier_score, survival_train, survival_test, survival, times)
    out = {
        "name": name,
        "train": {"time": tt.tolist(), "event": te.astype(int).tolist(), "risk": tr.tolist()},
        "test": {"time": time.tolist(), "event": event.astype(int).tolist(), "risk": risk.tolist()},
        "times": list(times), "threshold": threshold,
        "survival": None if survival is None else survival.ravel().tolist(),
        "c_index": concordance(event, time, risk),
        "c_index_ipcw": none(uno[0]) if uno else None,
        "tau": tau, "c_index_ipcw_tau": none(uno_tau[0]) if uno_tau else None,
        "auc": [none(a) for a in auc[0]] if auc else None,
        "auc_mean": none(auc[1]) if auc else None,
        "brier": [none(b) for b in brier[1]] if brier else None,
        "ibs": none(ibs),
        "curve": curve(event, time),
        "log_rank": log_rank(event, time, risk > threshold),
    }
    if resamples:
        out["bootstrap"] = bootstrap(survival_train, event, time, risk, survival, times, 1, resamples)
    return out


def draw(rng, n, effect=1.0, censoring=1.0, digits=6):
    x = rng.normal(size=n)
    event_time = rng.exponential(20 * np.exp(-effect * x))
    censor_time = rng.exponential(30 / censoring, size=n) if censoring else np.full(n, np.inf)
    time = np.round(np.minimum(event_time, censor_time) + 0.5, digits)
    risk = np.round(x + rng.normal(scale=0.7, size=n), digits)
    return event_time <= censor_time, time, risk


def survival_of(rng, risk, times):
    hazard = 0.02 * np.exp(0.7 * (risk - risk.mean()))
    return np.round(np.exp(-np.outer(hazard, times)), 6)


def main():
    rng = np.random.default_rng(2021)
    cases = []
    train = draw(rng, 150)
    test = draw(rng, 60)
    keep = test[1] < np.max(train[1])
    test = tuple(a[keep] for a in test)
    times = np.round(np.percentile(train[1][train[0]], [25, 50, 75]), 6)
    cases.append(case("plain", train, test, times, survival_of(rng, test[2], times), tau=18.0, resamples=200))
    train, test = draw(rng, 80, digits=0), draw(rng, 50, digits=0)
    test = (test[0], np.minimum(test[1], np.max(train[1]) - 1), test[2])
    cases.append(case("many ties", train, test, np.array([3.0, 6.0, 11.0, 20.0]),
                      survival_of(rng, test[2], np.array([3.0, 6.0, 11.0, 20.0])), tau=12.0))
    e, t, r = draw(rng, 40)
    r = np.round(r, 1) + 4e-9 * rng.integers(0, 2, size=40)  # ties that are not quite equal
    cases.append(case("almost equal risks", (e, t, r), (e, t, r), np.array([5.0, 15.0]), survival_of(rng, r, np.array([5.0, 15.0]))))
    e, t, r = draw(rng, 30)
    cases.append(case("constant risk", (e, t, r), (e, t, np.full(30, 0.25)), np.array([4.0, 10.0])))
    e, t, r = draw(rng, 25, censoring=0)
    cases.append(case("no censoring", (e, t, r), (e, t, r), np.array([4.0, 10.0]), survival_of(rng, r, np.array([4.0, 10.0]))))
    cases.append(case("all censored", (e, t, r), (np.zeros(25, bool), t, r), np.array([4.0, 10.0])))
    last = np.zeros(25, bool)
    last[np.argmax(t)] = True
    cases.append(case("only the last has the event", (e, t, r), (last, t, r), np.array([4.0, 10.0])))
    cases.append(case("all at one time", (e, t, r), (np.arange(25) % 2 == 0, np.full(25, 7.0), r), np.array([5.0])))
    cases.append(case("all events at one time", (e, t, r), (np.ones(25, bool), np.full(25, 7.0), r), np.array([5.0])))
    cases.append(case("two", (e, t, r), (np.array([True, False]), np.array([1.0, 2.0]), np.array([0.1, 0.9])), np.array([1.5])))
    cases.append(case("spec", (e, t, r), (np.array([1, 1, 0, 0, 1, 1, 1, 1], bool), np.array([5, 3, 8, 3, 10, 7, 2, 8.0]),
                                          np.array([.3, .9, .1, .4, .2, .3, .5, .6])), np.array([4.0])))
    (HERE / "survival.json").write_text(json.dumps({"cases": cases}, separators=(",", ":"), default=lambda x: x.tolist()) + "\n")
    for c in cases:
        print(c["name"], c["c_index"], c["c_index_ipcw"], c["c_index_ipcw_tau"], c["auc"], c["auc_mean"], c["brier"], c["ibs"], c["log_rank"])


if __name__ == "__main__":
    main()
