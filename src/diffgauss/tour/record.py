"""The record of one denoiser: its numbers, a table of them and a figure."""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import betaincinv

from diffgauss.estimate import Estimate
from diffgauss.notebook import plots


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` measured, {σ: estimate} for what has levels. Empty or None: not asked for, or not possible.

    images, held_out: how many; alignment: the cosine between the Jacobian of D and the matrix of D_G along the 32
    leading components, 1 for D_G (singular vectors themselves are arbitrary where singular values are nearly
    equal, as at low σ); linear_distance: the mean square, which may be negative; r2_*: agreement of samples with
    those of D_G, D_M and D_L from the same noise; memorized: the share of samples that are copies; pull: a, the
    share of the way from D_G to the ideal denoiser (``dg.pull``), so that 1 − a is the pull.
    """

    images: int
    held_out: int
    skill: dict[float, Estimate] = field(default_factory=dict)
    excess: dict[float, Estimate] = field(default_factory=dict)
    position: dict[float, Estimate] = field(default_factory=dict)
    linearity: dict[float, float] = field(default_factory=dict)
    alignment: dict[float, Estimate] = field(default_factory=dict)
    linear_distance: dict[float, Estimate] = field(default_factory=dict)
    pull: dict[float, Estimate] = field(default_factory=dict)
    r2_gaussian: Estimate | None = None
    r2_empirical: Estimate | None = None
    r2_linear: Estimate | None = None
    memorized: float | None = None
    samples: int = 0

    def table(self) -> str:
        """The numbers as a Markdown table, a row a level, and a line on the samples."""
        names = [name for name in MEASURES if getattr(self, name)]
        rows = [("σ", *(SHOWN.get(name, name) for name in names)), ("---",) * (1 + len(names))]
        for sigma in self.skill:
            cells = (getattr(self, name).get(sigma) for name in names)
            rows.append((f"{sigma:g}", *map(_cell, cells)))
        of = {"D_G": self.r2_gaussian, "D_M": self.r2_empirical, "D_L": self.r2_linear}
        told = ", ".join(f"{name} {_cell(value)}" for name, value in of.items() if value is not None)
        body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        return f"{body}\n\nR² of samples to those of {told}; copies: {self._copies()}."

    def _copies(self) -> str:
        """The share of copies, and its largest value by the interval of Clopper & Pearson (1934), 95 %."""
        k, n = round((self.memorized or 0) * self.samples), self.samples
        most = 1.0 if k == n else float(betaincinv(k + 1, n - k, 0.975))
        return f"{k / n:.0%} of {n} (95 %: at most {most:.0%} of all)"

    def figure(self) -> plots.Figure:
        """A panel for each measure that has levels, over σ, with intervals and the values that mean something."""
        names = [name for name in MEASURES if getattr(self, name)]
        rows = -(-len(names) // 4)
        fig, axes = plots.figure(rows, 4, size=(8.8, 2.4 * rows))
        for ax in axes.flat[len(names) :]:
            ax.remove()
        for ax, name in zip(axes.flat, names, strict=False):
            found = getattr(self, name)
            y, low, high = np.array([v if isinstance(v, tuple) else (v,) * 3 for v in found.values()]).T
            ax.errorbar(list(found), y, (y - low, high - y), fmt="o-", ms=4, capsize=2, color=plots.COLORS["D_θ"])
            for mark in MEASURES[name]:
                ax.axhline(mark, color="0.6", lw=1, ls="--")
            ax.set(xscale="log", xlabel="noise level σ", title=SHOWN.get(name, name).replace("_", " "))
        return fig


MEASURES = {
    "skill": (0,), "excess": (1,), "position": (0, 1), "linearity": (1,), "alignment": (1,),
    "linear_distance": (0,), "pull": (1,),
}  # fmt: skip
"""The measures that have levels, with the values to compare them with."""

SHOWN = {"pull": "a (pull: 1 − a)"}


def _cell(value: Estimate | float | None) -> str:
    if value is None:
        return "–"
    return "{:.3g} [{:.3g}, {:.3g}]".format(*value) if isinstance(value, tuple) else f"{value:.3g}"
