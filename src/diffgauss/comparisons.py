"""Last stations of ``diffgauss tour``: how linear the network is, what it resembles, and what it makes of noise."""

from collections.abc import Sequence

import numpy as np

from diffgauss import plots
from diffgauss.agreement import sample_cosine, sample_r2
from diffgauss.case import DISTILLED, PAIRS, RANK, SAMPLES, Case, answer
from diffgauss.denoisers.unet import parameters
from diffgauss.linear_metrics import linearity
from diffgauss.metrics import generalization, score_rmse
from diffgauss.ode import sample, trajectory
from diffgauss.report import Picture, Section, Table, over_levels
from diffgauss.runs import computer


def linear(case: Case) -> Section:
    """The linearity score of the network at ten levels, raw and centred.  Equation 8."""
    half = PAIRS // 2
    raw, centred = (
        case.over_levels(lambda _, x, s, u=u: linearity(case.D_θ, x[:half], x[half:], s, mean=u), case.test)
        for u in (None, case.D_G.mean)
    )
    where = f"{case.sigmas[int(np.argmin(centred))]:.2g}"
    short = f"The network's centred linearity score is at least {centred.min():.3f}, lowest at σ = {where}."
    return Section("How linear the network is", short, (
        "The linearity score compares the network's answer to a mixture of two noisy images with the same mixture "
        "of its two answers, as the cosine between them: 1 for a linear map. Centred, the mean image is taken off "
        "first, which makes the score of every D_G exactly 1.",
        over_levels(case.sigmas, {"centred": centred, "raw": raw}, "linearity score",
                    f"Linearity score of the network over σ, at least {centred.min():.3f} centred.",
                    "Networks that generalize stay close to 1, with their lowest score at a middle σ; networks "
                    f"that memorize dip further. The lowest here: {centred.min():.3f} centred, at σ = {where}, and "
                    f"{raw.min():.3f} raw; means of {half} pairs of noisy held-out images."),
    ))  # fmt: skip


def distances(case: Case) -> Section:
    """RMSE of D_L, D_G and D_M from D_θ over σ, on held-out and on training images.  Equation 6."""
    others = {name: D for name, D in case.all.items() if name != "D_θ"}
    held, seen = (
        {n: case.over_levels(lambda _, x, s, D=D: score_rmse(case.D_θ, D, x, s), images) for n, D in others.items()}
        for images in (case.test, case.train)
    )
    closer = (held["D_G"] < held["D_M"]).sum()
    peaks = ", ".join(f"{h.max():.3f} of {n}" for n, h in held.items())
    rows = [
        (f"{s:.3g}", *(f"{part[n][i]:.3f}" for part in (held, seen) for n in others))
        for i, s in enumerate(case.sigmas)
    ]
    short = f"On held-out images D_G is closer to the network than D_M is at {closer} of ten noise levels."
    return Section("What the network resembles", short, (
        "The claim of Li, Dai and Qu (2024): a network that generalizes is close to its linear map D_L, which is "
        "close to D_G, and far from D_M, although D_M has the least training loss.",
        over_levels(case.sigmas, held, "distance from $D_θ$ (RMSE)",
                    f"Distance of D_L, D_G and D_M from the network over σ; the largest are {peaks}.",
                    f"Lower is more alike. On held-out images D_G is closer to the network than D_M is at {closer} "
                    f"of the ten levels. The largest distances: {peaks}."),
        Table(f"Distance from the network: RMSE over {PAIRS} noisy images, held-out and training",
              ("σ", *(f"{n} {which}" for which in ("held-out", "training") for n in others)), rows),
    ))  # fmt: skip


def samples(case: Case) -> Section:
    """Samples and paths of all four from the same noise, how new they are, how far they agree.  Equations 1, 9."""
    u = np.asarray(case.D_G.mean)
    made = {name: np.asarray(sample(D, case.noise, case.sigmas)) for name, D in case.all.items()}
    names, levels = [f"${name}$" for name in made], [f"{s:.2g}" for s in case.sigmas]
    fig, ax = plots.figure(size=(5.0, 2.6))
    plots.images(np.stack([m[:8] for m in made.values()]), ax=ax, row_labels=names)
    walk, ax = plots.figure(size=(5.0, 2.4))
    answers = np.stack([_answers(D, case.noise[:1], case.sigmas) for D in case.all.values()])
    plots.images(answers, ax=ax, row_labels=names, column_labels=levels)
    new = {name: generalization(m, case.train) for name, m in made.items()}
    real = generalization(case.test[:SAMPLES], case.train)
    rows = [
        (n, f"{g.GL:.3f}", f"{g.memorized:.0%}", *_agreement(made[n], made["D_θ"] if n != "D_θ" else None, u))
        for n, g in new.items()
    ]
    rows.append(("held-out images", f"{real.GL:.3f}", f"{real.memorized:.0%}", "–", "–"))
    short = (
        f"Samples of the network have GL {new['D_θ'].GL:.3f} (held-out images {real.GL:.3f}, copies 0), and "
        f"{new['D_θ'].memorized:.0%} are memorized; R² with those of D_G from the same noise: {rows[2][3]}."
    )
    return Section("Samples from the same noise", short, (
        "Each denoiser turns the same noise into images, by Heun's rule through the ten levels.",
        Picture(fig, "Eight samples of each of the four denoisers; every column starts from one noise.",
                "Where two rows look alike in a column, the two denoisers agree. Samples of D_G are smooth "
                "blotches with the right mean and covariance; samples of D_M are training images."),
        Picture(walk, "What each of the four denoisers answers along its path, at ten noise levels.",
                "One noise; the label of a column is its σ. All start near the mean image."),
        Table(f"How new {SAMPLES} samples are, and how far they agree with the network's (with 95 % intervals)",
              ("source", "GL", "memorized", "R² to D_θ", "cosine to D_θ"), rows),
        "GL is the distance to the nearest training image, divided by the sample's norm: 0 for copies. As new as "
        f"real images means {real.GL:.3f}, the value of {min(SAMPLES, len(case.test))} held-out ones; what is left "
        "of noise scores higher still. Memorized is the share of samples at least three times closer to one "
        "training image than to the next. R² and cosine compare samples of the same noise about the mean image; 1 "
        "is full agreement, 0 none.",
    ))  # fmt: skip


def limits(case: Case, settings: dict[str, str]) -> Section:
    """What the numbers do not show, and all that is needed to get them again."""
    n, d, facts = len(case.train), case.train[0].size, computer()
    few = f" With fewer images than the {d} pixel values, D_G knows {n - 1} directions at most." if n <= d else ""
    again = (
        f" The {len(case.test)} held-out images are repeated with other noise." if len(case.test) < PAIRS else ""
    )
    law = f"{case.config.sigma_mean}, {case.config.sigma_std}"
    settings = settings | {
        "training steps": str(len(case.losses)), "batch, rate": f"{case.config.batch}, {case.config.rate}",
        "mean, spread of ln σ": law, "deviation of the pixels": f"{case.config.sigma_data:.3f}",
        "processor": facts["processor"], "devices": facts["devices"],
    } | facts["versions"]  # fmt: skip
    return Section("What this run cannot show", "", (
        f"This is one small network of {parameters(case.D_θ)} numbers, trained for {len(case.losses)} steps from "
        "one seed. A longer run or a second seed would move every number; a difference of a few per cent is no "
        "finding.",
        "A network that is short of training resembles D_G for that reason alone. Resemblance means something "
        "where the network's held-out loss is below that of D_G." + few + again,
        f"D_L differs from D_G along the first {min(RANK, len(case.D_G.lam))} principal components only, and was "
        f"fitted to {DISTILLED} noisy training images a level. The intervals are of the samples drawn, not of "
        "training anew.",
        Table("Settings", ("what", "value"), list(settings.items())),
    ))  # fmt: skip


def _answers(D, noise, sigmas) -> np.ndarray:
    """D(x(σ); σ) along one path: (10, s, s, c)."""
    return np.concatenate([answer(D, x, s) for x, s in zip(trajectory(D, noise, sigmas), sigmas, strict=True)])


def _agreement(made: np.ndarray, reference: np.ndarray | None, u: np.ndarray) -> Sequence[str]:
    if reference is None:
        return "–", "–"
    found = (measure(made, reference, mean=u) for measure in (sample_r2, sample_cosine))
    return [f"{v.value:.2f} ({v.low:.2f} to {v.high:.2f})" for v in found]
