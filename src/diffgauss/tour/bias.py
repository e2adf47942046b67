"""The tour's sections on bias: skill, excess and position with intervals, and the distance of D_L from D_G."""

import jax
import numpy as np

from diffgauss.denoisers.gaussian import GaussianDenoiser
from diffgauss.estimate import Estimate
from diffgauss.measures.bias import linear_distance
from diffgauss.notebook import plots
from diffgauss.tour import compare
from diffgauss.tour.case import EACH, Case
from diffgauss.tour.page import Picture, Section, Table

TOLD, PLACED, FITTED = (4, 5, 6, 7), (4, 5, 6), (5, 6)
"""The levels 4.07, 1.50, .470 and .117 for skill and excess, those for position, and those for the distance."""

SEEN = 512
"""The most images that skill, excess and position are means of."""

GROUPS, WIDEST = 4, 1024
"""Groups of the jackknife, and the most pixel values for which the two plain fits are made."""

NARROW = 1
"""The most that half an interval may be, in per cent of D_G's squared error.

How many images it takes (``needed``) was measured with the posterior mean of ten Gaussians, fitted to clothes of
28×28 pixels, on draws of that mixture, where the distance is 0. At σ = .47 D_G keeps 151 directions, and 500 images
give 1.1 % (.6 to 1.6) of D_G's squared error, 1000 give .2 % (.0 to .5), and 2000 give .0 % (-.2 to .2).
"""


def points(d: int) -> int:
    """How many noisy points each of the three parts of ``linear_distance`` has at d pixel values."""
    return max(2048, 5 * d // 2)


def needed(D_G: GaussianDenoiser, sigma: float | jax.Array) -> int:
    """EACH · Σ λ/(λ + σ²) held-out images, and at least 5·GROUPS; the sum counts the directions that D_G keeps."""
    lam = np.asarray(D_G.lam, np.float64)
    return max(5 * GROUPS, int(np.ceil(EACH * (lam / (lam + float(sigma) ** 2)).sum())))


def fitted(D_G: GaussianDenoiser, test: np.ndarray, sigmas: jax.Array) -> list[int]:
    """The levels of FITTED at which the distance is computed from these held-out images."""
    return [i for i in FITTED if test[0].size <= WIDEST and len(test) >= needed(D_G, sigmas[i])]


def shares(case: Case) -> Section:
    """Skill and excess on held-out images, position on training images, with intervals.  Equations 32, 33, 35."""
    x0, seen, found = case.test[:SEEN], case.train[:SEEN], {"q": {}, "c*": {}, "p": {}}
    for i in TOLD:
        sigma, key = case.sigmas[i], jax.random.fold_in(case.key, 300 + i)
        asked = compare.shares(case.D_θ, case.D_G, case.D_M, x0, seen, sigma, key)
        found["q"][i], found["c*"][i] = asked["skill"](), asked["excess"]()
        if i in PLACED:
            found["p"][i] = asked["position"]()
    rows = [
        (f"{case.sigmas[i]:.3g}", *(_cell(part[i], 2) if i in part else "–" for part in found.values()))
        for i in TOLD
    ]
    q, c, p = (part[5] for part in found.values())
    short = (
        f"At σ = 1.5 the network's skill over D_G on held-out images is {_cell(q, 2)}, and its position between "
        f"D_G (0) and D_M (1) on training images is {_cell(p, 2)}."
    )
    return Section("Skill, excess and position", short, (
        "Two denoisers may be equally far from D_G in different directions. Three numbers tell such cases apart.",
        ("The skill q is the share of D_G's squared error that the network removes on held-out images: it tells "
         "how much more than mean and covariance the network uses, but not what. Below 0 the network is worse than "
         "D_G.",
         "The excess c* says how far to go from D_G towards the network, or past it, for the least error on "
         "held-out images: above 1 the network stays too close to D_G, but c* ≤ 1 excludes nothing, because the "
         "network's other errors lower it.",
         "The position p says where the network lies on noisy training images: p = 0 is D_G and p = 1 is D_M, "
         "which is pure memory. It does not tell how far the network is from the line between the two, and it "
         "means little at large σ, where the two coincide."),
        Picture(_drawn(case, found), f"Skill, excess and position with their intervals over σ; at 1.5 they are "
                f"{q.value:.2f}, {c.value:.2f} and {p.value:.2f}.",
                "Left: skill; 0 is D_G. Middle: excess; look for intervals that lie above 1. Right: position, from "
                "D_G at 0 to D_M at 1. Bars are 95 % intervals over images."),
        Table(f"Skill and excess on {len(x0)} noisy held-out images, position on {len(seen)} noisy training "
              "images, with 95 % intervals", ("σ", "q", "c*", "p"), rows),
    ))  # fmt: skip


def _drawn(case: Case, found: dict[str, dict[int, Estimate]]) -> plots.Figure:
    fig, axes = plots.figure(1, 3, size=(6.6, 2.5))
    titles = "skill q", "excess c*", "position p"
    for ax, title, part, marks in zip(axes, titles, found.values(), ((0,), (1,), (0, 1)), strict=True):
        value, low, high = np.array(list(part.values())).T
        ax.errorbar(
            case.sigmas[np.array(list(part))], value, (value - low, high - value), fmt="o-", capsize=3,
            markersize=4, color=plots.COLORS["D_θ"],
        )  # fmt: skip
        for mark in marks:
            ax.axhline(
                mark, color=plots.COLORS["D_M" if marks[1:] and mark else "D_G"], linestyle="--", linewidth=1
            )
        ax.set(xscale="log", xlabel="noise level σ", title=title, xlim=(0.08, 6))
    return fig


def linear_map(case: Case) -> Section:
    """The distance of D_L from D_G by fits on disjoint held-out images, where these can tell it.  Equation 36."""
    n, d, told, rows = len(case.test), case.test[0].size, [], []
    done = fitted(case.D_G, case.test, case.sigmas)
    for i in FITTED:
        sigma, key, said = case.sigmas[i], jax.random.fold_in(case.key, 400 + i), f"At σ = {case.sigmas[i]:.3g} "
        if i not in done:
            few = (
                f"{n} held-out images, where about {need} are needed"
                if n < (need := needed(case.D_G, sigma))
                else ""
            )
            wide = f"{d} pixel values, where at most {WIDEST} are fitted" if d > WIDEST else ""
            reasons = ", and ".join(filter(None, (few, wide)))
            told.append(f"{said}the distance of D_L from D_G cannot be told: there are {reasons}.")
            continue
        found = linear_distance(
            case.D_θ, case.D_G, case.test, sigma, key=key, samples=points(d), groups=GROUPS
        )  # fmt: skip
        share = Estimate(*(100 * v / _error(case, i) for v in found))
        told.append(said + verdict(share))
        root = f"{found.value**0.5:.3f}" if found.value > 0 else "–"
        rows.append((f"{sigma:.3g}", _cell(found, 5), root, _cell(share, 1)))
    table = Table(
        f"Distance of D_L from D_G, from two fits to {points(d)} noisy held-out images each, with intervals",
        ("σ", "mean square", "root", "% of D_G's squared error"), rows,
    )  # fmt: skip
    wide = (
        f"The distance is not computed for more than {WIDEST} pixel values, because each group of images would "
        f"need matrices of {d}×{d} numbers, which take minutes and gigabytes. The map D_L of the other sections "
        "is no substitute: it is drawn towards D_G, and differs from it along few components. A smaller --size, or "
        "--grey, makes the distance computable."
    )
    return Section("Is the linear map Gaussian?", told[0], (
        "How far is the network's best linear map from D_G? Two maps are fitted by plain least squares to disjoint "
        "held-out images. The mean product of their differences from D_G estimates the mean square distance "
        "without counting the error of either fit. Training images would tell nothing: on them, the best linear "
        "map of a network that memorizes is D_G too.",
        tuple(told),
        *((table,) if rows else ()),
        *((wide,) if d > WIDEST else ()),
        f"About {EACH} held-out images are needed for each direction that D_G keeps at that level (the sum of "
        "λ/(λ + σ²) over the eigenvalues λ); with fewer, even a denoiser whose distance is 0 seems to have one. A "
        "small distance is no sign of a bias, because the best linear map of every good denoiser is D_G. A "
        "distance above 0 says that the network errs on held-out images in a way that a linear map sees, or that "
        "D_G, from few training images, is not yet that of all.",
    ))  # fmt: skip


def verdict(share: Estimate) -> str:
    """What the mean square distance, in per cent of D_G's mean squared error, says: half a sentence."""
    _, low, high = share
    interval = f"interval from {_number(low, 1)} to {_number(high, 1)} % of D_G's squared error."
    if high <= NARROW:
        return f"D_L is D_G to within {NARROW} %: {interval}"
    if low > 0:
        return f"D_L differs from D_G: {interval}"
    if (high - low) / 2 <= NARROW:
        return f"no distance of D_L from D_G is found: {interval}"
    return f"the distance of D_L from D_G cannot be told: {interval}"


def _error(case: Case, level: int) -> float:
    """E‖D_G(x; σ) − x₀‖²/d over the noisy held-out images of ``Case.noisy``."""
    x0, x = case.noisy(case.test, level)
    return float(((case.D_G(x, case.sigmas[level]) - x0) ** 2).mean())


def _cell(found: Estimate, digits: int) -> str:
    value, low, high = (_number(v, digits) for v in found)
    return f"{value} ({low} to {high})"


def _number(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # never -0
