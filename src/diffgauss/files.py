"""Files written whole or not at all, by one process at a time."""

import contextlib
import json
import os
import platform
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write(path: str | Path, content: str | bytes) -> None:
    """Put the content, text as UTF-8, into a file whose folder is made where it is missing.

    The bytes go to a new file beside it, of a name that no other writer has, are flushed to the disk and then
    renamed: a kill at any moment leaves the old file or the new one, and of several writers one wins. Raises
    OSError with the file's name where the disk is full or forbids it; the old file then stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        with open(partial, "xb") as file:  # x: never through a link that somebody has put there
            file.write(content if isinstance(content, bytes) else content.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def read_json(path: str | Path) -> dict[str, Any]:
    """The dictionary in a file of JSON. Raises ValueError, which names the file, for anything else."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or no JSON ({error}); needs the file as it was written") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__}; needs a dictionary")
    return found


@contextlib.contextmanager
def lock(path: str | Path) -> Iterator[None]:
    """Keep other processes out of the work on a file, by a lock on ``.NAME.lock`` beside it, which holds the owner.

    The system frees it when the owner ends, however that is, so a dead process keeps nobody out. Raises
    BlockingIOError, with the owner, where another process has it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    held = path.with_name(f".{path.name}.lock")
    while True:
        file = open(held, "a+", encoding="utf-8")  # noqa: SIM115
        try:
            _take(file.fileno())
        except OSError as error:
            file.seek(0)
            owner = file.read(200).strip() or "another process"
            file.close()
            raise BlockingIOError(f"{path} is being written by {owner}; needs that to end first") from error
        if held.exists() and os.path.samestat(os.fstat(file.fileno()), held.stat()):
            break
        file.close()  # its owner removed it in between
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        yield
    finally:
        with contextlib.suppress(OSError):
            held.unlink()
        file.close()


def _take(descriptor: int) -> None:
    """An exclusive lock, or OSError at once."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
