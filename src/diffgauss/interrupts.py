"""Interrupts that end a training between two steps, so that nothing of it is lost."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """A list that takes the first SIGINT, in place of the exception, which would cut a step in two."""
    found: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield found  # another thread may set no handler, and who ignores interrupts goes on to
        return

    def told(number: int, frame: Any) -> None:
        if found:
            raise KeyboardInterrupt
        found.append(number)

    signal.signal(signal.SIGINT, told)
    try:
        yield found
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def terminated() -> Iterator[None]:
    """SIGTERM, by which machines are shut down and jobs are ended, as an interrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
