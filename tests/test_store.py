"""The store, by a server on this machine: what is fetched and what refused, and that nothing is half-written."""

import errno
import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from loopback import Server, variables
from typer.testing import CliRunner

from diffgauss import cli, files
from diffgauss.data import store

ROOT = Path(__file__).resolve().parents[1]
SMALL, OTHER = "zoo/n60000-resnet.safetensors", "zoo/n64-w4.safetensors"
FETCH = """
import sys
from pathlib import Path
from diffgauss.data import store
name, home, into = sys.argv[1:]
store.HOME = Path(home)  # without the checkout, whose files would be copied
store.fetch(name, Path(into))
"""
CALL = functools.partial(CliRunner().invoke, cli.app)


@pytest.fixture
def server():
    with Server() as serving:
        yield serving


@pytest.fixture
def alone(tmp_path, monkeypatch, server):
    """As where the wheel alone is installed: no data but in the cache, which is empty, and the server."""
    home = tmp_path / "package"
    (home / "zoo").mkdir(parents=True)
    shutil.copy(ROOT / "data" / "zoo" / "zoo.json", home / "zoo")
    monkeypatch.setattr(store, "HOME", home)
    monkeypatch.setattr(store, "PACKAGE", home)
    for name, value in variables(tmp_path, server.url).items():
        monkeypatch.setenv(name, value)
    return tmp_path / "cache" / "diffgauss"


def left(folder: Path) -> list[str]:
    """All files below a folder, hidden ones too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_the_registry_is_that_of_the_files(tmp_path):
    shutil.copytree(ROOT / "data", tmp_path / "data", copy_function=os.link)
    (tmp_path / "data" / "registry.txt").unlink()
    store.index(tmp_path / "data")
    written = (tmp_path / "data" / "registry.txt").read_text(encoding="utf-8")
    assert written == store.REGISTRY.read_text(encoding="utf-8"), "needs `diffgauss zoo index`"
    assert sum(path.endswith(".gz") for path in store.registry()) == 4
    nets = {p.stem for p in (ROOT / "data" / "zoo").glob("*.safetensors")}
    assert set(store.names()) == {"fashion-mnist", "diffusers"} | nets


def test_what_is_asked_for_is_fetched_once_and_nothing_else(alone, server):
    assert store.find(SMALL) is None
    path = store.path(SMALL)
    assert path == alone / SMALL and path.read_bytes() == (ROOT / "data" / SMALL).read_bytes()
    assert store.path(SMALL) == store.find(SMALL) == path and server.asked == [SMALL] and left(alone) == [SMALL]
    path.write_bytes(b"damaged since")
    assert store.whole(store.path(SMALL), SMALL) and server.asked == [SMALL, SMALL]


def test_a_folder_is_fetched_whole(alone, server):
    name = "diffusers/sneaker-v"
    wanted = [path for path in store.registry() if path.startswith(name)]
    assert store.tree(name) == alone / name and left(alone) == sorted(server.asked) == sorted(wanted)
    (alone / wanted[0]).unlink()
    assert store.tree(name) == alone / name and server.asked == [*wanted, wanted[0]]
    with pytest.raises(FileNotFoundError, match="diffusers/sneaker is not shipped; needs a folder that"):
        store.tree("diffusers/sneaker")


def test_a_named_folder_comes_before_the_checkout_and_that_before_the_cache(alone, server, tmp_path, monkeypatch):
    cached = store.path(SMALL)
    for where in (store.HOME, tmp_path / "named"):
        shutil.copytree(alone, where, dirs_exist_ok=True)
        if where != store.HOME:
            monkeypatch.setenv("DIFFGAUSS_DATA", str(where))
        assert store.path(SMALL) == store.find(SMALL) == where / SMALL != cached
    assert server.asked == [SMALL]
    monkeypatch.setenv("DIFFGAUSS_DATA", str(tmp_path / "mistyped"))
    with pytest.raises(FileNotFoundError, match="mistyped is no folder; needs DIFFGAUSS_DATA=FOLDER"):
        store.path(SMALL)


def test_the_address_is_the_public_one_at_the_tag(monkeypatch):
    monkeypatch.delenv("DIFFGAUSS_STORE", raising=False)
    monkeypatch.setattr(store, "REPOSITORY", "")
    assert store.address() == ""
    monkeypatch.setattr(store, "REPOSITORY", "someone/diffgauss")
    assert re.fullmatch(r"https://[\w.]+/someone/diffgauss/v\d+\.\d+\.\d+/data", store.address())


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("503", ConnectionError, "503.*tired.*needs a network that reaches it, or DIFFGAUSS_DATA"),
        ("cut", ConnectionError, "IncompleteRead.*needs a network"),
        ("cut, and no length", ValueError, f"sent .* bytes of sha256 .*; needs {store.registry()[SMALL][1]} of"),
        ("other bytes", ValueError, f"sent .* bytes of sha256 .*; needs .* of {store.registry()[SMALL][0]}"),
    ],
)
def test_a_server_that_fails_is_one_line_and_leaves_nothing(alone, server, fault, error, message):
    server.fault = fault
    with pytest.raises(error, match=message) as found:
        store.path(SMALL)
    assert server.url in str(found.value) and not left(alone)
    said = CALL(["data", "fetch", "n60000-resnet"])
    assert said.exit_code == 1 and said.output.startswith("diffgauss: ") and said.output.count("\n") == 1
    server.fault = ""
    assert store.whole(store.path(SMALL), SMALL)


def test_without_network_proxy_or_address_the_line_says_what_to_provide(alone, server, monkeypatch):
    closed = "http://127.0.0.1:9"
    monkeypatch.setenv("DIFFGAUSS_STORE", closed)
    with pytest.raises(ConnectionError, match=f"{closed}/{SMALL} cannot be had .*refused.*needs a network"):
        store.path(SMALL)
    monkeypatch.setenv("DIFFGAUSS_STORE", "http://store.invalid")
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, closed)
    with pytest.raises(ConnectionError, match="ProxyError.*refused.*needs a network that reaches it"):
        store.path(SMALL)
    monkeypatch.setenv("DIFFGAUSS_STORE", "")
    monkeypatch.setattr(store, "REPOSITORY", "")
    with pytest.raises(FileNotFoundError, match="no address to fetch it from; needs DIFFGAUSS_STORE=URL, or DIFFG"):
        store.path(SMALL)
    assert not left(alone) and not server.asked


def test_what_is_not_shipped_is_never_asked_for(alone, server):
    with pytest.raises(FileNotFoundError, match="zoo/never-trained.safetensors is not shipped"):
        store.path("zoo/never-trained.safetensors")
    assert not server.asked


def test_a_full_disk_is_named_and_nothing_is_left(alone, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left.*n60000-resnet") as found:
        store.path(SMALL)
    assert found.value.errno == errno.ENOSPC and not left(alone)


def test_two_processes_at_once_fetch_once(alone, server, tmp_path):
    server.fault = "slow"
    command = [sys.executable, "-c", FETCH, SMALL, str(store.HOME), str(tmp_path / "into")]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]  # and progress, since it is slow
    assert [process.returncode for process in both] == [0, 0], said
    assert left(tmp_path / "into") == [SMALL] and store.whole(tmp_path / "into" / SMALL, SMALL)
    assert server.asked == [SMALL]


def test_the_wait_for_another_process_has_an_end(alone, monkeypatch):
    monkeypatch.setattr(store, "PATIENCE", 0.2)
    with files.lock(alone / SMALL), pytest.raises(BlockingIOError, match="is being written by process"):
        store.path(SMALL)


def test_a_folder_is_filled_listed_and_verified_by_the_names_that_users_know(alone, server, tmp_path, monkeypatch):
    into = tmp_path / "classroom"
    said = CALL(["data", "fetch", "n60000-resnet", "n64-w4", "--into", str(into)])
    assert said.exit_code == 0 and server.asked == left(into) == [SMALL, OTHER], said.output
    assert not left(alone)
    monkeypatch.setenv("DIFFGAUSS_DATA", str(into))
    monkeypatch.setenv("DIFFGAUSS_STORE", "http://127.0.0.1:9")  # from here on without a network
    said = CALL(["data", "verify"])
    assert said.exit_code == 0 and f"2 of {len(store.registry())} files are here" in said.output
    said = CALL(["data", "list"])
    assert re.search(rf"(?m)^n64-w4 +0\.5 MB  {into}/zoo$", said.output)
    assert re.search(r"(?m)^n64 +7\.\d MB  not here$", said.output)
    assert CALL(["data", "fetch", "n64-w4", "--into", str(tmp_path / "copy")]).exit_code == 0
    assert left(tmp_path / "copy") == [OTHER]
    (into / OTHER).write_bytes(b"damaged")
    said = CALL(["data", "verify"])
    assert said.exit_code == 1 and OTHER in said.output and said.output.count("\n") == 1
    said = CALL(["data", "fetch", "n64-w4", "--into", str(into)])  # the damaged one is no source
    assert said.exit_code == 1 and "cannot be had" in said.output


def test_a_file_without_a_checksum_is_found(alone, monkeypatch, tmp_path):
    lines = store.REGISTRY.read_text(encoding="utf-8").splitlines(keepends=True)
    planted = tmp_path / "registry.txt"
    planted.write_text("".join(line for line in lines if OTHER not in line), encoding="utf-8")
    monkeypatch.setattr(store, "REGISTRY", planted)
    monkeypatch.setattr(store, "HOME", ROOT / "data")
    assert store.unlisted() == [str(ROOT / "data" / OTHER)]
    said = CALL(["data", "verify"])
    assert said.exit_code == 1 and OTHER in said.output


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "needs one or more names, or --all"),
        (["n64", "--all"], 2, "needs one or more names"),
        (["n65"], 1, "got 'n65'; the store has diffusers, fashion-mnist,"),
    ],
)
def test_what_fetch_refuses(alone, arguments, status, message):
    said = CALL(["data", "fetch", *arguments])
    assert said.exit_code == status and message in said.output
