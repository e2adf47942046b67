"""Sliders over frames that were drawn beforehand, in the part of ipywidgets that versions 7.7 and 8 share."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
from IPython.display import Image, display

from diffgauss.notebook.plots import figure, png


def explorer(
    draw: Callable[..., Any], *, size: tuple[float, float] = (6.0, 4.0), **options: Sequence[Any]
) -> ipywidgets.VBox:
    """One slider for each keyword (name → its values, shown as given) over the frames draw(ax, *values).

    Every combination is drawn once, now; moving a slider only shows another picture. size: inches.
    Raises ValueError where a slider has fewer than two values.
    """
    for name, values in options.items():
        if len(values) < 2:
            raise ValueError(f"slider {name} has {len(values)} value(s); needs at least 2")
    frames = {}
    for values in itertools.product(*options.values()):
        fig, ax = figure(size=size)
        draw(ax, *values)
        frames[values] = png(fig)
    sliders = {
        name: ipywidgets.SelectionSlider(
            options=[(str(v), v) for v in values], description=name, continuous_update=False
        )
        for name, values in options.items()
    }

    def show(**chosen):
        display(Image(data=frames[tuple(chosen[name] for name in options)], format="png"))

    picture = ipywidgets.interactive_output(show, sliders)
    picture.layout.height = f"{int(size[1] * 100) + 20}px"  # fixed, against flicker
    return ipywidgets.VBox([*sliders.values(), picture])


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
