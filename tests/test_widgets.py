import base64
import json
import re

import ipywidgets
import pytest

from diffgauss.notebook import widgets


@pytest.fixture
def shown(monkeypatch):
    """The pictures that were put on display, in order."""
    seen = []
    monkeypatch.setattr(widgets, "display", lambda image: seen.append(image.data))
    return seen


@pytest.fixture
def numbered(monkeypatch):
    """Each frame's picture is its number."""
    count = iter(range(1000))
    monkeypatch.setattr(widgets, "png", lambda fig, scale: bytes([next(count)]))


def test_every_combination_is_drawn_once_before_any_slider_moves(shown, numbered):
    drawn = []
    widgets.explorer(lambda ax, *values: drawn.append(values), sigma=[1.0, 2.0, 3.0], n=["few", "many"])
    assert drawn == [(s, n) for s in (1.0, 2.0, 3.0) for n in ("few", "many")]
    assert shown == [b"\x00"]


def test_drive_moves_each_slider_to_both_ends_and_back(shown, numbered):
    drawn = []
    box = widgets.explorer(lambda ax, *values: drawn.append(values), sigma=[1.0, 2.0, 3.0], n=["few", "many"])
    assert widgets.drive(box) == 4
    assert shown == [b"\x00", b"\x04", b"\x00", b"\x01", b"\x00"]  # (1, few) (3, few) (1, few) (1, many) (1, few)
    assert len(drawn) == 6  # nothing was drawn anew
    assert [slider.index for slider in box.children[:-1]] == [0, 0]


def test_drive_comes_back_to_where_a_slider_stood(shown, numbered):
    box = widgets.explorer(lambda ax, value: None, value=[1, 2, 3])
    box.children[0].index = 1
    assert widgets.drive(box) == 3
    assert box.children[0].index == 1
    assert shown == [b"\x00", b"\x01", b"\x02", b"\x00", b"\x01"]


def test_sliders_show_values_as_given_and_the_picture_keeps_its_height(shown):
    box = widgets.explorer(lambda ax, value: ax.plot([value, value]), size=(4.0, 3.0), value=[0.5, 1e-3])
    slider, picture = box.children
    assert isinstance(slider, ipywidgets.SelectionSlider)
    assert slider.options == (("0.5", 0.5), ("0.001", 0.001)) and slider.description == "value"
    assert not slider.continuous_update
    assert picture.layout.height == "320px"
    assert shown[0].startswith(b"\x89PNG")


def test_a_drawing_that_raises_does_so_at_once(shown):
    with pytest.raises(ZeroDivisionError):
        widgets.explorer(lambda ax, value: 1 / value, value=[1, 0])


def test_a_callback_that_raises_is_seen(shown, numbered, monkeypatch):
    """Without a kernel it raises here; in a notebook ipywidgets shows the traceback in the picture's place."""
    box = widgets.explorer(lambda ax, value: None, value=[1, 2])
    monkeypatch.setattr(widgets, "display", lambda image: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        widgets.drive(box)


@pytest.mark.parametrize("values", [[], [1]])
def test_a_slider_needs_two_values(values):
    with pytest.raises(ValueError, match=rf"slider sigma has {len(values)} value\(s\); needs at least 2"):
        widgets.explorer(lambda ax, *_: None, n=[1, 2], sigma=values)


def test_both_ways_to_show_an_explorer_are_in_its_output(shown, numbered, monkeypatch):
    box = widgets.explorer(lambda ax, *_: None, sigma=[0.5, 1e-3], n=["<b>", "many"], alt='A "net".')
    seen = {}
    monkeypatch.setattr(widgets, "display", lambda data, raw: seen.update(data))
    box._ipython_display_()
    assert seen["application/vnd.jupyter.widget-view+json"]["model_id"] == box.model_id
    page = seen["text/html"]
    assert page == box.page and 'alt="A &quot;net&quot;."' in page and "$" not in page and "<b>" not in page
    assert json.loads(page.split("names = ")[1].split(", frames")[0]) == {
        "sigma": ["0.5", "0.001"],
        "n": ["<b>", "many"],
    }
    assert [base64.b64decode(f) for f in json.loads(page.split("frames = ")[1].split(";")[0])] == [
        bytes([k]) for k in range(4)
    ]
    assert widgets.player([b"a", b"b"], {"n": [1, 2]}, width=9, alt="a") != page  # each has its own id


@pytest.mark.parametrize("frames", [[], [b"a"] * 5, [b"a"] * 7])
def test_a_player_needs_a_frame_for_each_position(frames):
    with pytest.raises(ValueError, match=f"got {len(frames)} frames; needs 6"):
        widgets.player(frames, {"sigma": [1, 2, 3], "n": ["few", "many"]}, width=9, alt="a")


def test_the_player_is_one_short_file_of_plain_javascript():
    assert len(widgets.PAGE.template.splitlines()) <= 80
    assert not re.search(r"src=\"http|import |require|fetch\(", widgets.PAGE.template)
