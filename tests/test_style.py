"""Lint, format and types, as tests: beside the others, so that no core waits for them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT, BIN = Path(__file__).parents[1], Path(sys.executable).parent


@pytest.mark.parametrize("command", ["ruff check .", "ruff format --check .", "pyright -p ."])
def test_the_tree_passes(command):
    name, *options = command.split()
    done = subprocess.run([BIN / name, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
