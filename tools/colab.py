"""An environment with the versions that Colab ships, in build/colab: python tools/colab.py makes it or mends it.

It is not Colab: it is tests/colab/requirements.txt on Python 3.13 and a module that stands for google.colab.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "tests" / "colab" / "requirements.txt"
FOLDER = ROOT / "build" / "colab"
PYTHON = FOLDER / "env" / "bin" / "python"
PIP = ("-m", "pip", "--disable-pip-version-check")


def interpreter(first: int = 13) -> str:
    """Python 3.13, Colab's, or another 3.x from PATH or pyenv; else the newest from 3.11 on; else the one here."""
    for minor in (first, 13, 12, 11):
        pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python"))
        for found in [shutil.which(f"python3.{minor}"), *map(str, pyenv)]:
            if found and version(found).startswith(f"Python 3.{minor}."):
                return found
    return sys.executable


def version(python: str | Path) -> str:
    """What `python --version` prints; empty where it does not run (a shim of a version that is not installed)."""
    return subprocess.run([python, "--version"], capture_output=True, text=True).stdout.strip()


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """Name to version of every package in tests/colab/requirements.txt."""
    return {canonical(n): v for n, v in re.findall(r"(?m)^([\w.-]+)==(\S+)$", PINS.read_text(encoding="utf-8"))}


def installed() -> dict[str, str]:
    """Name to version of every package in the environment."""
    listed = subprocess.run([PYTHON, *PIP, "list", "--format=json"], capture_output=True, text=True, check=True)
    return {canonical(package["name"]): package["version"] for package in json.loads(listed.stdout)}


def environment() -> Path:
    """The Python of the environment, which then holds the pins and nothing else, whatever an earlier run left."""
    base = interpreter()
    if not PYTHON.exists() or version(PYTHON) != version(base):
        shutil.rmtree(FOLDER / "env", ignore_errors=True)
        subprocess.run([base, "-m", "venv", FOLDER / "env"], check=True)
    wanted, there = pins(), installed()
    if extra := sorted(there.keys() - wanted.keys()):
        subprocess.run([PYTHON, *PIP, "uninstall", "-q", "-y", *extra], check=True)
    if any(there.get(name) != v for name, v in wanted.items()):
        subprocess.run([PYTHON, *PIP, "install", "-q", "--no-compile", "-r", PINS], check=True, env=clean())
    (site,) = (FOLDER / "env" / "lib").glob("python3*/site-packages")
    (site / "google" / "colab").mkdir(parents=True, exist_ok=True)
    shutil.copy(PINS.with_name("google_colab.py"), site / "google" / "colab" / "__init__.py")
    start = "import google.colab\n"  # in sys.modules from the start, as in Colab
    (site / "google_colab.pth").write_text(start, encoding="utf-8")
    return PYTHON


def clean(**more: str) -> dict[str, str]:
    """The variables of the process without those through which packages of elsewhere come in, and some more."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "DIFFGAUSS_SOURCE")}
    return kept | more


def git(*args: str) -> str:
    return subprocess.run(["git", "-C", ROOT, *args], capture_output=True, text=True, check=True).stdout.strip()


def source() -> str:
    """What the setup cell is to install: this repository's commit, cloned by pip (so no uncommitted change)."""
    return f"git+file://{ROOT}@{git('rev-parse', 'HEAD')}"


def turn(later: int = 0) -> set[Path]:
    """The notebooks that a run of the tests takes in this environment: every fifth of ten, about two.

    The number of commits, and so many later, says which, so that five commits in a row cover all. COLAB=all in the
    environment: all.
    """
    paths = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    groups = 1 if os.environ.get("COLAB") == "all" else max(1, math.ceil(len(paths) / 2))
    return set(paths[(int(git("rev-list", "--count", "HEAD")) + later) % groups :: groups])


def describe() -> str:
    """The Python, the versions and the commit that are tested, and the changes that are not."""
    there = installed()
    lines = [f"{version(PYTHON)} in {PYTHON.relative_to(ROOT)}, made by {interpreter()}"]
    lines += [", ".join(f"{n} {there[n]}" for n in list(pins())[:10])]
    lines += [f"diffgauss from commit {git('rev-parse', '--short', 'HEAD')}"]
    if changes := git("status", "--porcelain", "src", "pyproject.toml", "data"):
        lines += ["NOT TESTED, since pip installs what is committed:", changes]
    return "\n".join(lines)


if __name__ == "__main__":
    environment()
    print(describe())
