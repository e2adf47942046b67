"""The newest release of everything, from scratch: the tests of the kernels, and about two notebooks in turn."""

import json
import subprocess
from pathlib import Path

import colab
import drift
import newest
import pytest
from colab import ROOT
from packaging.requirements import Requirement
from packaging.version import Version

from diffgauss.notebook.lesson import NEWEST

DEPENDENCIES = [Requirement(t) for t in newest.project()["dependencies"]]


def test_nothing_is_capped_and_lower_bounds_are_named():
    """A new release of a package must never keep a notebook from being installed."""
    assert not capped([str(r) for r in DEPENDENCIES])
    assert capped(["jax>=0.7.2,<0.11", "numpy==2.1", "flax~=0.11", "optax>=0.2"]) == ["jax", "numpy", "flax"]
    assert all(r.specifier or r.name == "packaging" for r in DEPENDENCIES)


def capped(asked: list[str]) -> list[str]:
    wanted = [Requirement(text) for text in asked]
    return [r.name for r in wanted if any(s.operator not in (">=", "!=") for s in r.specifier)]


def test_a_pin_that_moved_is_found():
    freeze = "\n".join(f"{name}=={version}" for name, version in colab.pins().items())
    assert not drift.drifted(freeze)
    moved = freeze.replace("jax==0.7.2", "jax==0.8.0+cuda").replace("numpy==2.1.3\n", "")
    assert drift.drifted(moved) == {"jax": ("0.7.2", "0.8.0+cuda"), "numpy": ("2.1.3", "missing")}
    with pytest.raises(ValueError, match="needs the output of pip freeze"):
        drift.drifted("nothing")


@pytest.fixture(scope="module")
def python() -> Path:
    return newest.environment("newest")


@pytest.mark.slow
def test_the_wheel_changes_no_package_that_is_there(python, tmp_path):
    wheel = ["wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run([python, *colab.PIP, *wheel], check=True, env=colab.clean())
    (built,) = tmp_path.glob("*.whl")
    asked = ["install", "-q", "--dry-run", "--report", str(tmp_path / "report.json"), str(built)]
    subprocess.run([python, *colab.PIP, *asked], check=True, env=colab.clean())
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["install"]
    assert [package["metadata"]["name"] for package in found] == ["diffgauss"]


@pytest.mark.slow
def test_the_newest_releases(python):
    there = newest.versions(python)
    for name, version in NEWEST.items():
        assert Version(there[name]).release[:2] >= Version(version).release, (
            f"{name} {there[name]}; NEWEST has more"
        )
    found = newest.faults(python, sorted(newest.turn()), [f"tests/{name}.py" for name in newest.QUICK])
    assert not found, "\n".join([str(there), *found])
