"""JupyterLab as a reader has it: a server on this machine, Debian's Chromium, a mouse."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import colab
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, sync_playwright

TOKEN = "notebooks"
SHOTS = colab.ROOT / "build" / "browser"
CALM = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
TRACEBACK = '[data-mime-type="application/vnd.jupyter.error"]'
DONE = """([cells, traceback]) => {
    // A folded cell shows no prompt; those after it do, and cells run in order.
    const all = [...document.querySelectorAll(".jp-CodeCell")];
    const prompts = all.map(e => e.querySelector(".jp-InputArea-prompt")?.textContent).filter(p => p !== undefined);
    const failed = document.querySelector(traceback) !== null;
    return !prompts.some(p => p.includes("*"))
        && (failed || (all.length === cells && prompts.length > 0 && prompts.every(p => /\\d/.test(p))));
}"""


def chromium() -> str | None:
    """The path of Chromium or Chrome; where there is neither, root tries Debian's package."""
    names = ("chromium", "chromium-browser", "google-chrome")
    if not any(map(shutil.which, names)) and shutil.which("apt-get") and os.geteuid() == 0:
        install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium"
        subprocess.run(["sh", "-c", install], capture_output=True)
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")  # not the session: its event loop would disturb other tests
def browser() -> Iterator[Browser]:
    """Chromium without a window. Where there is none the tests are left out, or fail if BROWSER is set."""
    path = chromium()
    if path is None:
        message = "no Chromium: `apt-get install chromium` brings Debian's (root's run does it alone)"
        pytest.fail(message) if os.environ.get("BROWSER") else pytest.skip(message)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=CALM)
        yield opened
        opened.close()


@contextmanager
def server(python: str | Path, folder: Path, **variables: str) -> Iterator[str]:
    """JupyterLab of that Python on the folder, with its default settings; yields its address.

    Announcements are off, since they ask the network for news.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = folder.parent / "jupyter"
    where = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    where |= {f"JUPYTERLAB_{kind}_DIR": str(home / kind.lower()) for kind in ("SETTINGS", "WORKSPACES")}
    (home / "config" / "labconfig").mkdir(parents=True)
    off = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (home / "config" / "labconfig" / "page_config.json").write_text(json.dumps(off), encoding="utf-8")
    command = [str(python), "-m", "jupyterlab", "--no-browser", "--allow-root", f"--notebook-dir={folder}"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=colab.clean(**where, **variables), stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 240
            while not listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"JupyterLab did not start:\n{(home / 'log').read_text(encoding='utf-8')[-3000:]}"
                    )
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def faults(page: Page, address: str, path: Path, cells: int, name: str, patience: float = 30) -> list[str]:
    """Open the notebook, run all of its cells, drag its sliders: what goes wrong, and pictures in build/browser.

    A fault is an error that the kernel sends, shown or not; a cell that does not run; a notebook without sliders;
    a slider whose ends show the same; an uncaught exception in the page; and every message of level error in
    the browser's console but those that say that something could not be loaded from another address.
    patience: seconds until a slider's picture is taken to stay.
    """
    found: list[str] = []

    def heard(frame: str | bytes) -> None:
        text = frame.decode(errors="replace") if isinstance(frame, bytes) else frame
        if re.search('"msg_type": ?"error"', text):
            found.append(f"the kernel sent an error: {text[-3000:]}")

    def logged(message: ConsoleMessage) -> None:
        url = message.location["url"]
        elsewhere = message.text.startswith("Failed to load resource") and not url.startswith(address)
        if message.type == "error" and not elsewhere:
            found.append(f"console: {message.text} {url}")

    page.on("websocket", lambda socket: socket.on("framereceived", heard))
    page.on("console", logged)
    page.on("pageerror", lambda error: found.append(f"uncaught in the page: {error}"))
    # A workspace of its own: the default one opens again what an earlier test had open.
    page.goto(f"{address}/lab/workspaces/{path.stem}/tree/{path.name}?token={TOKEN}", wait_until="commit")
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=240_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
    page.wait_for_function(DONE, arg=[cells, TRACEBACK], timeout=900_000)
    found += [f"traceback: {text}" for text in page.locator(TRACEBACK).all_inner_texts()]
    SHOTS.mkdir(parents=True, exist_ok=True)
    sliders = page.locator(".jp-OutputArea .widget-slider").all()
    if not sliders and not found:
        found.append("no slider")
    for k, slider in enumerate(sliders, start=1):
        drag(page, slider, right=False)
        for end in ("right", "left"):
            before = shown(slider)
            drag(page, slider, right=end == "right")
            if not changes(page, slider, before, patience):
                found.append(
                    f"slider {k} dragged to the {end}: {before[0]!r} became {shown(slider)[0]!r}, same picture"
                )
            SHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SHOTS / f"{name}-slider{k}-{end}.png")
    page.wait_for_timeout(1000)  # for errors that nothing on the page waits for
    found += [f"traceback: {text}" for text in page.locator(TRACEBACK).all_inner_texts()]
    shut_down(page, address)
    return found


def shut_down(page: Page, address: str) -> None:
    """End all kernels of the server: the next notebook starts with a fresh one, and has the memory for itself."""
    who = {"Authorization": f"token {TOKEN}"}
    for kernel in page.request.get(f"{address}/api/kernels", headers=who).json():
        assert page.request.delete(f"{address}/api/kernels/{kernel['id']}", headers=who).status == 204


def drag(page: Page, slider: Locator, *, right: bool) -> None:
    """Take the slider's handle with the mouse (noUiSlider in ipywidgets 8, jQuery UI in 7) beyond an end."""
    handle = slider.locator(".noUi-handle, .ui-slider-handle").first
    handle.scroll_into_view_if_needed()
    start, track = handle.bounding_box(), slider.locator(".slider-container").bounding_box()
    assert start and track
    y = start["y"] + start["height"] / 2
    page.mouse.move(start["x"] + start["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(track["x"] + track["width"] + 20 if right else track["x"] - 20, y, steps=8)
    page.mouse.up()


def shown(slider: Locator) -> tuple[str, list[str]]:
    """The slider's value as the reader sees it, and the pictures of the box that it is in."""
    box = slider.locator("xpath=ancestor::*[contains(@class, 'widget-vbox')][1]")
    images = box.locator(".widget-output img").evaluate_all("all => all.map(e => e.src)")
    return slider.locator(".widget-readout").inner_text(), images


def changes(page: Page, slider: Locator, before: tuple[str, list[str]], seconds: float) -> bool:
    """Whether value and picture are soon others than before; not, as soon as there is a traceback."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not page.locator(TRACEBACK).count():
        value, images = shown(slider)
        if value != before[0] and len(images) == 1 and images != before[1]:
            return True
        page.wait_for_timeout(200)
    return False
