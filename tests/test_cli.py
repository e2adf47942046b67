"""The command line: what it says of bad input, its exit status, terminals that cannot show all."""

import os
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from diffgauss import cli

call = CliRunner().invoke


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "diffgauss", *arguments], env=os.environ | variables, capture_output=True
    )


def test_the_module_runs_and_knows_its_version():
    said = run("--version")
    assert said.returncode == 0 and re.match(
        rb"diffgauss \d+\.\d+\.\d+, jax \d+\.\d+\S*, Python 3\.\d+", said.stdout
    )


def test_a_command_that_draws_nothing_imports_nothing_that_draws():
    code = "import sys, diffgauss.cli; print(*{'jax', 'matplotlib', 'scipy.stats', 'torch'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["jax"]


@pytest.mark.parametrize("encoding", ["cp1252", "cp932", "latin-1", "ascii"])
def test_a_terminal_that_cannot_show_all_gets_question_marks(encoding):
    said = run("zoo", "list", PYTHONIOENCODING=encoding)
    assert said.returncode == 0 and b"| n60000 | 60000 |" in said.stdout
    assert (b"?" in said.stdout) == (encoding in ("cp932", "latin-1"))  # cp1252 has the dash; Click takes no ascii


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        (["zoo", "train", "n65"], 1, "got 'n65'"),
        (["zoo", "train", "n64", "--processes", "2", "--process", "1"], 2, "--coordinator"),
        (["zoo", "train", "n64", "--steps", "0"], 1, "steps = 0; needs at least 1"),
        (["zoo", "score", "n65"], 1, "got 'n65'"),
        (["tour", "nowhere.npy"], 1, "nowhere.npy"),
        (["tour", "a.npy", "--minutes", "inf"], 1, "minutes = inf"),
        (["tour", "a.npy", "--minutes", "nan"], 1, "minutes = nan"),
        (["tour", "a.npy", "--seed", "-1"], 1, "seed = -1; needs 0 ≤ seed"),
        (["tour", "a.npy", "--seed", "x"], 2, "Usage"),
        (["zoo", "nothing"], 2, "Usage"),
    ],
)
def test_bad_input_is_one_line_and_its_status(arguments, status, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = call(cli.app, arguments)
    assert said.exit_code == status and message in said.output and "Traceback" not in said.output
    assert status == 2 or said.output.startswith("diffgauss: ") and said.output.count("\n") == 1, said.output
    assert not list(tmp_path.iterdir()) or status == 1 and arguments[1] == "train"


@pytest.mark.parametrize(
    "error, status",
    [
        (KeyboardInterrupt(), 130), (MemoryError(), 1), (RuntimeError("a\nb"), 1), (typer.Exit(3), 3),
        (FileNotFoundError("no \x1b[31mred\x07 \udcff"), 1),
    ],
)  # fmt: skip
def test_every_command_is_inside_the_guard(error, status, monkeypatch):
    def fails(*args, **options):
        raise error

    monkeypatch.setattr(cli.zoo, "shipped", fails)
    said = call(cli.app, ["zoo", "list"])
    assert said.exit_code == status and said.output.count("\n") == (status != 3)
    assert all(c.isprintable() for c in said.output.strip())


def test_a_report_is_written_over_a_report_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npy").write_bytes(b"images")
    (tmp_path / "thesis.html").write_text("<html>mine</html>", encoding="utf-8")
    (tmp_path / "link.html").symlink_to("a.npy")
    for out, message in (
        ("thesis.html", "no report of ours"),
        ("link.html", "no link"),
        ("a.npy", "that of the images"),
    ):
        said = call(cli.app, ["tour", "a.npy", "--out", out])
        assert said.exit_code == 1 and message in said.output, said.output
    assert (tmp_path / "thesis.html").read_text(encoding="utf-8") == "<html>mine</html>"
    assert (tmp_path / "a.npy").read_bytes() == b"images"
