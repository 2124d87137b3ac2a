"""A real browser on a real JupyterLab: skipped, with a word, where there is no chromium."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

# Chromium's own habits that need a screen, a sandbox or the network.
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    """Chromium, for the tests of one file: while it runs, no other test could use asyncio."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no chromium on this machine: the tests in a real browser are left out")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A page of 1280 × 900 pixels; `page.errors` collects what its console calls an error."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.errors = []
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    page.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Return a function that starts a Jupyter program, and returns its address once it answers at the path `ready`.

    It starts in `folder`, and `data` is a folder of further Jupyter data (templates). All end with the file.
    """
    started = []

    def serve(*command, folder, ready, data=""):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # Settings of whoever runs the tests must not matter, and theirs must not be changed.
        home = tmp_path_factory.mktemp("home")
        places = {name: str(home / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
        log = (home / "log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--no-browser", f"--port={port}"],
            cwd=folder,
            env={**os.environ, **places, "JUPYTER_PATH": str(data)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        started.append((process, log))
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(address + ready, timeout=60).close()
                return address
            except OSError:
                assert time.monotonic() < end and process.poll() is None, (home / "log").read_text()
                time.sleep(0.2)

    yield serve
    for process, log in started:
        process.terminate()
        process.wait(timeout=20)
        log.close()


@pytest.fixture(scope="module")
def lab(browser, served, tmp_path_factory):
    """A JupyterLab on an empty folder: the address of its pages (see `open_notebook`), its token and the folder."""
    folder = tmp_path_factory.mktemp("lab")
    token = secrets.token_hex(16)
    address = served(
        "jupyterlab",
        "--allow-root",
        f"--IdentityProvider.token={token}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        folder=folder,
        ready=f"/api?token={token}",
    )
    return address, token, folder
