"""The peers' environment, and the process in it that answers the driver turn by turn."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
WANTED = HERE / "peers.txt"
BUILD = HERE.parent / "build"
ENV = BUILD / "peers-env"


def ensure_python(*, install: bool) -> tuple[Path | None, str]:
    """The peers' Python, or None and why not: $DIFFGAUSS_PEERS, or build/peers-env, made here when it is absent."""
    if given := os.environ.get("DIFFGAUSS_PEERS"):
        return (Path(given), "") if Path(given).is_file() else (None, "DIFFGAUSS_PEERS names no file")
    stamp, python = ENV / "peers.txt", ENV / "bin" / "python"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == WANTED.read_text(encoding="utf-8"):
        return python, ""
    if not install:
        return None, "build/peers-env is not there yet; a full run makes it"
    print("making build/peers-env from benchmarks/peers.txt: some minutes and several GB, once", file=sys.stderr)
    try:
        venv.create(ENV, with_pip=True, clear=True, symlinks=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", WANTED], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return None, f"build/peers-env could not be made ({type(error).__name__}); see pip's message above"
    stamp.write_text(WANTED.read_text(encoding="utf-8"), encoding="utf-8")
    return python, ""


class Worker:
    """A process that says what it is in one line of JSON, then answers each request with one more."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process
        self.ready = self._read()

    def ask(self, *request: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ConnectionError("a process ended early; see its message above")
        return json.loads(line)


@contextmanager
def running(*command: Any, cores: int | None = None, **environment: str) -> Iterator[Worker]:
    """The worker that a command starts, kept to the first so many cores; stopped at the end."""
    allowed = os.sched_getaffinity(0) if cores else set()
    if cores:
        os.sched_setaffinity(0, sorted(allowed)[:cores])  # a child starts on its parent's cores
    try:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
    finally:
        if cores:
            os.sched_setaffinity(0, allowed)
    with process:
        try:
            yield Worker(process)
        finally:
            process.kill()


class Peers:
    """What the worker can call, and how to ask it. Without a worker it can call nothing and says why."""

    def __init__(self, worker: Worker | None, folder: Path, why: str):
        self._worker, self._folder = worker, folder
        self.versions: dict[str, str] = {}
        self.threads: int | None = None
        self.calls: list[str] = []
        self.missing: dict[str, str] = dict.fromkeys(("torch", "smalldiffusion", "k-diffusion"), why)
        for name, value in (worker.ready if worker else {}).items():
            setattr(self, name, value)

    def turn(self, name: str, calls: int = 1) -> Callable[[], float]:
        """A turn of a peer, on its own clock; the first call happens now."""
        self._ask("time", name, 1)
        return lambda: self._ask("time", name, calls)

    def growth(self, name: str) -> float | None:
        return self._ask("grow", name, 1)

    def output(self, name: str) -> np.ndarray:
        return np.load(self._folder / self._ask("save", name, 1))

    def _ask(self, *request: Any) -> Any:
        assert self._worker is not None
        return self._worker.ask(*request)


@contextmanager
def started(python: Path | None, folder: Path, why: str) -> Iterator[Peers]:
    """The worker on the arrays in folder, stopped at the end."""
    with ExitStack() as stack:
        worker = None
        if python is not None:
            try:
                worker = stack.enter_context(running(python, "-W", "ignore", HERE / "peers.py", folder))
            except ConnectionError:
                why = "the peers' Python stopped at its start"
        yield Peers(worker, folder, why)
