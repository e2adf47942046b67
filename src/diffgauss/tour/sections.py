"""The sections of the tour's page, each one measurement of a ``Case`` with its figure and table, in their order."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from diffgauss.core import Denoiser, apply
from diffgauss.measures.agreement import sample_cosine, sample_r2
from diffgauss.measures.distance import generalization, score_rmse
from diffgauss.measures.linearity import linearity
from diffgauss.nets.unet import parameters
from diffgauss.notebook import plots
from diffgauss.ode import sample, trajectory
from diffgauss.tour.case import DISTILLED, EACH, PAIRS, SAMPLES, Case, components, copies
from diffgauss.tour.page import Picture, Section, Table, over_levels
from diffgauss.zoo.runs import computer
from diffgauss.zoo.scoring import weighted_loss

SHOWN = [2, 4, 5, 6, 7]
"""The levels whose pictures are shown: 21, 4.1, 1.5, .47 and .12."""


def pictures(case: Case) -> Section:
    """Some training images and how many there are."""
    fig, ax = plots.figure(size=(5.0, 2.0))
    shown = np.resize(case.train[:24], (3, 8, *case.train.shape[1:]))
    plots.images(shown, ax=ax)
    rows = [("training", str(len(case.train))), ("held-out", str(len(case.test)))]
    _, side, _, channels = case.train.shape
    within, between = copies(case.train, case.test)
    said = f"{within} of the training images are exact copies of others among them. " if within else ""
    said += f"{between} of the held-out images are exact copies of training images. " if between else ""
    unseen = "the other held-out images" if between else "the held-out images"
    return Section("The images", "", (
        f"{side}×{side} pixels in {'colour' if channels == 3 else 'grey'}, values from {case.train.min():.2g} to "
        f"{case.train.max():.2g}. {said}The network, D_G and D_M have never seen {unseen}; "
        "D_L is fitted to what the network answers on the held-out images.",
        Picture(fig, "Twenty-four of the training images.", "Twenty-four training images, drawn at random."),
        Table("Number of images", ("set", "images"), rows),
    ))  # fmt: skip


def spectrum(case: Case) -> Section:
    """Mean, principal components and eigenvalues of the covariance: all that D_G knows.  Equation 7."""
    lam, d = np.asarray(case.D_G.lam), case.train[0].size
    share = np.cumsum(lam) / lam.sum()
    parts = np.asarray(case.D_G.U)[:, :7].T.reshape(-1, *case.train.shape[1:])
    parts = parts / np.abs(parts).max((1, 2, 3), keepdims=True)
    strip, ax = plots.figure(size=(5.0, 1.0))
    labels = ["mean", *(f"PC {i + 1}" for i in range(len(parts)))]
    plots.images(np.concatenate([np.asarray(case.D_G.mean)[None], parts])[None], ax=ax, column_labels=labels)
    curve, ax = plots.figure(size=(5.0, 3.4))
    kept = lam > 1e-6 * lam[0]
    ax.plot(np.arange(1, len(lam) + 1)[kept], lam[kept], color=plots.COLORS["D_G"])
    ax.set(xscale="log", yscale="log", xlabel="component", ylabel="eigenvalue")
    parts_needed = [(f"{p} %", f"{np.searchsorted(share, p / 100) + 1} of {len(lam)}") for p in (50, 90, 99)]
    short = f"{parts_needed[1][1]} principal components hold 90 % of the variance of the training images."
    return Section("Mean and covariance", short, (
        f"The Gaussian denoiser D_G knows two things about the {len(case.train)} training images: their mean and "
        f"their covariance, a matrix of {d}×{d} numbers. The covariance has principal components (PCs), which are "
        "directions in the space of images, and an eigenvalue for each, the variance along it.",
        Picture(strip, f"The mean image and the first {len(parts)} principal components.",
                "The mean, then components from the largest variance down; mid-grey is zero. Usually the first are "
                "smooth, such as brightness and slow gradients, and later ones are finer."),
        Picture(curve, f"Eigenvalues against their number, both axes logarithmic, falling from {lam[0]:.3g}.",
                "Most sets of images fall steeply here: few directions hold most of the variance."),
        Table("Components that hold a share of all variance", ("share of variance", "components"), parts_needed),
    ))  # fmt: skip


def two_denoisers(case: Case) -> Section:
    """A held-out image denoised by D_G and D_M at five levels; how many images D_M averages.  Equations 4, 7."""
    columns, counts = [], []
    for i in SHOWN:
        (x0, x), s = case.noisy(case.test, i), case.sigmas[i]
        columns.append(
            jnp.concatenate([x0[:1], x[:1] / jnp.sqrt(1 + s**2), case.D_G(x[:1], s), case.D_M(x[:1], s)])
        )
        counts.append(np.median(np.exp(case.D_M.entropy(x, s))))
    levels = [f"σ = {case.sigmas[i]:.2g}" for i in SHOWN]
    fig, ax = plots.figure(size=(5.0, 4.0))
    names = ("image", "noisy", "$D_G$", "$D_M$")
    plots.images(np.stack(columns, 1), ax=ax, row_labels=names, column_labels=levels)
    short = f"At {levels[-2]} the best denoiser of the training images, D_M, averages {counts[-2]:.1f} of them."
    return Section("Two denoisers without a network", short, (
        "Noise of standard deviation σ is added to an image, and a denoiser guesses the image. D_G is the best "
        "that is linear. D_M is the best of all on the training images alone, and the exact minimum of the loss "
        "that a network is trained on: it averages the training images, near ones most.",
        Picture(fig, "One held-out image in four rows: clean, noisy, denoised by D_G, and by D_M, at five levels.",
                "An image that neither has seen; noisy ones are dimmed to fit. At large σ both answer with blurs "
                "near the mean. At small σ D_G returns the image almost unharmed, and D_M can only return the "
                "training image nearest to it."),
        Table("Training images behind one answer of D_M: e to the entropy of its weights, median of "
              f"{PAIRS} noisy held-out images", ("noise level", "images"),
              [(name, f"{n:.1f} of {len(case.train)}") for name, n in zip(levels, counts, strict=True)]),
    ))  # fmt: skip


def training(case: Case) -> Section:
    """The loss curve, the losses of all four, and their errors on held-out images over σ.  Equation 3."""
    loss = {
        name: [weighted_loss(D, images, config=case.config) for images in (case.train, case.test)]
        for name, D in case.all.items()
    }
    errors = {
        name: case.over_levels(lambda x0, x, s, D=D: score_rmse(D, _knows(x0), x, s), case.test)
        for name, D in case.all.items()
    }
    least = np.argmin(list(errors.values()), 0)
    wins = ", ".join(f"{name} at {(least == i).sum()}" for i, name in enumerate(errors))
    finding = verdict(loss["D_θ"][1], loss["D_G"][1])
    return Section("What the network learnt", finding, (
        f"{_seen(case)} The linear map D_L closest to it on {len(case.test)} held-out images was then computed in "
        "closed form at ten levels.",
        finding,
        *_curve(case, loss["D_G"][0]),
        Table("Loss, weighted as in training: mean over 1024 noisy images, of "
              f"{min(1024, len(case.train))} training and {min(1024, len(case.test))} held-out images",
              ("denoiser", "training", "held-out"), [(n, f"{a:.3f}", f"{b:.3f}") for n, (a, b) in loss.items()]),
        "D_M has the least loss on training images. Its loss on held-out images is higher because it only "
        "remembers; the same gap in the network's row would mean that the network remembers too.",
        over_levels(case.sigmas, errors, "error (RMSE)",
                    f"Error of four denoisers over σ, {min(map(np.min, errors.values())):.3f} at the least and "
                    f"{max(map(np.max, errors.values())):.2f} at most.",
                    f"Distance of each answer from the clean image, root mean square over pixels, which run from "
                    f"-1 to 1; mean of {PAIRS} noisy held-out images. The least error of the ten levels: {wins}."),
    ))  # fmt: skip


def _seen(case: Case) -> str:
    here = f"A small U-Net saw {case.config.batch} noisy images in each of {len(case.losses)} steps."
    return here if len(case.losses) else "The network was read from a folder, as it was trained elsewhere."


def _curve(case: Case, gauss: float) -> list[Picture]:
    """The training loss, if the network was trained here."""
    if not len(case.losses):
        return []
    chunks = np.array_split(case.losses, min(64, len(case.losses)))
    means = [float(chunk.mean()) for chunk in chunks]
    fig, ax = plots.figure(size=(5.0, 3.4))
    plots.curves(np.cumsum([*map(len, chunks)]), {"$D_θ$": means, "$D_G$": np.full(len(means), gauss)}, ax=ax)
    ax.set(xlabel="training step", ylabel="loss", yscale="log")
    said = f"Training loss of the network, from {means[0]:.2f} to {means[-1]:.2f}, and the loss of D_G."
    look = (
        "Below the line of D_G a network denoises training images better than any linear map. The curve is noisy: "
    )
    return [Picture(fig, said, look + "each step draws new images, levels and noise.")]


def verdict(network: float, gauss: float) -> str:
    """What the held-out losses of a network and of D_G say; 2 % apart counts as equal."""
    told = f" (held-out loss {network:.3f}, D_G {gauss:.3f})."
    if network < 0.98 * gauss:
        return "The network has learnt more than a Gaussian" + told
    if network <= 1.02 * gauss:
        return "The network has learnt about as much as a Gaussian, and may only imitate it" + told
    return (
        "The network has not learnt more than a Gaussian"
        + told
        + " Train it longer before you conclude anything from "
        "its curves and samples."
    )


def _knows(x0: jax.Array) -> Denoiser:
    """The denoiser that answers with the clean images."""
    return jax.tree_util.Partial(_first, x0)


def _first(x0, x, sigma):
    return x0


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
        "close to D_G, and far from D_M, although D_M has the least training loss. D_L was fitted on the held-out "
        "images, so its distance on training images is the one that it was not fitted to.",
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
    here = {"training steps": str(len(case.losses)), "batch, rate": f"{case.config.batch}, {case.config.rate}"}
    settings = settings | (here if len(case.losses) else {}) | {
        "mean, spread of ln σ": law, "deviation of the pixels": f"{case.config.sigma_data:.3f}",
        "processor": facts["processor"], "devices": facts["devices"],
    } | facts["versions"]  # fmt: skip
    return Section("What this run cannot show", "", (
        ("This is one network, trained elsewhere. " if not len(case.losses) else
         f"This is one small network of {parameters(case.D_θ)} numbers, trained for {len(case.losses)} steps from "
         "one seed. ") + "A longer run or a second seed would move every number; a difference of a few per cent is "
        "no finding.",
        "A network that is short of training resembles D_G for that reason alone. Resemblance means something "
        "where the network's held-out loss is below that of D_G." + few + again,
        f"D_L differs from D_G along at most {components(case.D_G, case.test)} principal components, the "
        f"first ones, and was fitted to {DISTILLED} noisy copies of the {len(case.test)} held-out images a level. "
        f"There is one for every {EACH} of these images at most, because with more D_L would describe these alone. "
        "The intervals are over images, not over networks trained anew.",
        Table("Settings", ("what", "value"), list(settings.items())),
    ))  # fmt: skip


def _answers(D, noise, sigmas) -> np.ndarray:
    """D(x(σ); σ) along one path: (10, s, s, c)."""
    return np.concatenate([apply(D, x, s) for x, s in zip(trajectory(D, noise, sigmas), sigmas, strict=True)])


def _agreement(made: np.ndarray, reference: np.ndarray | None, u: np.ndarray) -> Sequence[str]:
    if reference is None:
        return "–", "–"
    found = (measure(made, reference, mean=u) for measure in (sample_r2, sample_cosine))
    return [f"{v.value:.2f} ({v.low:.2f} to {v.high:.2f})" for v in found]
