# SPDX-License-Identifier: Apache-2.0
"""Writes survival.json: random times, events and risks with what scikit-survival says of them.

Run by hand (pip install scikit-survival lifelines) when a case is added; the numbers are committed. null: undefined by
docs/evaluate.md; scikit-survival raises an error or gives NaN there, or for all times where one is undefined. Kaplan-Meier intervals and the log-rank test are checked against lifelines on the way.
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


def times_within(event, time, times, both_sides):
    """The documented rule: a time outside the follow-up, or without cases or controls, is left out (scikit-survival raises)."""
    keep = (times >= time.min()) & (times < time.max())
    if both_sides:
        keep &= np.array([(event & (time <= t)).any() and (time > t).any() for t in times])
    return keep


def brier_score(train, test, survival, times):
    if test["event"].any():
        return sk.brier_score(train, test, survival, times)[1]
    # scikit-survival refuses a table without events; the definition does not: all who are followed longer count, weighted.
    longer = test["time"][:, None] > times[None]
    return (longer * (1 - survival) ** 2).mean(axis=0) / npar.CensoringDistributionEstimator().fit(train).predict_proba(times)


def at_times(train, test, risk, survival, times):
    """AUC and Brier score at each time by the documented rule, the mean AUC and the integrated score; NaN: undefined."""
    auc, brier, mean, ibs = np.full(len(times), np.nan), np.full(len(times), np.nan), np.nan, np.nan
    keep = times_within(test["event"], test["time"], times, True)
    if keep.any():
        auc[keep], mean = sk.cumulative_dynamic_auc(train, test, risk, times[keep])
    keep = times_within(test["event"], test["time"], times, False)
    if survival is not None and keep.any():
        brier[keep] = brier_score(train, test, survival[:, keep], times[keep])
        if keep.sum() >= 2:
            ibs = np.trapezoid(brier[keep], times[keep]) / (times[keep][-1] - times[keep][0])
            if test["event"].any():
                assert abs(ibs - sk.integrated_brier_score(train, test, survival[:, keep], times[keep])) < 1e-12
    return auc, brier, mean, ibs


def resample(train, event, time, risk, survival, times):
    """The four measures of one resample; NaN: undefined."""
    test = Surv.from_arrays(event, time)
    c = attempt(sk.concordance_index_censored, event, time, risk)
    u = attempt(sk.concordance_index_ipcw, train, test, risk)
    _, _, mean, ibs = at_times(train, test, risk, survival, times)
    return [c[0] if c else np.nan, u[0] if u else np.nan, mean, ibs]


def bootstrap(train, event, time, risk, survival, times, fold, resamples, keep_rows):
    drawn = indices(len(time), fold, resamples)
    rows = np.array([resample(train, event[i], time[i], risk[i], None if survival is None else survival[i], times) for i in drawn])
    out = {"fold": fold, "resamples": resamples}
    for m, name in enumerate(["c_index", "c_index_ipcw", "auc_td", "ibs"]):
        v = rows[:, m]
        v = v[np.isfinite(v)]
        some = len(v) > 0
        out[name] = [none(x) for x in ([v.mean(), v.std(ddof=1) if len(v) > 1 else None, *np.percentile(v, [2.5, 97.5])] if some else [None] * 4)]
        out[name].append(len(rows) - len(v))
    if keep_rows:
        out["indices"], out["rows"] = drawn.tolist(), [[none(x) for x in r] for r in rows]
        out["no_event"] = int(sum(not event[i].any() for i in drawn))
    return out


def case(name, train, test, times, survival=None, tau=None, resamples=0, fold=1, keep_rows=True):
    (te, tt, tr), (event, time, risk) = train, test
    survival_train, survival_test = Surv.from_arrays(te, tt), Surv.from_arrays(event, time)
    threshold = float(np.median(tr))
    uno = attempt(sk.concordance_index_ipcw, survival_train, survival_test, risk)
    uno_tau = attempt(sk.concordance_index_ipcw, survival_train, survival_test, risk, tau=tau) if tau else None
    times = np.asarray(times, dtype=float)
    auc, brier, auc_mean, ibs = at_times(survival_train, survival_test, risk, survival, times)
    out = {
        "name": name,
        "train": {"time": tt.tolist(), "event": te.astype(int).tolist(), "risk": tr.tolist()},
        "test": {"time": time.tolist(), "event": event.astype(int).tolist(), "risk": risk.tolist()},
        "times": list(times), "threshold": threshold,
        "survival": None if survival is None else survival.ravel().tolist(),
        "c_index": concordance(event, time, risk),
        "c_index_ipcw": none(uno[0]) if uno else None,
        "tau": tau, "c_index_ipcw_tau": none(uno_tau[0]) if uno_tau else None,
        "auc": [none(a) for a in auc], "auc_mean": none(auc_mean), "brier": [none(b) for b in brier],
        "ibs": none(ibs),
        "curve": curve(event, time),
        "log_rank": log_rank(event, time, risk > threshold),
    }
    if resamples:
        out["bootstrap"] = bootstrap(survival_train, event, time, risk, survival, times, fold, resamples, keep_rows)
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


def hard_resamples(rng):
    """Small tables whose resamples have no comparable pair, no event, many ties, times outside of the follow-up."""
    train = draw(rng, 60)
    train = (train[0], np.append(train[1][1:], 500.0), train[2])  # censored or not, nobody of the tests is followed so long
    out = []

    def add(name, event, time, risk, times, bins=True, resamples=40, fold=0):
        event, time, risk, times = np.array(event, bool), np.array(time, float), np.array(risk, float), np.array(times, float)
        survival = survival_of(rng, risk, times) if bins else None
        out.append(case(name, train, (event, time, risk), times, survival, resamples=resamples, fold=fold))

    add("resamples: one event of seven", [0, 1, 0, 0, 0, 0, 0], [3, 4, 5, 6, 2, 8, 9], [.1, .5, .4, .7, .2, .3, .6], [4, 6])
    add("resamples: the event is last but one", [0, 0, 0, 1, 0], [1, 2, 3, 4, 5], [.1, .2, .3, .4, .5], [2, 4], fold=2)
    add("resamples: two events at one time", [1, 1, 0, 0], [3, 3, 3, 2], [.5, .4, .3, .6], [2, 2.5, 3])
    add("resamples: all censored", [0] * 6, [1, 2, 3, 4, 5, 6], [.1, .5, .2, .4, .3, .6], [2, 4])
    add("resamples: two cases", [1, 0], [1, 2], [.9, .1], [1, 1.5], resamples=30)
    add("resamples: one case", [1], [2], [.5], [1, 3], resamples=5)
    e, t, r = draw(rng, 24, digits=0)
    add("resamples: ties in times and risks", e, t, np.round(r, 0), np.percentile(t, [20, 50, 80]), fold=1)
    add("resamples: ties, a model without bins", e, t, np.round(r, 0), [3, 8], bins=False)
    add("resamples: equal risks", e[:12], t[:12], np.full(12, -.25), [3, 8])
    # Each is tied with the next, but the first not with the third: without the second in a resample they are not tied.
    add("resamples: chains of ties", np.arange(12) % 3 > 0, 1 + np.arange(12) * 7 % 12, .5 + 0.8e-8 * np.arange(12), [4, 8])
    return out


def main():
    rng = np.random.default_rng(2021)
    cases = []
    train = draw(rng, 150)
    test = draw(rng, 60)
    keep = test[1] < np.max(train[1])
    test = tuple(a[keep] for a in test)
    times = np.round(np.percentile(train[1][train[0]], [25, 50, 75]), 6)
    cases.append(case("plain", train, test, times, survival_of(rng, test[2], times), tau=18.0, resamples=200, keep_rows=False))
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
    cases += hard_resamples(np.random.default_rng(6))
    (HERE / "survival.json").write_text(json.dumps({"cases": cases}, separators=(",", ":"), default=lambda x: x.tolist()) + "\n")
    for c in cases:
        print(c["name"], c["c_index"], c["c_index_ipcw"], c["c_index_ipcw_tau"], c["auc"], c["auc_mean"], c["brier"], c["ibs"], c["log_rank"])


if __name__ == "__main__":
    main()
