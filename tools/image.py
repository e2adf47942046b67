"""The steps of the Dockerfile without a container, where none can be built: python tools/image.py [NOTEBOOK ...]

FROM names the Python, which must be on this machine; COPY takes the files that git tracks; ENV and RUN are obeyed
with the image's home in build/image. useradd, USER, EXPOSE and CMD need a container and are left out. The notebooks
given (default: 1) are then run there by nbval, without a network where it can be taken away (by Linux's root).
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import colab
import newest
from colab import ROOT

HOME, PLACE = "/home/reader", ROOT / "build" / "image"
OFFLINE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
"""Before a command: it then reaches this machine alone."""


def steps(text: str) -> list[tuple[str, str]]:
    """(instruction, what it says) of each line, with the image's home in build/image."""
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    found = [line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#")]
    return [(word, rest.replace(HOME, str(PLACE))) for word, rest in found]


def build() -> dict[str, str]:
    """Take the steps; the variables with which a command then runs. Raises ValueError for an unknown step."""
    shutil.rmtree(PLACE, ignore_errors=True)
    environment, folder = colab.clean(HOME=str(PLACE)), PLACE
    for word, rest in steps((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        if word == "FROM":
            (minor,) = re.findall(r"python:3\.(\d+)", rest)
            python = colab.interpreter(int(minor))
            if not colab.version(python).startswith(f"Python 3.{minor}."):
                raise ValueError(f"the Dockerfile asks for {rest}; needs Python 3.{minor} on this machine")
            environment["PATH"] = f"{Path(python).parent}{os.pathsep}{environment['PATH']}"
        elif word == "WORKDIR":
            folder = Path(rest)
            folder.mkdir(parents=True)
        elif word == "COPY":
            for name in colab.git("ls-files").splitlines():
                if (ROOT / name).is_file():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / name, folder / name)
        elif word == "ENV":
            name, _, value = rest.partition("=")
            environment[name] = re.sub(r"\$\{(\w+)\}", lambda found: environment[found[1]], value.strip('"'))
        elif word == "RUN" and not rest.startswith("useradd"):
            subprocess.run(rest, shell=True, cwd=folder, env=environment, check=True)
        elif word not in ("RUN", "USER", "EXPOSE", "CMD"):
            raise ValueError(f"the Dockerfile has {word}; tools/image.py knows no such step")
    return environment | {"PWD": str(folder)}


def main() -> int:
    environment = build()
    folder, lab = Path(environment["PWD"]), Path(environment["PATH"].split(os.pathsep)[0]) / "python"
    subprocess.run([lab, *colab.PIP, "install", "-q", "nbval", "pytest"], check=True)
    alone = OFFLINE if shutil.which("unshare") and shutil.which("ip") and os.geteuid() == 0 else []
    print(colab.version(lab), "without a network" if alone else "with the network")
    found = []
    for number in sys.argv[1:] or ["1"]:
        (path,) = (folder / "notebooks").glob(f"{int(number):02}_*.ipynb")
        found += newest.nbval(lab, path, before=alone)
    print("\n".join(found) or "all is well")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
