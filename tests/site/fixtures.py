"""The pages and the decks, made once, and a browser that reaches nothing but them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pages import ROOT, SHOTS, serve
from playwright.sync_api import Page, Route, ViewportSize


def made(tool: str, folder: str) -> Path:
    run = subprocess.run([sys.executable, ROOT / "tools" / tool], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, (run.stdout + run.stderr)[-5000:]
    SHOTS.mkdir(parents=True, exist_ok=True)
    return ROOT / "build" / folder


@pytest.fixture(scope="session")
def site() -> Path:
    return made("web.py", "site")


@pytest.fixture(scope="session")
def decks() -> Path:
    return made("decks.py", "slides")


@pytest.fixture
def visit(browser) -> Iterator[Callable[..., Page]]:
    """visit(folder, path, width=…, height=…) opens a page.

    The test fails if the page asks for anything from elsewhere, or logs an error.
    """
    heard: list[str] = []
    with ExitStack() as stack:

        def go(folder: Path, path: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
            address = stack.enter_context(serve(folder))
            size: ViewportSize = {"width": width, "height": height}
            scheme = "dark" if dark else "light"
            context = stack.enter_context(browser.new_context(viewport=size, color_scheme=scheme))
            context.set_default_timeout(60_000)  # a busy machine is no fault

            def gate(route: Route) -> None:
                if route.request.url.startswith(address):
                    return route.continue_()
                heard.append(f"asked for {route.request.url}")
                return route.abort()

            context.route("**/*", gate)
            page = context.new_page()
            page.on("console", lambda m: heard.append(f"{m.text} {m.location}") if m.type == "error" else None)
            page.on("pageerror", lambda error: heard.append(str(error)))
            page.goto(f"{address}/{path}")
            page.evaluate("window.MathJax?.startup?.promise?.then(() => true)")
            return page

        yield go
    assert not heard
