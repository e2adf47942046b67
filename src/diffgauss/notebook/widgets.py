"""Sliders over frames that were drawn beforehand, with a kernel and without one."""

import base64
import hashlib
import html
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import ipywidgets
from IPython.display import Image, display
from tqdm.auto import tqdm

from diffgauss.notebook.plots import DPI, figure, legible, png

PAGE = Template(Path(__file__).with_name("player.html").read_text(encoding="utf-8"))


class Explorer(ipywidgets.VBox):
    """Sliders and a picture; page: the same frames as HTML that needs no kernel.

    A notebook keeps both: the widget for a live kernel, the page for the site, for an exported notebook and for an
    editor that opens the file. Uses the part of ipywidgets that versions 7.7 and 8 share.
    """

    page = ""

    def _ipython_display_(self, **_: Any) -> None:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        bundle = {"application/vnd.jupyter.widget-view+json": view, "text/html": self.page, "text/plain": "sliders"}
        display(bundle, raw=True)


def explorer(
    draw: Callable[..., Any], *, size: tuple[float, float] = (6.0, 4.0), alt: str = "", **options: Sequence[Any]
) -> Explorer:
    """One slider for each keyword (name → its values, shown as given) over the frames draw(ax, *values).

    Every combination is drawn once, now; moving a slider only shows another picture. size: inches; alt: what the
    pictures show, for those who cannot see them. Raises ValueError where a slider has fewer than two values, and
    as ``plots.legible`` does.
    """
    for name, values in options.items():
        if len(values) < 2:
            raise ValueError(f"slider {name} has {len(values)} value(s); needs at least 2")
    frames, width = {}, round(DPI * size[0])
    for values in tqdm(list(itertools.product(*options.values())), "frames", leave=False):
        fig, ax = figure(size=size)
        draw(ax, *values)
        legible(fig)
        frames[values] = png(fig, scale=1.0)  # there may be many
    sliders = {
        name: ipywidgets.SelectionSlider(
            options=[(str(v), v) for v in values], description=name, continuous_update=False
        )
        for name, values in options.items()
    }

    def show(**chosen):
        data = frames[tuple(chosen[name] for name in options)]
        display(Image(data=data, format="png", width=width))

    picture = ipywidgets.interactive_output(show, sliders)
    picture.layout.height = f"{round(DPI * size[1]) + 20}px"  # fixed, against flicker
    box = Explorer([*sliders.values(), picture])
    box.page = player(list(frames.values()), options, width=width, alt=alt or f"Frames over {', '.join(options)}.")
    return box


def player(frames: Sequence[bytes], options: Mapping[str, Sequence[Any]], *, width: int, alt: str) -> str:
    """HTML with a slider for each name over PNG frames, the last name varying fastest; width: in CSS pixels.

    It holds all that it needs. Where scripts do not run, as on GitHub, it is the first frame.
    Raises ValueError unless there is one frame for each combination of values.
    """
    wanted = math.prod(map(len, options.values()))
    if len(frames) != wanted:
        raise ValueError(f"got {len(frames)} frames; needs {wanted}, one for each position of the sliders")
    coded = [base64.b64encode(frame).decode() for frame in frames]
    names = {name: [str(value) for value in values] for name, values in options.items()}
    return PAGE.substitute(
        id="player-" + hashlib.sha256("".join(coded).encode()).hexdigest()[:12],
        width=width,
        alt=html.escape(alt),
        first=coded[0],
        names=json.dumps(names, ensure_ascii=False).replace("<", "\\u003c"),
        frames=json.dumps(coded),
    )


def drive(box: ipywidgets.VBox) -> int:
    """Move every slider to both of its ends and back, so that the callbacks run; return the number of moves.

    A callback that raises does so in this cell's messages, which nbval reports as a failure.
    """
    moves = 0
    for slider in box.children[:-1]:
        start = slider.index
        for index in (len(slider.options) - 1, 0, start):
            if slider.index != index:
                slider.index = index
                moves += 1
    return moves
