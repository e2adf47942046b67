"""Where images and weights are found: a folder that is named, the checkout, the user's cache, which is filled."""

import hashlib
import io
import os
import time
from importlib import metadata
from pathlib import Path

from tqdm.auto import tqdm

from diffgauss import files

REPOSITORY = ""
"""owner/name, the public address: stamped by `make address`."""

PACKAGE = Path(__file__).parent
HOME = PACKAGE if (PACKAGE / "registry.txt").is_file() else PACKAGE.parents[2] / "data"
"""Where zoo.json, the results and the checksums are: inside an installed package, or a checkout's data/."""

REGISTRY = HOME / "registry.txt"
PATIENCE = 600.0
"""Seconds to wait while another process fetches the same file."""

FOLDER = "DIFFGAUSS_DATA=FOLDER, one that `diffgauss data fetch --into FOLDER` filled"


def registry() -> dict[str, tuple[str, int]]:
    """SHA-256 and bytes of each file of the store by its path below data/, such as zoo/n64.safetensors."""
    lines = (line.split(maxsplit=2) for line in REGISTRY.read_text(encoding="utf-8").splitlines())
    return {path: (digest, int(size)) for digest, size, path in lines}


def index(where: Path) -> None:
    """Write registry.txt of a data/ from the images and weights in it."""
    contents = {path: (where / path).read_bytes() for path in _within(where)}
    lines = [f"{_digest(content)} {len(content)} {path}\n" for path, content in contents.items()]
    files.write(where / "registry.txt", "".join(lines))


def unlisted() -> list[str]:
    """Images and weights in ``folders`` that have no checksum."""
    return [str(where / path) for where in folders() for path in _within(where) if path not in registry()]


def names() -> dict[str, list[str]]:
    """The paths of each data set and network by the name that users know: fashion-mnist, n64."""
    found: dict[str, list[str]] = {}
    for path in registry():
        folder, _, file = path.partition("/")
        found.setdefault(file.removesuffix(".safetensors") if folder == "zoo" else folder, []).append(path)
    return found


def chosen(wanted: list[str] | None) -> dict[str, list[str]]:
    """Those of ``names`` that are wanted, None for all. Raises ValueError for one that is not there."""
    there = names()
    if odd := sorted(set(wanted or ()) - there.keys()):
        raise ValueError(f"got {odd[0]!r}; the store has {', '.join(there)}")
    return {name: there[name] for name in wanted} if wanted else there


def folders() -> list[Path]:
    """Where a file is looked for before the cache. Raises FileNotFoundError where DIFFGAUSS_DATA is no folder."""
    named = os.environ.get("DIFFGAUSS_DATA")
    if named and not Path(named).expanduser().is_dir():
        raise FileNotFoundError(f"{named} is no folder; needs {FOLDER}")
    return [Path(named).expanduser(), HOME] if named else [HOME]


def cache() -> Path:
    """The user's, which the system names. Raises ModuleNotFoundError without pooch."""
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("images and weights are fetched by pooch; needs: pip install pooch") from error
    return Path(pooch.os_cache("diffgauss"))


def path(name: str) -> Path:
    """The file of that path below data/: of ``folders``, as it is, or of the cache, fetched where it is not whole.

    Raises as ``fetch``.
    """
    here = next((folder / name for folder in folders() if (folder / name).is_file()), None)
    return here or fetch(name, cache())


def tree(name: str) -> Path:
    """The folder of that path below data/ with all files that the store has in it, fetched where one is not whole.

    Raises FileNotFoundError for a folder that the store lacks, and as ``fetch``.
    """
    wanted = [path for path in registry() if path.startswith(f"{name}/")]
    if not wanted:
        raise FileNotFoundError(f"{name} is not shipped; needs a folder that registry.txt names")
    here = next((root for root in folders() if all((root / path).is_file() for path in wanted)), None)
    if here is None:
        here = [cache() for path in wanted if fetch(path, cache())][0]
    return here / name


def find(name: str) -> Path | None:
    """The file that ``path`` gives without fetching; None where it would fetch."""
    here = next((folder / name for folder in folders() if (folder / name).is_file()), None)
    return here or (cache() / name if whole(cache() / name, name) else None)


def whole(file: Path, name: str) -> bool:
    """Whether a file has the bytes that the store has under that path."""
    digest, size = registry().get(name, ("", -1))
    return file.is_file() and file.stat().st_size == size and _digest(file.read_bytes()) == digest


def fetch(name: str, into: Path) -> Path:
    """Put the store's file of that path into a folder, whole or not at all: copied from here, else downloaded.

    One process of several fetches, the others wait. Raises FileNotFoundError for a file that the store lacks or
    where no address is known, ConnectionError where it cannot be reached or the connection is cut, ValueError for
    other bytes than those of the registry, OSError where the folder cannot be written.
    """
    if name not in registry():
        raise FileNotFoundError(f"{name} is not shipped; needs a file that `diffgauss data list` names")
    target, until = into / name, time.monotonic() + PATIENCE
    while not whole(target, name):
        try:
            with files.lock(target):
                if not whole(target, name):  # another process may have been faster
                    here = find(name)
                    intact = here and whole(here, name)
                    files.write(target, here.read_bytes() if here and intact else _download(name))
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
    return target


def address() -> str:
    """Where the store is: DIFFGAUSS_STORE, or the public address at the package's tag; empty where it has none."""
    public = f"https://raw.githubusercontent.com/{REPOSITORY}/v{metadata.version('diffgauss')}/data"
    return os.environ.get("DIFFGAUSS_STORE") or (public if REPOSITORY else "")


def _download(name: str) -> bytes:
    from pooch import HTTPDownloader

    if not address():
        raise FileNotFoundError(
            f"{name} is not on this machine, or damaged, and this copy has no address to fetch it from; "
            f"needs DIFFGAUSS_STORE=URL, or {FOLDER}"
        )
    (digest, size), url, content = registry()[name], f"{address().rstrip('/')}/{name}", io.BytesIO()
    try:
        with tqdm.wrapattr(content, "write", total=size, desc=name, delay=0.5, leave=False) as shown:
            plain = {"Accept-Encoding": "identity"}  # the bytes as they are, also those of a .gz
            HTTPDownloader(chunk_size=2**16, headers=plain)(url, shown, None)  # type: ignore[arg-type]
    except OSError as error:  # no network, a proxy's answer, a status of failure, a connection that was cut
        said = " ".join(str(error).split())[-160:]  # the cause comes last
        raise ConnectionError(
            f"{url} cannot be had ({type(error).__name__}: {said}); needs a network that reaches it, or {FOLDER}"
        ) from error
    found = content.getvalue()
    if (got := _digest(found)) != digest:
        raise ValueError(f"{url} sent {len(found)} bytes of sha256 {got}; needs {size} of {digest}")
    return found


def _within(where: Path) -> list[str]:
    """The paths, below a data/, of the images and weights in it."""
    found = [*where.glob("fashion-mnist/[!.]*"), *where.glob("zoo/[!.]*.safetensors")]
    found += [path for path in where.glob("diffusers/**/[!.]*") if path.is_file()]
    return sorted(path.relative_to(where).as_posix() for path in found)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
