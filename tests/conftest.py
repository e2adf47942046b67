"""Shape checks on every call into diffgauss, no silent broadcasting, and the data that the tests share."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jaxtyping
import matplotlib
import numpy as np
import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# With as many processes as cores each takes one, also for what it starts: with the threads of all on all cores they
# wait for one another, and a notebook takes twice as long. With two processes to a core all took a tenth longer.
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    if len(CORES) == int(os.environ["PYTEST_XDIST_WORKER_COUNT"]):
        os.sched_setaffinity(0, {CORES[int(worker.removeprefix("gw"))]})

# What one process has compiled the others need not, nor the next run: also commands and notebooks that tests start.
CACHE = {"jax_compilation_cache_dir": str(Path(__file__).parents[1] / "build" / "jax")}
for name, value in (CACHE | {"jax_persistent_cache_min_compile_time_secs": 0.2}).items():
    jax.config.update(name, value)
    os.environ.setdefault(name.upper(), str(value))
os.environ["HF_HUB_OFFLINE"] = "1"  # before anything reads it: no test asks the hub
jaxtyping.install_import_hook("diffgauss", "beartype.beartype")  # before diffgauss is first imported
jax.config.update("jax_numpy_rank_promotion", "raise")
matplotlib.use("agg")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("theorems", deadline=None, derandomize=True, max_examples=30, database=None)
settings.load_profile("theorems")

from diffgauss.parallel import float64 as float64  # noqa: E402

FIRST = ["colab", "browser", "newest", "notebooks", "test_zoo", "test_cifar10", "parallel", "test_gpu", "site"]
FIRST += ["test_tour", "test_contract", "test_assignment", "test_adapters", "test_packaging"]
FIRST += ["test_style", "attack"]
"""Folders and files whose tests take long: they come first, so that no process ends with one of them alone."""


class ByFile(LoadScopeScheduling):
    """With several processes a file's tests stay in one, which compiles for them once.

    A notebook goes where there is room. What needs Colab's environment is in one process, and what reads the site.
    """

    def _split_scope(self, nodeid: str) -> str:
        path, _, name = nodeid.partition("::")
        if name.startswith("test_notebook_alone"):
            return nodeid
        together = {"colab": "colab", "browser": "colab", "site": "site"}
        return together.get(path.split("/")[-2], path)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: k for k, name in enumerate([*FIRST, "tests"])}
    items.sort(key=lambda item: place.get(item.path.stem, place.get(item.path.parent.name, len(FIRST))))


@pytest.fixture
def unchecked() -> Iterator[None]:
    """The package as users run it, without the tests' shape checks, so that its own errors are seen."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def all_cores() -> Iterator[None]:
    """For processes that wait for one another in every step of training: on one core a step takes a second."""
    if not CORES:
        return (yield)
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    yield
    os.sched_setaffinity(0, own)


@pytest.fixture
def compiled(caplog) -> Callable[[Callable[[], object]], int]:
    """How many programs a call has compiled."""

    def count(call: Callable[[], object]) -> int:
        caplog.clear()
        with jax.log_compiles():
            call()
        return sum("Finished XLA compilation" in record.getMessage() for record in caplog.records)

    return count


@pytest.fixture(scope="session")
def train() -> np.ndarray:
    import diffgauss as dg

    return dg.load(split="train")


@pytest.fixture(scope="session")
def test() -> np.ndarray:
    import diffgauss as dg

    return dg.load(split="test")


@pytest.fixture(scope="session")
def D_M(train):
    import diffgauss as dg

    return dg.EmpiricalDenoiser.from_data(train)


@pytest.fixture(scope="session")
def D_G(train):
    import diffgauss as dg

    return dg.GaussianDenoiser.from_data(train)
