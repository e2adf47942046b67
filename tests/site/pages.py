"""What must not be in a page, and a server for looking at it."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "build" / "site-shots"
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
ELSEWHERE = re.compile(r"(?:https?:)?//")
PLACEHOLDER = re.compile(
    r"\bOWNER\b(?:/REPO\b)?|/REPO\b|\bYOUR[-_/]\w+|<your[- ]\w+|\b(?:TODO|TBD|FIXME|XXX)\b|[Ll]orem ipsum"
)
"""What stands for something that is not written yet."""


def faults(folder: Path) -> list[str]:
    """Images without alt text, links to no page or anchor, placeholders, and what is loaded from elsewhere."""
    soups = {
        path: BeautifulSoup(path.read_bytes(), "html.parser")
        for path in sorted(folder.resolve().rglob("*.html"))
        if "_static" not in path.parts
    }
    anchors = {path: {str(tag["id"]) for tag in soup.find_all(id=True)} for path, soup in soups.items()}
    found = []
    for path, soup in soups.items():
        found += [f"{path.name}: placeholder: {text}" for text in PLACEHOLDER.findall(soup.get_text())]
        for image in soup.find_all("img"):
            if not str(image.get("alt", "")).strip():
                found.append(f"{path.name}: no alt text: {str(image)[:100]}")
        for tag in soup.find_all(list(LOADED)):
            address = str(tag.get(LOADED[tag.name]) or "")
            if ELSEWHERE.match(address):
                found.append(f"{path.name}: loaded from elsewhere: {address}")
            elif address and dead(path, address, anchors):
                found.append(f"{path.name}: not there: {address[:100]}")
        for link in soup.find_all("a", href=True):
            address = str(link["href"])
            if not re.match(r"[a-z]+:|//", address) and dead(path, address, anchors):
                found.append(f"{path.name}: dead link: {address}")
    for path in sorted(folder.rglob("*.css")):
        for address in re.findall(r"(?:@import|url\()\s*['\"]?((?:https?:)?//[^'\")]+)", path.read_text("utf-8")):
            found.append(f"{path.name}: loaded from elsewhere: {address}")
    return found


def dead(path: Path, address: str, anchors: dict[Path, set]) -> bool:
    """Whether the relative address leads to no file, or to a page without that anchor."""
    if address.startswith("data:"):
        return False
    file, _, anchor = address.partition("#")
    file = unquote(file.split("?")[0])
    target = (path.parent / file).resolve() if file else path
    target = target / "index.html" if target.is_dir() else target
    if not target.exists():
        return True
    return bool(anchor) and target in anchors and unquote(anchor) not in anchors[target]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The folder on a free port of this machine; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
