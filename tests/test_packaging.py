"""What a user installs: the wheel carries its data, and environment.yml lists what is needed."""

import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
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
    assert PROJECT["requires-python"] == ">=3.11" and conda[0].startswith("python>=3.11")
    assert pip == [".[lab]"]


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
    packages = [
        str(ROOT) + entry.removeprefix(".") if entry.startswith(".") else entry for entry in environment()[1]
    ]
    install = [str(python), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), *packages]
    subprocess.run(install, check=True, cwd=tmp_path)
    (tmp_path / "empty").mkdir()
    run = subprocess.run([str(python), "-I", "-c", USE], cwd=tmp_path / "empty", capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "(2, 28, 28, 1)" in run.stdout


@pytest.mark.slow
def test_wheel_carries_data_style_and_licence(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path), str(ROOT)], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert sum(n.startswith("diffgauss/data/fashion-mnist/") and n.endswith(".gz") for n in names) == 4
    assert {
        "diffgauss/notebook/style.mplstyle",
        "diffgauss/notebook/claims.toml",
        "diffgauss/tour/page.html",
        "diffgauss/data/results/cifar10.json",
    } <= set(names)
    assert any(n.endswith("LICENSE") for n in names)
