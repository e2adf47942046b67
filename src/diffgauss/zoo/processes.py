"""Several processes that train one run together: where they meet, and one line where another is lost.

When the others do not answer, XLA ends a process by force, with a page of addresses. So what a process says passes
through a second one, this file as a script, which keeps that page back and says the line in its place.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

FORCED = re.compile(rb"[EF]\d{4} \d\d:\d\d:\d\d\.\d+ ")
"""How the first line begins that XLA says before it ends the process, be it after a progress bar."""


class Peers(NamedTuple):
    """coordinator: HOST:PORT of process 0, or auto; processes, process: how many, and which; wait: seconds."""

    coordinator: str
    processes: int | None = None
    process: int | None = None
    wait: int = 300

    def check(self) -> None:
        """Raises ValueError for what cannot be."""
        host, _, port = self.coordinator.rpartition(":")
        if self.coordinator != "auto":
            if not (host and port.isdecimal() and 0 < int(port) < 65536):
                raise ValueError(f"--coordinator is {self.coordinator!r}; needs HOST:PORT of process 0, or auto")
            if self.processes is None or self.process is None:
                raise ValueError("--coordinator needs --processes, how many, and --process, which one this is")
        if self.processes is not None and self.processes < 1:
            raise ValueError(f"--processes is {self.processes}; needs at least 1")
        if self.process is not None and not 0 <= self.process < (self.processes or self.process + 1):
            raise ValueError(f"--process is {self.process}; needs 0 … {(self.processes or 1) - 1}")
        if self.wait < 1:
            raise ValueError(f"--wait is {self.wait}; needs at least 1 second")

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Meet the others, before the first array. The coordinator listens at the address given and at no other.

        Raises ValueError as ``check``.
        """
        import jax  # not above: the script has no need of it

        self.check()
        where = "where the cluster says" if self.coordinator == "auto" else self.coordinator
        who = "this process" if self.process is None else f"process {self.process} of {self.processes}"
        print(f"{who} meets the others at {where} and waits up to {self.wait} s", file=sys.stderr, flush=True)
        line = f"{who} ended: another is lost, or none came to {where} within {self.wait} s"
        known: dict = {} if self.coordinator == "auto" else self._address()
        with _filtered(f"diffgauss: {line}; the same commands go on from what was saved last"):
            jax.distributed.initialize(**known, initialization_timeout=self.wait)
            yield

    def _address(self) -> dict:
        bind = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", self.coordinator)
        number = {"num_processes": self.processes, "process_id": self.process}
        return {"coordinator_address": self.coordinator, "coordinator_bind_address": bind} | number


@contextmanager
def _filtered(line: str) -> Iterator[None]:
    """What the process writes to its standard error, XLA's C++ too, goes through ``_pass_on``."""
    sys.stderr.flush()
    command = [sys.executable, "-I", __file__, line]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=2) as reader:
        assert reader.stdin is not None
        own = os.dup(2)
        os.dup2(reader.stdin.fileno(), 2)
        reader.stdin.close()
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(own, 2)
            os.close(own)


def _pass_on(line: str) -> None:
    """Standard input to standard output, up to what XLA says before it ends the process: the line then follows."""
    tail = b""  # of what was passed on, in case that the beginning comes in two pieces
    while piece := os.read(0, 1 << 16):
        if found := FORCED.search(tail + piece):
            os.write(1, piece[: max(0, found.start() - len(tail))] + b"\n" + line.encode() + b"\n")
            while os.read(0, 1 << 16):
                pass
            return
        os.write(1, piece)
        tail = (tail + piece)[-24:]


if __name__ == "__main__":
    _pass_on(sys.argv[1])
