"""Figures from arrays: ``f(arrays, *, ax=None) -> Axes``. One colour for each denoiser, everywhere."""

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import DisplayHandle, display
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike
from PIL import Image
from tqdm.auto import tqdm

COLORS = {
    "D_θ": "#0072B2", "D_L": "#009E73", "D_G": "#D55E00", "D_M": "#CC79A7", "data": "#999999", "exact": "#000000",
    "D_mix": "#E69F00", "D_loc": "#56B4E9", "D_{scr}": "#882255",
}  # fmt: skip
"""The colour-blind safe palette of Okabe & Ito (2008), and the wine of Tol's (2021)."""

DPI = 100
"""Pixels an inch on the page; a picture has twice as many, for screens that show them."""

CURVES = 5
"""The most curves that a legend names: more are hard to tell apart. Symbols without a line do not count."""

_STYLE = mpl.rc_params_from_file(str(Path(__file__).with_name("style.mplstyle")), use_default_template=False)


def figure(rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (6.0, 4.0)) -> tuple[Figure, Any]:
    """A styled Figure, free of pyplot's state, and its Axes (an array for more than one). size: inches."""
    with mpl.rc_context(_STYLE):
        fig = Figure(figsize=size)
        return fig, fig.subplots(rows, columns)


def show(fig: Figure, alt: str, *, paper: str = "", **where: Any) -> None:
    """Put the figure into the notebook with its description for those who cannot see it.

    paper: the figures of Li et al. (2024) whose counterpart it is, such as "F2 F3", for RESULTS.md; where:
    for IPython's display, see ``Live``. Raises ValueError for an empty alt, and as ``legible`` does.
    """
    if not alt.strip():
        raise ValueError("got an empty alt text; needs a sentence that says what the figure shows")
    legible(fig)
    width, height = (round(DPI * inches) for inches in fig.get_size_inches())
    about: dict[str, Any] = {"alt": alt, "width": width, "height": height} | ({"paper": paper} if paper else {})
    display({"image/png": png(fig), "text/plain": alt}, raw=True, metadata={"image/png": about}, **where)


def legible(fig: Figure) -> None:
    """Raise ValueError where a legend names more than ``CURVES`` curves."""
    for legend in filter(None, (ax.get_legend() for ax in fig.axes)):
        drawn = [h for h in legend.legend_handles if isinstance(h, Line2D | LineCollection)]
        curves = [h for h in drawn if isinstance(h, LineCollection) or h.get_linestyle() != "None"]
        if len(curves) > CURVES:
            raise ValueError(
                f"got a legend of {len(curves)} curves; needs at most {CURVES}: write names beside curves (ax.text)"
            )


class Live:
    """One picture that is drawn anew while its cell runs, as when a network trains; the last one stays."""

    def __init__(self) -> None:
        self.handle, self.shown = DisplayHandle(), False

    def show(self, fig: Figure, alt: str) -> None:
        """Put the figure into the notebook, or in place of the one before. Raises ValueError for an empty alt."""
        show(fig, alt, display_id=self.handle.display_id, update=self.shown)
        self.shown = True


def png(fig: Figure, scale: float = 2) -> bytes:
    """The figure as PNG bytes of scale·DPI pixels an inch, in 64 greys or, if it has colours, in at most 256."""
    buffer = io.BytesIO()
    _compact(_drawn(fig, round(scale * DPI))).save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def animation(
    draw: Callable[..., Any],
    frames: Sequence[Any],
    alt: str,
    *,
    size: tuple[float, float] = (6.0, 4.0),
    seconds: float = 0.2,
    rest: float = 1.5,
    paper: str = "",
) -> None:
    """Put a GIF of draw(ax, frame) for each frame into the notebook, over and over, with its description.

    size: inches; seconds: of each frame; rest: more of them for the last. All frames share one palette, so that
    nothing flickers. Raises ValueError for an empty alt, for fewer than two frames, and as ``legible`` does.
    """
    if not alt.strip() or len(frames) < 2:
        raise ValueError(f"got {len(frames)} frames and alt {alt!r}; needs at least 2 and a sentence")
    pictures = []
    for frame in tqdm(frames, "frames", leave=False):
        fig, ax = figure(size=size)
        draw(ax, frame)
        legible(fig)
        pictures.append(_drawn(fig, DPI))
    palette = _compact(pictures[-1])
    whole = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    buffer, times = io.BytesIO(), [int(1000 * seconds)] * (len(frames) - 1) + [int(1000 * (seconds + rest))]
    whole[0].save(
        buffer, format="gif", save_all=True, append_images=whole[1:], duration=times, loop=0, optimize=True
    )
    source = f"data:image/gif;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    page = f'<img alt="{html.escape(alt)}" width="{pictures[0].width}" src="{source}">'
    about = {"alt": alt} | ({"paper": paper} if paper else {})
    display({"text/html": page, "text/plain": alt}, raw=True, metadata={"text/html": about})


def _drawn(fig: Figure, dpi: int) -> Image.Image:
    buffer = io.BytesIO()
    with mpl.rc_context(_STYLE):
        fig.draw_without_rendering()  # one pass of the layout more: after one, labels beside images may be cut
        fig.savefig(buffer, format="png", dpi=dpi)
    return Image.open(buffer).convert("RGB")


COARSE = 6.0  #: of 255, root mean square: further off than any drawing is


def _compact(picture: Image.Image) -> Image.Image:
    """The picture with a palette: multiples of 4 grey levels, which no eye tells apart, or 256 colours.

    Where these are far off, as for photographs, the palette is fitted to the picture, which keeps its saturation.
    """
    pixels = np.asarray(picture)
    if (pixels == pixels[..., :1]).all():
        grey = Image.fromarray(np.rint(pixels[..., 0] * (63 / 255)).astype(np.uint8))
        grey.putpalette(np.repeat(np.linspace(0, 255, 64).round().astype(np.uint8), 3).tobytes())
        return grey
    small = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    off = np.asarray(small.convert("RGB"), float) - np.asarray(picture, float)
    if np.sqrt((off**2).mean()) <= COARSE:
        return small
    return picture.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=1, dither=Image.Dither.NONE)


def curves(
    x: ArrayLike,
    lines: Mapping[str, ArrayLike],
    *,
    ax: Axes | None = None,
    bands: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    **line: Any,
) -> Axes:
    """One curve for each entry of lines, label → (n,) values; bands: label → (low, high)."""
    ax = _axes(ax)
    for label, y in lines.items():
        (drawn,) = ax.plot(np.asarray(x), np.asarray(y), label=label, **{"color": color(label), **line})
        if bands and label in bands:
            low, high = bands[label]
            ax.fill_between(np.asarray(x), low, high, color=drawn.get_color(), alpha=0.2, linewidth=0)
    ax.legend()
    return ax


def color(label: str) -> str | None:
    """The colour of the denoiser whose name, plain or as $D_M$, the label starts with; None for any other label."""
    return next((c for name, c in COLORS.items() if label.lstrip("$").startswith(name)), None)


def slope(x: ArrayLike, y: ArrayLike, order: float, *, ax: Axes) -> Axes:
    """A dashed guide y ∝ x^{−order} through the last point, for axes that are both logarithmic."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    ax.plot(x, y[-1] * (x / x[-1]) ** -order, "--", color="0.6", linewidth=1, zorder=0)
    return ax


def images(
    rows: ArrayLike,
    *,
    ax: Axes | None = None,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
) -> Axes:
    """A grid of images (rows, columns, h, w[, 1 or 3]) in [-1, 1] as one picture with labelled rows and columns."""
    ax, grid = _axes(ax), np.asarray(rows)
    r, c, h, w = grid.shape[:4]
    colour = grid.shape[4:] == (3,)
    tiles = np.full((r, h + 2, c, w + 2, 3 if colour else 1), 1.0)
    tiles[:, 1:-1, :, 1:-1] = np.clip(grid.reshape(r, c, h, w, -1), -1, 1).swapaxes(1, 2)
    picture = tiles.reshape(r * (h + 2), c * (w + 2), -1)
    ax.imshow((picture + 1) / 2 if colour else picture[..., 0], vmin=-1, vmax=1, cmap="gray")
    ax.set_yticks([(i + 0.5) * (h + 2) - 0.5 for i in range(len(row_labels))], row_labels)
    ax.set_xticks([(j + 0.5) * (w + 2) - 0.5 for j in range(len(column_labels))], column_labels)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return ax


def paths(
    states: ArrayLike, *, ax: Axes | None = None, points: ArrayLike | None = None, color: str = "#0072B2"
) -> Axes:
    """Trajectories (n, b, 2) in the plane, a dot at every level; points: (N, 2) data behind them."""
    ax, states = _axes(ax), np.asarray(states)
    if points is not None:
        ax.scatter(*np.asarray(points).T, s=6, color=COLORS["data"], alpha=0.4, label="data", zorder=0)
    for i in range(states.shape[1]):
        ax.plot(*states[:, i].T, ".-", color=color, linewidth=1, markersize=3, label="path" if i == 0 else None)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    return ax


def diagram(boxes: Mapping[str, tuple[float, float]], *, across: Sequence[tuple[int, int]] = (), ax: Axes) -> Axes:
    """Labelled boxes at their places, in columns and rows, each with an arrow to the next one.

    across: pairs of boxes, by number, that have an arrow of another colour; between neighbours in a row it is bent.
    """
    frame = {"boxstyle": "round,pad=0.5", "fc": "#dbe9f6", "ec": "0.4"}
    texts = [
        ax.text(x, y, name, ha="center", va="center", fontsize=9, bbox=frame) for name, (x, y) in boxes.items()
    ]
    places, here = list(boxes.values()), range(len(boxes))
    for a, b in [*zip(here, here[1:], strict=False), *across]:
        inside = [y for (x, y) in places[a + 1 : b] if y == places[a][1]]
        bent = "arc3,rad=-0.35" if inside else "arc3"
        look = {"arrowstyle": "->", "color": "#0072B2" if (a, b) in across else "0.3", "connectionstyle": bent}
        look |= {"patchA": texts[a].get_bbox_patch(), "patchB": texts[b].get_bbox_patch()}
        ax.annotate("", places[b], places[a], arrowprops=look)
    xs, ys = zip(*places, strict=True)
    ax.set(xlim=(min(xs) - 0.5, max(xs) + 0.5), ylim=(min(ys) - 0.35, max(ys) + 0.35))
    ax.set_axis_off()
    return ax


def small_multiples(
    draw: Callable[..., Any], frames: Sequence[tuple], *, columns: int, size: tuple[float, float] = (3.0, 3.0)
) -> Figure:
    """The static twin of a slider: draw(ax, *frame) for each frame, size inches apiece."""
    rows = -(-len(frames) // columns)
    fig, axes = figure(rows, columns, size=(size[0] * columns, size[1] * rows))
    for ax, frame in zip(np.ravel(axes), frames, strict=False):
        draw(ax, *frame)
    for ax in np.ravel(axes)[len(frames) :]:
        ax.set_axis_off()
    return fig


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    with mpl.rc_context(_STYLE):
        return plt.gca()
