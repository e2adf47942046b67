"""Writing under bad conditions: several processes, a full disk, a kill, a link."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from diffgauss import files

WRITER = """
import sys
from diffgauss import files
for _ in range(150):
    files.write(sys.argv[1], sys.argv[2] * 20000)
"""
HOLDER = """
import sys, time
from diffgauss import files
with files.lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def start(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)


def test_four_processes_write_one_file(tmp_path):
    path = tmp_path / "file"
    writers = [start(WRITER, str(path), letter) for letter in "abcd"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            content = path.read_text(encoding="utf-8")
            assert len(content) == 20000 and len(set(content)) == 1
            seen.add(content[0])
    assert [writer.wait() for writer in writers] == [0] * 4 and seen <= set("abcd") and seen
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_write_does_not_follow_a_link_and_keeps_the_rights_of_new_files(tmp_path):
    (tmp_path / "other").write_text("old", encoding="utf-8")
    (tmp_path / "link").symlink_to("other")
    files.write(tmp_path / "link", "new")
    assert (tmp_path / "other").read_text(encoding="utf-8") == "old" and (tmp_path / "link").read_text(
        encoding="utf-8"
    ) == "new"
    (tmp_path / "plain").write_text("", encoding="utf-8")
    assert (tmp_path / "link").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.fixture
def small(tmp_path):
    """A folder on a disk of 64 KiB."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk; the next test takes a fake")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk here: {mounted.stderr.decode()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def full(path) -> None:
    files.write(path, "old")
    with pytest.raises(OSError, match=f"No space left.*{path.name}") as found:
        files.write(path, "x" * 200_000)
    assert found.value.errno == errno.ENOSPC
    assert path.read_text(encoding="utf-8") == "old" and [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_full_disk_leaves_the_old_file(small):
    full(small / "zoo.json")


def test_a_full_disk_by_a_fake(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(descriptor):
        if os.fstat(descriptor).st_size > 64 << 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    full(tmp_path / "zoo.json")


def test_one_process_at_a_time_and_a_dead_one_keeps_nobody_out(tmp_path):
    path = tmp_path / "run"
    owner = start(HOLDER, str(path))
    assert owner.stdout and owner.stdout.readline() == "held\n"
    with pytest.raises(BlockingIOError, match=f"run is being written by process {owner.pid} on "):
        with files.lock(path):
            pass
    with files.lock(tmp_path / "another"):
        pass
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with files.lock(path):
        assert (tmp_path / ".run.lock").read_text(encoding="utf-8").startswith(f"process {os.getpid()} on ")
    assert not list(tmp_path.iterdir())


def test_of_many_that_lock_at_once_each_gets_its_turn_alone(tmp_path):
    code = """
import sys, time, pathlib
from diffgauss import files
where = pathlib.Path(sys.argv[1])
done = 0
while done < 40:
    try:
        with files.lock(where / "run"):
            (where / "inside").touch(exist_ok=False)
            (where / "inside").unlink()
            done += 1
    except BlockingIOError:
        pass
"""
    many = [start(code, str(tmp_path)) for _ in range(3)]
    assert [process.wait() for process in many] == [0] * 3
    assert not list(tmp_path.iterdir())
