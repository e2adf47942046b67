import base64
import io
import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from PIL import Image

from diffgauss.notebook import plots, widgets

X = np.array([1.0, 2.0, 4.0])


def grid(r=2, c=3, h=4, w=5):
    return np.random.default_rng(0).uniform(-1, 1, (r, c, h, w, 1))


DRAWINGS = {
    "curves": lambda ax: plots.curves(X, {"D_M": X, "else": X**2}, bands={"D_M": (X - 1, X + 1)}, ax=ax),
    "slope": lambda ax: plots.slope(X, X, 2.0, ax=ax),
    "images": lambda ax: plots.images(grid(), ax=ax, row_labels="ab", column_labels="cde"),
    "paths": lambda ax: plots.paths(np.zeros((4, 2, 2)), points=np.ones((5, 2)), ax=ax),
}


@pytest.fixture(autouse=True)
def pyplot_is_left_alone(monkeypatch):
    """plt.show is never called, and neither the open figures nor the settings change."""
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("plt.show"))
    figures, settings = plt.get_fignums(), dict(mpl.rcParams)
    yield
    assert plt.get_fignums() == figures
    assert dict(mpl.rcParams) == settings


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_drawing_returns_the_axes_it_was_given(draw):
    fig, ax = plots.figure()
    assert draw(ax) is ax and ax.has_data()
    assert plots.png(fig).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["curves", "images", "paths"])
def test_without_axes_it_draws_on_the_current_ones(name):
    fig = plt.figure()
    current = fig.gca()
    try:
        assert DRAWINGS[name](None) is current
    finally:
        plt.close(fig)


def test_curves_draw_the_data_in_the_colour_of_the_denoiser():
    ax = plots.curves(X, {"D_M of 60000": X, "D_G": -X, "else": X**2}, bands={"D_G": (-X - 1, -X + 1)}, ax=axes())
    for line, y in zip(ax.lines, (X, -X, X**2), strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.stack([X, y], 1))
    assert [to_hex(line.get_color()).upper() for line in ax.lines[:2]] == [plots.COLORS["D_M"], plots.COLORS["D_G"]]
    legend = ax.get_legend()
    assert legend and [t.get_text() for t in legend.get_texts()] == ["D_M of 60000", "D_G", "else"]
    (band,) = ax.collections
    assert to_hex(band.get_facecolor()[0]) == to_hex(plots.COLORS["D_G"])  # type: ignore[index]
    y = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert (y.min(), y.max()) == (-5.0, 0.0)


def test_curves_pass_line_settings_on():
    (line,) = plots.curves(X, {"D_M": X}, ax=axes(), linestyle="--", color="red").lines
    assert line.get_linestyle() == "--" and line.get_color() == "red"


@pytest.mark.parametrize(
    "label, name", [("D_θ, N = 64", "D_θ"), ("D_L", "D_L"), ("exact flow", "exact"), ("Euler", None)]
)
def test_a_denoiser_has_one_colour(label, name):
    assert plots.color(label) == (plots.COLORS[name] if name else None)


def test_a_slope_has_its_order_and_ends_in_the_last_point():
    y = np.array([9.0, 5.0, 2.0])
    (line,) = plots.slope(X, y, 2.0, ax=axes()).lines
    drawn = np.asarray(line.get_ydata(), float)
    np.testing.assert_allclose(np.diff(np.log(drawn)) / np.diff(np.log(X)), -2)
    assert drawn[-1] == 2.0


@pytest.mark.parametrize("channel", [(), (1,)])
def test_images_draw_every_picture_in_its_place(channel):
    rows = grid()
    ax = plots.images(rows.reshape(2, 3, 4, 5, *channel), ax=axes(), row_labels=["a", "b"], column_labels="cde")
    (picture,) = ax.images
    drawn = np.asarray(picture.get_array())
    assert drawn.shape == (2 * 6, 3 * 7) and picture.get_clim() == (-1, 1)
    for i in range(2):
        for j in range(3):
            np.testing.assert_array_equal(drawn[6 * i + 1 : 6 * i + 5, 7 * j + 1 : 7 * j + 6], rows[i, j, ..., 0])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["c", "d", "e"]
    np.testing.assert_allclose(ax.get_yticks(), [2.5, 8.5])
    np.testing.assert_allclose(ax.get_xticks(), [3, 10, 17])


def test_images_outside_the_range_are_clipped():
    (picture,) = plots.images(5 * grid(), ax=axes()).images
    drawn = np.asarray(picture.get_array())
    assert drawn.min() == -1 and drawn.max() == 1


def test_images_in_colour_keep_their_colours_inside_a_white_frame():
    rows = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4, 5, 3))
    (picture,) = plots.images(rows, ax=axes()).images
    drawn = np.asarray(picture.get_array())
    assert drawn.shape == (2 * 6, 3 * 7, 3) and (drawn[0] == 1).all()
    np.testing.assert_allclose(2 * drawn[7:11, 15:20] - 1, rows[1, 2], atol=1e-12)


def test_paths_draw_every_trajectory_and_the_data():
    rng = np.random.default_rng(0)
    states, points = rng.standard_normal((6, 3, 2)), rng.standard_normal((7, 2))
    ax = plots.paths(states, points=points, ax=axes())
    for i, line in enumerate(ax.lines):
        np.testing.assert_array_equal(line.get_xydata(), states[:, i])
    assert len(ax.lines) == 3
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), points)


def test_small_multiples_draw_each_frame_once_and_hide_the_rest():
    seen = []
    fig = plots.small_multiples(
        lambda ax, *frame: seen.append((ax, frame)), [(1, "a"), (2, "b"), (3, "c")], columns=2, size=(2.0, 1.0)
    )
    assert [frame for _, frame in seen] == [(1, "a"), (2, "b"), (3, "c")]
    assert [ax for ax, _ in seen] == fig.axes[:3] and not fig.axes[3].axison
    assert tuple(fig.get_size_inches()) == (4.0, 2.0)
    single = plots.small_multiples(lambda ax, y: plots.curves(X, {"y": y}, ax=ax), [(X,)], columns=1)
    assert len(single.axes) == 1


def test_a_figure_has_its_axes_and_size():
    fig, ax = plots.figure(size=(3.0, 2.0))
    assert isinstance(fig, Figure) and isinstance(ax, Axes) and tuple(fig.get_size_inches()) == (3.0, 2.0)
    assert plots.figure(2, 3)[1].shape == (2, 3)


def test_a_png_can_be_read_back():
    fig, ax = plots.figure()
    plots.curves(X, {"y": X}, ax=ax)
    assert plt.imread(io.BytesIO(plots.png(fig))).ndim == 3


def test_show_carries_its_description(monkeypatch):
    seen = {}
    monkeypatch.setattr(plots, "display", lambda data, **options: seen.update(data=data, **options))
    plots.show(plots.figure()[0], "Two curves cross at σ = 1.")
    about = {"alt": "Two curves cross at σ = 1.", "width": 600, "height": 400}
    assert seen["metadata"] == {"image/png": about} and seen["raw"]
    assert seen["data"]["text/plain"] == "Two curves cross at σ = 1."
    assert seen["data"]["image/png"].startswith(b"\x89PNG")
    plots.show(plots.figure()[0], "Two curves cross at σ = 1.", paper="F2")
    assert seen["metadata"]["image/png"]["paper"] == "F2"


def test_a_live_figure_takes_the_place_of_the_one_before(monkeypatch):
    seen = []
    monkeypatch.setattr(plots, "display", lambda data, **options: seen.append((data, options)))
    live, other = plots.Live(), plots.Live()
    for step in (1, 2):
        live.show(plots.figure()[0], f"A curve after step {step}.")
    other.show(plots.figure()[0], "Another.")
    ids = [options["display_id"] for _, options in seen]
    assert [options["update"] for _, options in seen] == [False, True, False]
    assert ids[0] == ids[1] != ids[2] and seen[1][0]["text/plain"] == "A curve after step 2."


def test_a_diagram_joins_neighbours_and_bends_round_what_is_between():
    boxes = {"a": (0.0, 1.0), "b": (1.0, 0.0), "c": (2.0, 0.0), "d": (3.0, 0.0), "e": (4.0, 1.0)}
    ax = plots.diagram(boxes, across=((0, 4), (1, 3)), ax=axes())
    arrows = [text for text in ax.texts if isinstance(text, Annotation)]
    assert [text.get_text() for text in ax.texts if text not in arrows] == list(boxes)
    joined = [(arrow.get_position(), arrow.xy) for arrow in arrows]  # from, to
    places = list(boxes.values())
    assert joined == [*itertools.pairwise(places), (places[0], places[4]), (places[1], places[3])]
    bent = [(arrow.arrowprops or {})["connectionstyle"] != "arc3" for arrow in arrows]
    assert bent == [False] * 5 + [True]  # nothing stands between the first and the last in their row


def legend(curves, symbols=0, bars=0):
    """A figure whose legend names so many curves, symbols and curves with error bars."""
    fig, ax = plots.figure()
    for k in range(curves):
        ax.plot(X, X + k, label=f"curve {k}")
    for k in range(symbols):
        ax.plot(X, X + k, "o", label=f"symbol {k}")
    for k in range(bars):
        ax.errorbar(X, X + k, X, fmt="o-", label=f"bars {k}")
    ax.legend()
    return fig


@pytest.mark.parametrize(("drawn", "named"), [((8,), 8), ((6,), 6), ((3, 4, 3), 6)])
def test_a_legend_of_too_many_curves_is_refused(drawn, named, monkeypatch):
    monkeypatch.setattr(plots, "display", lambda *_, **__: None)
    plots.show(legend(5, symbols=3), "Five curves and three symbols.")
    plots.show(legend(2, bars=3), "Five curves, three with error bars.")
    with pytest.raises(ValueError, match=f"got a legend of {named} curves; needs at most 5"):
        plots.show(legend(*drawn), "Too many.")


def test_an_animation_and_sliders_refuse_such_a_legend_too(monkeypatch):
    def draw(ax, value):
        for k in range(8):
            ax.plot(X, value * X + k, label=f"{k}")
        ax.legend()

    with pytest.raises(ValueError, match="got a legend of 8 curves"):
        plots.animation(draw, [1, 2], "Eight curves.")
    with pytest.raises(ValueError, match="got a legend of 8 curves"):
        widgets.explorer(draw, value=[1, 2])


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_a_figure_without_a_description_is_refused(alt):
    with pytest.raises(ValueError, match="got an empty alt text; needs a sentence"):
        plots.show(plots.figure()[0], alt)


def axes() -> Axes:
    return plots.figure()[1]


def test_long_labels_beside_images_are_not_cut():
    fig, ax = plots.figure(size=(7.0, 3.6))
    labels = ["N = 64: mixture, denoised", "N = 60000: mixture, denoised"]
    plots.images(np.zeros((4, 6, 28, 28)), ax=ax, row_labels=labels * 2, column_labels="abcdef")
    picture = np.asarray(Image.open(io.BytesIO(plots.png(fig))).convert("L"))
    assert picture[:, :2].min() > 200 > picture[:, 2:].min()  # no ink at the left edge


def test_a_picture_has_two_pixels_for_each_on_the_page_and_few_colours():
    fig, ax = plots.figure(size=(2.0, 1.0))
    ramp = np.linspace(-1, 1, 200).reshape(1, 1, 10, 20)
    plots.images(ramp, ax=ax)
    grey = Image.open(io.BytesIO(plots.png(fig)))
    assert grey.size == (400, 200) and grey.mode == "P" and len(np.unique(np.asarray(grey))) > 40
    fig, ax = plots.figure(size=(2.0, 1.0))
    for k, c in enumerate(plots.COLORS.values()):
        ax.plot(X, X + k, color=c)
    colour = Image.open(io.BytesIO(plots.png(fig)))
    assert colour.mode == "P" and len(np.unique(np.asarray(colour))) <= 256
    there = np.unique(np.asarray(colour.convert("RGB"), float).reshape(-1, 3), axis=0)
    for c in plots.COLORS.values():
        assert np.abs(there - 255 * np.array(to_rgb(c))).max(1).min() < 24, c


def test_an_animation_has_its_frames_its_times_and_its_description(monkeypatch):
    seen = {}
    monkeypatch.setattr(plots, "display", lambda data, **options: seen.update(data=data, **options))
    plots.animation(
        lambda ax, k: ax.plot([0, k], color="C0"), [1, 2, 3], 'A line "grows".', size=(2.0, 1.0), paper="F2"
    )
    page = seen["data"]["text/html"]
    assert 'alt="A line &quot;grows&quot;."' in page and 'width="200"' in page
    assert seen["metadata"] == {"text/html": {"alt": 'A line "grows".', "paper": "F2"}}
    gif = Image.open(io.BytesIO(base64.b64decode(page.split("base64,")[1].split('"')[0])))
    assert getattr(gif, "n_frames", 1) == 3 and gif.size == (200, 100)
    times, greys = [], []
    for k in range(3):
        gif.seek(k)
        times.append(gif.info["duration"])
        greys.append(np.asarray(gif.convert("L"), float).mean())
    assert times == [200, 200, 1700] and len(set(greys)) == 3
    for frames, alt in [([1], "a line"), ([1, 2], " ")]:
        with pytest.raises(ValueError, match=r"needs at least 2 and a sentence"):
            plots.animation(lambda ax, k: None, frames, alt)


def test_photographs_in_colour_keep_their_saturation():
    rng = np.random.default_rng(0)
    smooth = np.cumsum(rng.normal(0, 0.05, (16, 32, 32, 3)), 1).clip(-1, 1).astype(np.float32)
    fig, ax = plots.figure(size=(6.0, 2.0))
    plots.images(np.stack([smooth[:8], smooth[8:]]), ax=ax)
    whole = plots._drawn(fig, 2 * plots.DPI).convert("RGB")
    kept = Image.open(io.BytesIO(plots.png(fig, 2.0))).convert("RGB")
    saturation = [np.asarray(picture.convert("HSV"), float)[..., 1].mean() for picture in (whole, kept)]
    assert kept.size == whole.size and saturation[1] == pytest.approx(saturation[0], rel=0.02)
    assert np.sqrt(((np.asarray(kept, float) - np.asarray(whole, float)) ** 2).mean()) < 8
