"""What a user installs: a small wheel that finds its data, and environment.yml, which lists what is needed."""

import json
import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from loopback import Server, variables
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
USE = """
import sys, pathlib, diffgauss as dg
assert not list(pathlib.Path().iterdir()), "not an empty folder"
assert pathlib.Path(dg.__file__).is_relative_to(sys.prefix), dg.__file__
for split, n in (("train", 60000), ("test", 10000)):
    assert dg.load("fashion-mnist", split).shape == (n, 28, 28, 1)
D = dg.GaussianDenoiser.from_data(dg.load(classes=[0]))
print(dg.sample(D, 80.0 * dg.load(split="test")[:2], dg.karras_sigmas(5)).shape)
from diffgauss import plots, widgets
assert dg.results("cifar10")["what"]
print(plots.figure()[0])
"""


def environment() -> tuple[list[str], list[str]]:
    """What environment.yml asks of conda, and of pip."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    (pip,) = [entry["pip"] for entry in listed if isinstance(entry, dict)]
    return [entry for entry in listed if isinstance(entry, str)], pip


def test_environment_is_python_pip_and_the_project():
    conda, pip = environment()
    assert [re.split(r"[<>=]", entry)[0] for entry in conda] == ["python", "pip"]
    assert PROJECT["requires-python"] == ">=3.11" and conda[0] == "python=3.13"  # Binder reads no range
    assert pip == ["-e .[lab]"]  # the checkout's data/ is found


def test_constraints_pin_every_dependency_inside_its_window():
    pins = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8")))
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        requirement = Requirement(text)
        if requirement.name != "diffgauss":
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text


def test_pins_name_no_host_and_no_file_a_path_of_this_machine():
    assert "://" not in (ROOT / "constraints.txt").read_text(encoding="utf-8") + (
        ROOT / "environment.yml"
    ).read_text(encoding="utf-8")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for path in (ROOT / name for name in tracked.splitlines()):
        if path.is_file():
            found = path.read_bytes()
            assert f"{ROOT}/".encode() not in found and f"{Path.home()}/".encode() not in found, path


@pytest.mark.slow
def test_wheel_in_an_empty_environment_from_an_empty_folder(tmp_path):
    """The environment holds what environment.yml asks of pip; pip builds and installs the project as a wheel."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    packages = [entry.replace("-e .", str(ROOT)) for entry in environment()[1]]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), *packages], check=True, cwd=tmp_path)
    (tmp_path / "empty").mkdir()
    own = os.environ | {"DIFFGAUSS_DATA": str(ROOT / "data")}
    command = [str(python), "-I", "-c", USE]
    run = subprocess.run(command, cwd=tmp_path / "empty", env=own, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "(2, 28, 28, 1)" in run.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    where = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(where), str(ROOT)]
    subprocess.run(command, check=True)
    (found,) = where.glob("*.whl")
    return found


def check_wheel(path):
    """A wheel holds the code and what describes the data, and is small. Raises AssertionError otherwise."""
    names = set(zipfile.ZipFile(path).namelist())
    assert {
        "diffgauss/notebook/style.mplstyle",
        "diffgauss/notebook/claims.toml",
        "diffgauss/tour/page.html",
        "diffgauss/data/results/cifar10.json",
        "diffgauss/data/zoo/zoo.json",
        "diffgauss/data/registry.txt",
    } <= names
    assert any(n.endswith("LICENSE") for n in names)
    assert not [n for n in names if n.endswith((".gz", ".safetensors"))]
    assert path.stat().st_size <= 3e6, f"{path.stat().st_size} bytes; needs 3 MB or less"


@pytest.mark.slow
def test_wheel_is_small_and_a_larger_one_is_noticed(wheel, tmp_path):
    check_wheel(wheel)
    larger = tmp_path / wheel.name
    larger.write_bytes(wheel.read_bytes())
    with zipfile.ZipFile(larger, "a") as archive:
        archive.writestr("diffgauss/data/more.bin", os.urandom(3_000_000))
    with pytest.raises(AssertionError, match="needs 3 MB or less"):
        check_wheel(larger)


@pytest.mark.slow
def test_the_wheel_alone_fetches_what_notebook_1_names_and_nothing_else(wheel, tmp_path):
    """Its first cells, which load images and a network, with an empty cache and the store on this machine."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    cells = json.loads((ROOT / "notebooks" / "01_probability_flow_ode.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    script = ["import matplotlib; matplotlib.use('agg')", *code[:2], "print(sneakers.shape, dg.__file__)"]
    (tmp_path / "cells.py").write_text("\n".join(script), encoding="utf-8")
    with Server() as server:
        own = os.environ | variables(tmp_path, server.url) | {"PYTHONPATH": str(tmp_path / "installed")}
        command = [sys.executable, str(tmp_path / "cells.py")]
        run = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert f"(3000, 28, 28, 1) {tmp_path / 'installed'}" in run.stdout
    images = [f"fashion-mnist/train-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
    assert sorted(server.asked) == [*images, "zoo/sneaker-n3000.safetensors"]
    again = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True)  # without the server
    assert again.returncode == 0, again.stderr
