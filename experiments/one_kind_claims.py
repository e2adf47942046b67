"""The verdicts on one kind of image, by the criteria of docs/claims.md, from zoo.json and two records.

The unit is a network: "all seeds" means each of them. C6se, C11se and C3se compare networks of equal held-out loss.
"""

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import spearmanr, t

from diffgauss.notebook.lesson import Claim, Verdict, claim, verdict

SEED = ("", "-seed1", "-seed2")
SIZES, WIDTHS = (16, 64, 256, 1000, 3000), (4, 8, 16, 32)
CLOTHES = ("n60000", "n60000-seed1")
XRAYS = ("xray-n3400", "xray-n3400-seed1")
KINDS = ("training", "held-out")
MIDDLE = slice(4, 6)
"""Of the six levels of a score, 21.1 to .117: .470 and .117."""

SCALE = "28×28 grey images; nets of 290868 weights at width 16, 40960 steps of 32 images; three seeds"
PAIR = SCALE.replace("three", "two")
RECORDED: dict[str, Verdict] = {
    "C3s": "partly", "C3se": "holds", "C4s": "holds", "C5s": "partly", "C8s": "holds", "C6s": "partly",
    "C11s": "holds", "C6x": "holds", "C11x": "holds", "C6se": "partly", "C11se": "holds", "C9as": "partly",
    "C9cs": "holds", "F3s": "holds", "C10s": "partly", "Ps": "partly", "Qs": "partly", "F24": "partly",
    "B5m": "partly", "C9bs": "holds", "F3w": "partly",
}  # fmt: skip
"""The verdicts as they were read, written by hand: a run that comes to another fails."""
WHY = {
    "C3s": "both scores rise with N, but from N = 256 on the largest deviation is .414 = √2 − 1 for every network, "
    "which any denoiser has that answers with the mean at high noise: it cannot tell them apart",
    "C5s": "the distance, which is unbiased here, and the weights pass; singular vectors match the components in "
    "the middle only, as for ten classes: at low σ the singular values are all near 1 and fix no order",
    "C6s": "on training images the network is nearer D_G than D_M, but by less than 1.5 times: D_M has stored "
    "these images and returns them",
    "C6se": "at .470 it is more for every pair; at .117 the two are level (1.23 and 1.22), so that there the whole "
    "difference of C6s and C6 is one of skill. (The first verdict, holds, had compared the ten classes at their "
    "last step, .76 of D_G's loss, because earlier steps had not been scored.)",
    "C9as": "p falls from N = 16 to 1000, but 1000 and 3000 are level (.37 and .38)",
    "F3w": "from width 4 to 8 R² rises instead, for all seeds: the narrowest networks have learnt least; from 8 on "
    "it falls at each step",
    "C10s": "width 4 does not raise the agreement at N = 256 by .2 (by .12, −.05 and −.02): it is .74 already at "
    "width 16",
    "Ps": "at σ = 4.07 p of N = 3000 is .61: there D_M of 3000 images is itself a good denoiser; at 1.50 and .470 "
    "p tells the sizes apart",
    "Qs": "in colour at .470 the networks are 1.6 times as far from D_G as predicted: their errors add to the "
    "distance; X-rays at .470 are at the border (1.20 of at most 1.2)",
    "F24": "the MLPs are not: at .117 (sneakers) and at .470 (X-rays) they have not learnt to denoise (q below 0). "
    "For all three kinds q is at most .3, so that being near D_G may be for want of learning",
    "B5m": "at σ = 4.07 a single component of X-rays changes its gain by .1, which has no rank correlation",
}
NO_REASON = "this verdict has no reason yet"

Scores = dict[str, Any]


def judge(zoo: Scores, record: dict, levels: dict) -> list[Claim]:
    """The rows of the ledger. zoo, record, levels: zoo.json, and what one_kind.py and levels.py measured.

    Raises KeyError where a network or a part is missing, and for a claim without a recorded verdict.
    """
    rows = [
        *linearity(zoo), *distilled(record["distilled"]), *nearer(zoo), *emerging(zoo), *small_nets(zoo),
        *samples(zoo, record["cosine"]), *position(zoo), *predicted(record["skill"]), *one_level(levels),
    ]  # fmt: skip

    def row(name: str, ours: str, found: Verdict) -> Claim:
        why = "" if found == "holds" else WHY[name] if RECORDED[name] == found else NO_REASON
        scale = PAIR if name in ("C6x", "C11x") else SCALE
        return claim(name, ours=ours, verdict=found, recorded=RECORDED[name], scale=scale, why=why)

    return [row(*these) for these in rows]


def last(zoo: Scores, name: str) -> Scores:
    """The scores after the last step."""
    scores = zoo[name]["scores"]
    return scores[max(scores, key=int)]


def curve(zoo: Scores, name: str, of) -> tuple[np.ndarray, np.ndarray]:
    """The recorded steps whose scores are complete, and of(scores) at each."""
    scores = {int(step): found for step, found in zoo[name]["scores"].items() if "loss_ratio" in found}
    steps = sorted(scores)
    return np.array(steps), np.array([of(scores[step]) for step in steps])


def at_loss(zoo: Scores, name: str, loss: float, of) -> Any:
    """of(scores) where the held-out loss over D_G's first comes down to that, interpolated in log₂ of the step."""
    steps, losses = curve(zoo, name, lambda s: s["loss_ratio"])
    values, k = curve(zoo, name, of)[1], int(np.argmax(losses <= loss))
    if not losses[k] <= loss:
        raise ValueError(f"{name} comes down to {losses.min():.3f} of D_G's loss; needs {loss:.3f}")
    if k == 0:
        raise ValueError(
            f"{name} has no score of a loss above {loss:.3f} of D_G's, only {losses[0]:.3f}; needs one before"
        )
    share = (losses[k - 1] - loss) / (losses[k - 1] - losses[k])  # of the way in log₂ of the step
    return values[k - 1] + share * (values[k] - values[k - 1])


def ratios(scores: Scores, kind: str) -> np.ndarray:
    """RMSE to D_M over RMSE to D_G, at .470 and .117."""
    rmse = scores["rmse"][kind]
    return np.array(rmse["D_M"][MIDDLE]) / np.array(rmse["D_G"][MIDDLE])


def mean_position(scores: Scores) -> float:
    """The mean of p over 4.07, 1.50 and .470."""
    return float(np.mean([p[0] for p in scores["position"]]))


def rank(x, y) -> float:
    return round(float(np.asarray(spearmanr(x, y))[0]), 9)  # −.9 itself is one of the values of five points


def over_networks(values) -> tuple[float, float, float]:
    """The mean with Student's interval of 95 % over networks."""
    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return float(np.mean(values)), float(np.mean(values) - half), float(np.mean(values) + half)


def apart(low: tuple, high: tuple) -> bool:
    """Whether two intervals [value, low, high] are disjoint, the first below the second."""
    return low[2] < high[1]


def show(v) -> str:
    """0.50 [0.40, 0.60]."""
    return f"{v[0]:.2f} [{v[1]:.2f}, {v[2]:.2f}]"


def each(values, digits: int = 2) -> str:
    """The values of the seeds: 0.50, 0.51, 0.49."""
    return ", ".join(f"{v:.{digits}f}" for v in values)


Row = tuple[str, str, Verdict]


def sneakers(n: int, width: int = 16) -> list[str]:
    """The three networks of N images."""
    return [f"sneaker-n{n}{'' if width == 16 else f'-w{width}'}{seed}" for seed in SEED]


def intervals(zoo: Scores) -> dict[str, dict]:
    """GL, the mean p and the least centred linearity against N and width, with intervals over three networks."""
    measures = {
        "GL": lambda s: s["GL"], "memorized": lambda s: s["memorized"], "mean p": mean_position,
        "least linearity": lambda s: s["linearity"]["centred"], "held-out loss / D_G's": lambda s: s["loss_ratio"],
    }  # fmt: skip
    points = [(n, 16) for n in SIZES] + [(256, w) for w in WIDTHS if w != 16]
    points = [(n, w) for n, w in points if all(name in zoo for name in sneakers(n, w))]
    return {
        f"N = {n}, width {w}": {
            what: over_networks([of(last(zoo, name)) for name in sneakers(n, w)]) for what, of in measures.items()
        }
        for n, w in points
    }


def linearity(zoo: Scores) -> Iterator[Row]:
    """C3s and C3se."""
    least = {what: np.array([[last(zoo, name)["linearity"][what] for name in sneakers(n)] for n in SIZES])
             for what in ("centred", "raw", "deviation")}  # fmt: skip
    ranks = {what: np.array([rank(SIZES, seed) for seed in of.T]) for what, of in least.items()}
    centred, raw = (ranks[what].min() >= 0.9 for what in ("centred", "raw"))
    falls = ranks["deviation"].max() <= -0.9
    yield "C3s", (
        "least centred score, three seeds: "
        + "; ".join(f"N = {n} {each(row, 3)}" for n, row in zip(SIZES, least["centred"], strict=True))
        + f"; rank correlations: centred {each(ranks['centred'])}, raw {each(ranks['raw'])}, deviation "
        f"{each(ranks['deviation'])}"
    ), "holds" if centred and raw and falls else "partly" if centred else "fails"  # fmt: skip
    equal = []
    for seed in range(3):
        loss = curve(zoo, sneakers(64)[seed], lambda s: s["loss_ratio"])[1].min()
        least_score = partial(at_loss, zoo, loss=loss, of=lambda s: s["linearity"]["centred"])
        equal.append([least_score(sneakers(n)[seed]) for n in SIZES[1:]])
    found = [rank(SIZES[1:], row) for row in equal]
    yield "C3se", (
        "least centred score at equal loss, three seeds: "
        + "; ".join(f"N = {n} {each(row, 3)}" for n, row in zip(SIZES[1:], np.array(equal).T, strict=True))
        + f"; rank correlations {each(found)}"
    ), verdict(min(found) >= 0.9)  # fmt: skip


def distilled(part: dict) -> Iterator[Row]:
    """C4s, C5s and C8s; the levels 0 … 9 are the paper's from 80 down to .002."""
    many = [part[name] for name in sneakers(3000)]
    L = np.array([[row["D_L to D_θ"] for row in rows] for rows in many])
    close, middle = L[:, [0, 1, 2, 7, 8, 9]].max(0) <= 0.05, L[:, 3:7].max() <= 0.2
    yield "C4s", (
        f"largest RMSE of three seeds: {L[:, 0].max():.3f} at 80, {L[:, 2].max():.3f} at 21.1, in between "
        f"{L[:, 3:7].max():.3f}, {L[:, 7].max():.3f} at .117, {L[:, 8].max():.3f} at .0204"
    ), "holds" if close.all() and middle else "partly" if close.sum() >= 4 and middle else "fails"  # fmt: skip
    upper = np.array([[row["square"][2] for row in rows] for rows in many])
    weights = np.array([[row["nmse"] for row in rows] for rows in many])
    alike = np.array([[row["components"] for row in rows] for rows in many])
    yield "C5s", (
        f"upper end of the cross-fit distance, as a root: {upper.max() ** 0.5:.3f}; weight NMSE ≤ .2 at "
        f"{each((weights <= 0.2).sum(1), 0)} levels; least mean correlation of ten vectors from 80 to .117 "
        f"{each(alike[:, :8].min(1))}"
    ), verdict(
        upper.max() <= 0.05**2, (weights <= 0.2).sum(1).min() >= 6, alike[:, :8].min() >= 0.9, need=2
    )  # fmt: skip
    root = {n: np.array([max(row["square"][0] for row in part[name]) for name in sneakers(n)]) ** 0.5
            for n in (16, 64, 3000)}  # fmt: skip
    far = {n: root[n].min() >= 2 * root[3000].max() for n in (16, 64)}
    yield "C8s", (
        "root of the largest cross-fit mean square, three seeds: "
        + "; ".join(f"N = {n} {each(values, 3)}" for n, values in root.items())
    ), "holds" if far[64] else "partly" if far[16] else "fails"  # fmt: skip


def nearer(zoo: Scores) -> Iterator[Row]:
    """C6s, C6se, C6x, C11s, C11se and C11x."""
    for kind, names in (("s", sneakers(3000)), ("x", list(XRAYS))):
        of = {where: np.array([ratios(last(zoo, name), where) for name in names]) for where in KINDS}
        yield f"C6{kind}", "ratio at .470 / .117, each seed: " + "; ".join(
            f"{where} {each(r[:, 0])} / {each(r[:, 1])}" for where, r in of.items()
        ), (
            "holds" if min(r.min() for r in of.values()) >= 1.5
            else "partly" if min(r.min() for r in of.values()) > 1 else "fails"
        )  # fmt: skip
        cosine, r2 = ([last(zoo, name)[what] for name in names] for what in ("cosine", "r2"))
        ahead = [all(apart(c["D_M"], c["D_G"]) for c in of) for of in (cosine, r2)]
        yield f"C11{kind}", (
            "each seed, D_G against D_M: cosine "
            + "; ".join(f"{show(c['D_G'])}, {show(c['D_M'])}" for c in cosine) + "; R² "
            + "; ".join(f"{show(c['D_G'])}, {show(c['D_M'])}" for c in r2)
        ), "holds" if all(ahead) else "partly" if ahead[0] else "fails"  # fmt: skip
    at = {}
    for one, many in product(sneakers(3000), CLOTHES):
        loss = max(last(zoo, name)["loss_ratio"] for name in (one, many))
        at[one, many] = {
            "loss": loss,
            "ratio": [at_loss(zoo, name, loss, lambda s: ratios(s, "training")) for name in (one, many)],
            "lead": [at_loss(zoo, name, loss, lead) for name in (one, many)],
        }
    ratio, leads = (np.array([of[what] for of in at.values()]) for what in ("ratio", "lead"))
    losses = [of["loss"] for of in at.values()]
    where = f"at {max(losses):.2f} of D_G's loss, each pair of seeds, sneakers against ten classes: "
    yield "C6se", where + "; ".join(
        f"σ = {s} " + ", ".join(f"{a:.2f} / {b:.2f}" for a, b in of)
        for s, of in ((".470", ratio[:, :, 0]), (".117", ratio[:, :, 1]))
    ), verdict(*((ratio[:, 0, i] > ratio[:, 1, i]).all() for i in range(2)))  # fmt: skip
    yield "C11se", where + "lead of the cosine with D_G's samples " + ", ".join(
        f"{a:.2f} / {b:.2f}" for a, b in leads
    ), verdict((leads[:, 0] > leads[:, 1]).all())  # fmt: skip


def lead(scores: Scores) -> float:
    """The cosine of samples with D_G's less that with D_M's."""
    return scores["cosine"]["D_G"][0] - scores["cosine"]["D_M"][0]


def emerging(zoo: Scores) -> Iterator[Row]:
    """C9as, C9bs, F3w and C9cs."""
    p = np.array([[mean_position(last(zoo, name)) for name in sneakers(n)] for n in SIZES])
    falls, ends = (np.diff(p, axis=0) < 0).all(), p[:2].min() > 0.5 > p[-1].max()
    ranks = [rank(SIZES, seed) for seed in p.T]
    yield "C9as", (
        "mean p, three seeds: " + "; ".join(f"N = {n} {each(row)}" for n, row in zip(SIZES, p, strict=True))
        + f"; rank correlations {each(ranks)}"
    ), "holds" if falls and ends else "partly" if max(ranks) <= -0.9 else "fails"  # fmt: skip
    yield from widths(zoo)
    yield early_stop(zoo)


def widths(zoo: Scores) -> Iterator[Row]:
    """C9bs and F3w; nothing before all networks of 256 images are there."""
    if not all(name in zoo for w in WIDTHS for name in sneakers(256, w)):
        return
    p = np.array([[mean_position(last(zoo, name)) for name in sneakers(256, w)] for w in WIDTHS])
    losses = {w: over_networks([last(zoo, name)["loss_ratio"] for name in sneakers(256, w)]) for w in (4, 32)}
    yield "C9bs", (
        "mean p, three seeds: " + "; ".join(f"width {w} {each(row)}" for w, row in zip(WIDTHS, p, strict=True))
        + "; held-out loss over D_G's, over networks: "
        + ", ".join(f"width {w} {show(v)}" for w, v in losses.items())
    ), verdict((np.diff(p, axis=0) > 0).all(), apart(losses[4], losses[32]))  # fmt: skip
    r2 = [[last(zoo, name)["r2"]["D_G"] for name in sneakers(256, w)] for w in WIDTHS]
    values = np.array(r2)[:, :, 0]
    ends = all(apart(wide, narrow) for narrow, wide in zip(r2[0], r2[-1], strict=True))
    yield "F3w", (
        "N = 256, R² of three seeds: "
        + "; ".join(f"width {w} {each(row)}" for w, row in zip(WIDTHS, values, strict=True))
    ), "holds" if (np.diff(values, axis=0) < 0).all() else "partly" if ends else "fails"  # fmt: skip


def early_stop(zoo: Scores) -> Row:
    """C9cs."""
    inner, nearer_early, r2_early, none, shown = [], [], [], [], []
    for name in sneakers(256):
        steps, loss = curve(zoo, name, lambda s: s["loss_ratio"])
        k = int(loss.argmin())
        early, end = zoo[name]["scores"][str(steps[k])], last(zoo, name)
        inner.append(0 < k < len(steps) - 1)
        nearer_early.append(mean_position(early) < mean_position(end))
        r2_early.append(apart(end["r2"]["D_G"], early["r2"]["D_G"]))
        none.append(early["memorized"] <= 0.02)
        shown.append(
            f"step {steps[k]}: p {mean_position(early):.2f} (end {mean_position(end):.2f}), R² "
            f"{show(early['r2']['D_G'])} ({show(end['r2']['D_G'])}), copies {early['memorized']:.0%}"
        )
    three = (all(nearer_early), all(r2_early), all(none))
    return "C9cs", "least held-out loss at " + "; ".join(shown), (
        verdict(*three, need=2) if all(inner) else "fails"
    )  # fmt: skip


def small_nets(zoo: Scores) -> Iterator[Row]:
    """F3s."""
    inner, shares, shown = [], [], []
    for name in sneakers(64):
        steps, r2 = curve(zoo, name, lambda s: s["r2"]["D_G"])
        k, end = int(r2[:, 0].argmax()), last(zoo, name)
        best = zoo[name]["scores"][str(steps[k])]
        inner.append(0 < k < len(steps) - 1 and r2[k][1] > 0 and apart(tuple(r2[-1]), tuple(r2[k])))
        shares.append(best["memorized"] <= 0.02 and end["memorized"] >= 0.9)
        shown.append(
            f"step {steps[k]} {show(r2[k])}, copies {best['memorized']:.0%} "
            f"(end {show(r2[-1])}, {end['memorized']:.0%})"
        )
    found: Verdict = "fails" if not all(inner) else "holds" if all(shares) else "partly"
    yield "F3s", "N = 64, three seeds, highest R² at " + "; ".join(shown), found


def samples(zoo: Scores, part: dict) -> Iterator[Row]:
    """C10s."""
    same = {kind: [pair["same noise"][0] for pair in part[kind].values()] for kind in part}
    other = max(pair["other noise"][0] for kind in ("halves", "64") for pair in part[kind].values())
    alike = min(same["halves"]) >= 0.8 and max(same["64"]) <= 0.5 and other <= 0.15
    more = [narrow - wide for narrow, wide in zip(same["256, width 4"], same["256"], strict=True)]
    yield "C10s", (
        f"halves of 3000 {each(same['halves'])}; pairs at N = 64 {each(same['64'])}, at 256 {each(same['256'])}, "
        f"at width 4 {each(same['256, width 4'])}; other noises ≤ {other:.2f}"
    ), "fails" if not alike else "holds" if min(more) >= 0.2 else "partly"  # fmt: skip


def position(zoo: Scores) -> Iterator[Row]:
    """Ps."""
    p = {n: np.array([[level[0] for level in last(zoo, name)["position"]] for name in sneakers(n)])
         for n in (16, 64, 3000)}  # fmt: skip
    right = (p[3000].max(0) < 0.5) & (p[16].min(0) > 0.5) & (p[64].min(0) > 0.5)
    yield "Ps", "three seeds: " + "; ".join(
        f"N = {n} " + " / ".join(each(column) for column in of.T) for n, of in p.items()
    ) + " at 4.07 / 1.50 / .470", verdict(*right, need=2)  # fmt: skip


def predicted(part: dict) -> Iterator[Row]:
    """Qs."""
    off = {kind: [a / b - 1 for of in levels.values() for a, b in of.values()] for kind, levels in part.items()}
    good = [max(map(abs, of)) <= 0.2 for of in off.values()]
    yield "Qs", "measured over predicted distance, both seeds at 1.50 and .470: " + "; ".join(
        f"{kind} {each([1 + v for v in of])}" for kind, of in off.items()
    ), verdict(*good, len(good) == 5, need=4)  # fmt: skip


def one_level(levels: dict) -> Iterator[Row]:
    """F24 and B5m."""
    kinds = {}
    for key, rows in levels.items():
        if not isinstance(rows, list):
            continue
        of = {round(row["sigma"], 2): row for row in rows}
        ratio = {s: of[s]["rmse held-out"]["D_M"] / of[s]["rmse held-out"]["D_G"] for s in (4.07, 1.5, 0.47, 0.12)}
        p = [of[s]["position"][0] for s in (4.07, 1.5, 0.47)]
        good = min(ratio[0.47], ratio[0.12]) >= 1.5 and min(ratio[4.07], ratio[1.5]) > 1 and max(p) < 0.5
        kinds[key] = good, f"{key}: ratio {each(ratio.values())} at 4.07 to .117, p {each(p)}"
    nets = {key.split(", ")[1] for key in kinds}
    both = [all(good for key, (good, _) in kinds.items() if key.endswith(f", {net}")) for net in sorted(nets)]
    yield "F24", "; ".join(text for _, text in kinds.values()), verdict(*both, need=2)
    ranks = {s: {key: next(r for r in levels[key] if round(r["sigma"], 2) == s).get("rank", 0.0)
                 for key in kinds if key.endswith(", MLP")} for s in (4.07, 1.5)}  # fmt: skip
    yield "B5m", "rank correlation " + "; ".join(
        f"σ = {s}: " + ", ".join(f"{key.split(',')[0]} {value:.2f}" for key, value in of.items())
        for s, of in ranks.items()
    ), verdict(*(max(of.values()) <= -0.8 for of in ranks.values()))  # fmt: skip
