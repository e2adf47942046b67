"""The peers' environment, and the process in it that answers the driver turn by turn."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
WANTED = HERE / "peers.txt"
ENV = HERE.parent / "build" / "peers-env"


def ensure_python(*, install: bool) -> tuple[Path | None, str]:
    """The peers' Python, or None and why not: $DIFFGAUSS_PEERS, or build/peers-env, made here when it is absent."""
    if given := os.environ.get("DIFFGAUSS_PEERS"):
        return (Path(given), "") if Path(given).is_file() else (None, "DIFFGAUSS_PEERS names no file")
    stamp, python = ENV / "peers.txt", ENV / "bin" / "python"
    if stamp.is_file() and stamp.read_text() == WANTED.read_text():
        return python, ""
    if not install:
        return None, "build/peers-env is not there yet; a full run makes it"
    print("making build/peers-env from benchmarks/peers.txt: some minutes and several GB, once", file=sys.stderr)
    try:
        venv.create(ENV, with_pip=True, clear=True, symlinks=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", WANTED], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return None, f"build/peers-env could not be made ({type(error).__name__}); see pip's message above"
    stamp.write_text(WANTED.read_text())
    return python, ""


class Peers:
    """What the worker can call, and how to ask it. Without a worker it can call nothing and says why."""

    def __init__(self, process: subprocess.Popen[str] | None, folder: Path, why: str):
        self._process, self._folder = process, folder
        self.versions: dict[str, str] = {}
        self.threads: int | None = None
        self.calls: list[str] = []
        self.missing: dict[str, str] = dict.fromkeys(("torch", "smalldiffusion", "k-diffusion"), why)
        if process is not None:
            try:
                for name, value in self._read().items():
                    setattr(self, name, value)
            except ConnectionError:
                self.missing = dict.fromkeys(self.missing, "the peers' Python stopped at its start")

    def turn(self, name: str, calls: int = 1) -> Callable[[], float]:
        """A turn of a peer, on its own clock; the first call happens now."""
        self._ask("time", name, 1)
        return lambda: self._ask("time", name, calls)

    def growth(self, name: str) -> float | None:
        return self._ask("grow", name, 1)

    def output(self, name: str) -> np.ndarray:
        return np.load(self._folder / self._ask("save", name, 1))

    def _ask(self, *request: Any) -> Any:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process is not None and self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ConnectionError("the peers' process ended early; see its message above")
        return json.loads(line)


@contextmanager
def started(python: Path | None, folder: Path, why: str) -> Iterator[Peers]:
    """The worker on the arrays in folder, stopped at the end."""
    if python is None:
        yield Peers(None, folder, why)
        return
    command = [python, "-W", "ignore", HERE / "peers.py", folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Peers(process, folder, why)
        finally:
            process.kill()
