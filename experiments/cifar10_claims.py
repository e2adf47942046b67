"""The verdicts on colour images from the record of experiments/cifar10.py, by the criteria of docs/claims.md."""

import numpy as np
from scipy.stats import binomtest

from diffgauss.notebook.lesson import Claim, Verdict, claim, verdict

MANY, SECOND, FEW = "cifar-n50000", "cifar-n50000-seed1", "cifar-n256"
WIDE, MANY_WIDE = "cifar-n256-w32", "cifar-n50000-w32"
KINDS = ("training", "held-out")
SCALE = (
    "32×32 colour (JPEG copy), d = 3072; nets of 355100 weights, that of 50000 images with {loss:.2f} of the "
    "held-out loss of D_G"
)
WIDE_SCALE = "32×32 colour (JPEG copy), d = 3072; a net of 1406508 weights"
RECORDED: dict[str, Verdict] = {
    "C2 colour": "fails", "C2w colour": "holds", "C2m colour": "holds", "C3 colour": "holds",
    "C4 colour": "holds", "C5 colour": "partly", "C6 colour": "holds", "C6w colour": "holds",
    "C9c colour": "holds", "C10 colour": "holds", "C11 colour": "holds",
}  # fmt: skip
"""The verdicts as they were read, written by hand: a run that comes to another fails."""
WHY = {
    "C2 colour": "memorization has begun but not come far: of the network of 256 images {copies:.0%} of the "
    "samples are copies after {steps} steps, {before:.0%} after {earlier}; networks of many images copy none. "
    "C2w has a wider one",
    "C5 colour": "the two maps are close, but the ten leading singular vectors match the components at "
    "σ = {aligned} only: below, the leading values come together near 1 and fix no order; above, W is small and "
    "perhaps under-trained",
}
NO_REASON = "the recorded verdict is {}; this one has no reason yet"


def measured(record: dict) -> dict:
    """The numbers that SCALE and WHY quote."""
    part, stopping = record["resemblance"], record["stopping"]
    good = [f"{s:.3g}" for s, a in zip(part["sigmas"], part["aligned"], strict=False) if a >= 0.9]
    earlier, steps = stopping["steps"][-2:]
    before, copies = (stopping["scores"][FEW][str(step)]["memorized"] for step in (earlier, steps))
    return {
        "loss": part["loss"]["D_θ"] / part["loss"]["D_G"],
        "steps": steps,
        "earlier": earlier,
        "before": before,
        "copies": copies,
        "aligned": ", ".join(good),
    }


def judge(record: dict) -> list[Claim]:
    """The rows of the ledger. Raises KeyError for a record that lacks a part."""
    rows = [*_generalizes(record["stopping"]), _linear(record["linearity"]), *_resembles(record),
            _halves(record["halves"]), _samples(record)]  # fmt: skip
    order = sorted(rows, key=lambda row: int("".join(c for c in row[0] if c.isdigit())))
    numbers = measured(record)

    def row(name: str, ours: str, found: Verdict) -> Claim:
        full = f"{name} colour"
        recorded = RECORDED[full]
        scale = WIDE_SCALE if name in ("C2w", "C2m", "C6w") else SCALE.format(**numbers)
        reason = WHY[full].format(**numbers) if found == recorded != "holds" else NO_REASON.format(recorded)
        why = "" if found == "holds" else reason
        return claim(full, ours=ours, verdict=found, recorded=recorded, scale=scale, why=why)

    return [row(*these) for these in order]


def caution(record: dict) -> str:
    """How much more than D_G the networks have learnt, which decides what their nearness to it is worth."""
    loss, learnt = record["resemblance"]["loss"], record["learnt"]
    more, half = (np.array(v) for v in learnt[MANY])
    better, worse = (
        ", ".join(f"{s:.3g}" for s, so in zip(learnt["sigmas"], which, strict=True) if so)
        for which in (more + half < 0, more - half > 0)
    )
    base, steps = loss["D_G"], {name: max(map(int, of)) for name, of in record["stopping"]["scores"].items()}
    one, other = record["halves"]["loss"].items()
    return (
        f"**Read the rows with this in mind.** The network of 50000 images was trained for {steps[MANY]} steps and "
        f"has {loss['D_θ'] / base:.3f} of the held-out loss of D_G; the second seed has "
        f"{record['seed']['loss'] / base:.3f}, and the halves, after {steps[one[0]]} steps, {one[1] / base:.3f} "
        f"and {other[1] / base:.3f}. It is better than D_G at σ = {better} and worse at {worse}. Where it is "
        "better it has learnt more than two moments and is near D_G all the same; where it is not, being near D_G "
        "may be for want of training."
    )


def pm(mean: float, half: float) -> str:
    """0.123 ± 0.004."""
    return f"{mean:.3f} ± {half:.3f}"


def copied(scores: dict) -> str:
    """15% (9–24): the share of 100 samples, with its exact 95 % interval."""
    count = round(100 * scores["memorized"])
    low, high = binomtest(count, 100).proportion_ci()
    return f"{count}% ({100 * low:.0f}–{100 * high:.0f})"


def _generalizes(part: dict):
    """C2, C2w, C2m and C9c."""
    last = {name: scores[max(scores, key=int)] for name, scores in part["scores"].items()}
    new = {name: last[name]["GL"] / part["GL of real images"][name] for name in last}
    many = [name for name in last if name not in (FEW, WIDE, MANY_WIDE)]
    copies = last[FEW]["memorized"] >= 0.9 and max(last[n]["memorized"] for n in (MANY, SECOND)) <= 0.02
    yield "C2", (
        f"memorized {copied(last[FEW])} at N = 256, {copied(last[MANY])} and {copied(last[SECOND])} at 50000; "
        f"GL over held-out {new[FEW]:.2f} at 256, ≥ {min(new[n] for n in many):.2f} for N ≥ 25000"
    ), verdict(copies, new[FEW] <= 0.5 and min(new[n] for n in many) >= 0.8)  # fmt: skip
    wide = {int(step): found for step, found in part["scores"][WIDE].items()}
    memory, near, fresh = last[WIDE]["memorized"] >= 0.9, new[WIDE] <= 0.5, wide[512]["memorized"] <= 0.02
    yield "C2w", (
        "N = 256, width 32: memorized " + ", ".join(f"{copied(found)} after {n} steps" for n, found in wide.items())
        + f"; GL over held-out {new[WIDE]:.2f}"
    ), verdict(memory, near) if fresh else "fails"  # fmt: skip
    late = {int(n): found for n, found in part["scores"][MANY_WIDE].items() if int(n) >= 8192}
    ratio = {n: found["GL"] / part["GL of real images"][MANY_WIDE] for n, found in late.items()}
    none = max(found["memorized"] for found in late.values()) <= 0.02
    yield "C2m", (
        "N = 50000, width 32: " + "; ".join(f"after {n} steps memorized {copied(found)}, GL over held-out "
        f"{ratio[n]:.2f}" for n, found in late.items())
    ), verdict(none, min(ratio.values()) >= 0.8) if none else "fails"  # fmt: skip
    steps, gaps = part["steps"], np.array(part["gap"]["training"])[:, 0]
    best = int(gaps.argmin())
    early = part["scores"][FEW][str(steps[best])]["GL"] / part["GL of real images"][FEW]
    first = 0 < best < len(steps) - 1 and gaps[best] <= 0.8 * gaps[-1]
    held = np.array(part["gap"]["held-out"])[:, 0]
    yield "C9c", (
        f"N = 256: least gap {pm(*part['gap']['training'][best])} at step {steps[best]} of {steps[-1]}, "
        f"{gaps[best] / gaps[-1]:.2f} of its last value; GL there {early:.2f} of held-out images'; on held-out "
        f"images least at step {steps[int(held.argmin())]}, {held.min() / held[-1]:.2f} of the last"
    ), "holds" if first and early >= 0.8 else "partly" if first else "fails"  # fmt: skip


def _linear(part: dict):
    """C3."""
    least = {n: {"raw": min(s["raw"]), "centred": min(s["centred"]), "deviation": max(s["deviation"])}
             for n, s in part.items() if n != "sigmas"}  # fmt: skip
    seeds = {what: abs(least[MANY][what] - least[SECOND][what]) for what in least[MANY]}
    rise = {what: least[MANY][what] - least[FEW][what] for what in seeds}
    good = -rise["deviation"] > seeds["deviation"]
    shown = {FEW: 256, "cifar-n25000": 25000, MANY: 50000, SECOND: "50000, seed 1"}
    return "C3", (
        "least raw / centred score, largest deviation: " + "; ".join(
            f"N = {n}: {least[k]['raw']:.3f} / {least[k]['centred']:.3f}, {least[k]['deviation']:.2f}"
            for k, n in shown.items())
    ), verdict(*(rise[what] > seeds[what] and good for what in ("raw", "centred")))  # fmt: skip


def _resembles(record: dict):
    """C4, C5, C6 and C6w; the levels 0 … 9 are those of the paper from 80 down to .002."""
    part, other = record["resemblance"], record["seed"]["ratio at .470, .117"]
    rmse = {kind: {name: np.array(e) for name, e in part["rmse"][kind].items()} for kind in KINDS}
    L = np.stack([rmse[kind]["D_L"][0] for kind in KINDS])
    close = (L[:, [0, 1, 2, 7, 8, 9]] <= 0.05).all(0)
    four = "holds" if close.all() and L[:, 3:7].max() <= 0.2 else "partly" if close.sum() >= 4 else "fails"
    yield "C4", (
        f"training / held-out: {L[0, 0]:.3f} / {L[1, 0]:.3f} at 80, {L[0, 2]:.3f} / {L[1, 2]:.3f} at 21.1, peak "
        f"{L[0].max():.3f} / {L[1].max():.3f}, {L[0, 7]:.3f} / {L[1, 7]:.3f} at .117, all ± "
        f"{max(rmse[k]['D_L'][1].max() for k in KINDS):.3f} or less"
    ), four  # fmt: skip
    nmse, al = np.array(part["nmse"]), np.array(part["aligned"])
    off = max(max(part["rmse of D_L and D_G"][kind][0]) for kind in KINDS)
    yield "C5", (
        f"RMSE ≤ {off:.3f}; weight NMSE ≤ {nmse.max():.3f}; mean correlation of ten vectors "
        + ", ".join(f"{a:.2f}" for a in al) + " from 80 to .117"
    ), verdict(off <= 0.05, (nmse <= 0.2).sum() >= 6, al.min() >= 0.9, need=2)  # fmt: skip
    ratio = {kind: rmse[kind]["D_M"][0] / rmse[kind]["D_G"][0] for kind in KINDS}
    held, explained = rmse["held-out"], part["explained"]["held-out"]
    yield "C6", (
        "ratio at .470 / .117: " + ", ".join(f"{k} {r[6]:.2f} / {r[7]:.2f}" for k, r in ratio.items())
        + "; second seed " + ", ".join(f"{other[k][0]:.2f} / {other[k][1]:.2f}" for k in KINDS)
        + f"; held-out peaks: D_M {pm(*held['D_M'][:, held['D_M'][0].argmax()])}, D_G "
        f"{pm(*held['D_G'][:, held['D_G'][0].argmax()])}; explained variance at .5, 1, 2, 5, held-out: D_G "
        + "; D_M ".join(", ".join(f"{v:.3f}" for v in explained[name]) for name in ("D_G", "D_M"))
    ), verdict(*(ratio[kind][6:8].min() >= 1.5 for kind in KINDS))  # fmt: skip
    wide, base = record["wide"]["ratio at .470, .117"], part["loss"]["D_G"]
    if record["wide"]["loss"] < part["loss"]["D_θ"]:  # else it has not learnt more, and says nothing new
        yield "C6w", (
            "ratio at .470 / .117: " + ", ".join(f"{k} {wide[k][0]:.2f} / {wide[k][1]:.2f}" for k in KINDS)
            + f"; held-out loss over that of D_G {record['wide']['loss'] / base:.3f}, of width 16 "
            f"{part['loss']['D_θ'] / base:.3f}"
        ), verdict(*(min(wide[kind]) >= 1.5 for kind in KINDS))  # fmt: skip


def show(v: list[float]) -> str:
    """0.50 [0.40, 0.60]."""
    return f"{v[0]:.2f} [{v[1]:.2f}, {v[2]:.2f}]"


def _halves(part: dict):
    """C10."""
    good = part["D_θ"][0] >= 0.8 and part["other noises"][0] <= 0.15
    return "C10", (
        f"two N = 25000: {show(part['D_θ'])}; other noises {show(part['other noises'])}; N = 256 and 25000 "
        f"{show(part['N = 256 and 25000'])}"
    ), "holds" if good else "fails"  # fmt: skip


def _samples(record: dict):
    """C11."""
    part, second = record["samples"], record["seed"]
    cosine, r2 = part["cosine"], part["R²"]
    first = cosine["D_G"][1] > cosine["D_M"][2]
    found = "fails" if not first else verdict(True, cosine["D_L"][0] >= cosine["D_G"][0])
    return "C11", (
        "; ".join(f"{name} cosine {show(cosine[name])}, R² {show(r2[name])}" for name in cosine)
        + f"; another seed of D_θ {show(second['cosine'])}, R² {show(second['R²'])}"
    ), found  # fmt: skip
