"""First stations of ``diffgauss tour``: what the images are like, and how well four denoisers do on them."""

import jax
import jax.numpy as jnp
import numpy as np

from diffgauss import plots
from diffgauss._core import Denoiser
from diffgauss.case import PAIRS, Case
from diffgauss.evaluate import weighted_loss
from diffgauss.metrics import score_rmse
from diffgauss.report import Picture, Section, Table, over_levels

SHOWN = [2, 4, 5, 6, 7]
"""The levels whose pictures are shown: 21, 4.1, 1.5, .47 and .12."""


def pictures(case: Case) -> Section:
    """Some training images and how many there are."""
    fig, ax = plots.figure(size=(5.0, 2.0))
    shown = np.resize(case.train[:24], (3, 8, *case.train.shape[1:]))
    plots.images(shown, ax=ax)
    rows = [("training", str(len(case.train))), ("held-out", str(len(case.test)))]
    n, side, _, channels = case.train.shape
    return Section("The images", "", (
        f"{side}×{side} pixels in {'colour' if channels == 3 else 'grey'}, values from -1 to 1. Nothing below has "
        "seen the held-out images, except where it is tested on them.",
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
    chunks = np.array_split(case.losses, min(64, len(case.losses)))
    means = [float(chunk.mean()) for chunk in chunks]
    fig, ax = plots.figure(size=(5.0, 3.4))
    steps = np.cumsum([len(chunk) for chunk in chunks])
    plots.curves(steps, {"$D_θ$": means, "$D_G$": np.full(len(means), loss["D_G"][0])}, ax=ax)
    ax.set(xlabel="training step", ylabel="loss", yscale="log")
    errors = {
        name: case.over_levels(lambda x0, x, s, D=D: score_rmse(D, _knows(x0), x, s), case.test)
        for name, D in case.all.items()
    }
    least = np.argmin(list(errors.values()), 0)
    wins = ", ".join(f"{name} at {(least == i).sum()}" for i, name in enumerate(errors))
    finding = verdict(loss["D_θ"][1], loss["D_G"][1])
    return Section("What the network learnt", finding, (
        f"A small U-Net saw {case.config.batch} noisy images in each of {len(case.losses)} steps. The linear map "
        "D_L closest to it was then computed in closed form at ten noise levels.",
        finding,
        Picture(fig, f"Training loss of the network, from {means[0]:.2f} to {means[-1]:.2f}, and the loss of D_G.",
                "Below the line of D_G a network denoises training images better than any linear map. The curve is "
                "noisy: each step draws new images, levels and noise."),
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
