"""How fast the playground answers, measured in the browser: from a slider's release to the new gradient figure.

Chromium opens the page of `make playground`; the mouse drags the slider of the layers to 1 … 20, waits between
0.2 and 2 s (so that now and then a verdict is being worked out meanwhile), and drags again. The time ends when the new
picture has been decoded and the browser is about to paint it. Then the button trains 32 seeds of the default net.
"""

import argparse
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "tools" / "page"
WATCH = """() => {
    const picture = document.querySelector('.widget-html-content img').closest('.widget-html-content');
    window.times = [];
    document.addEventListener('pointerup', () => { window.released = performance.now(); }, true);
    new MutationObserver(() => picture.querySelector('img').decode().then(() => requestAnimationFrame(() => {
        window.times.push(performance.now() - window.released);
    }))).observe(picture, {childList: true, subtree: true});
}"""


def serve():
    """Start Voilà on a free port; return the process and the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "voila", "playground.ipynb", "--template=playground", "--no-browser"]
    environment = {**os.environ, "JUPYTER_PATH": str(PAGE)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(
        [*command, f"--port={port}"], cwd=PAGE, env=environment, **quiet
    ), f"http://127.0.0.1:{port}"


def drag(page, layers):
    """Drag the slider of the layers, which goes from 1 to 40; return the milliseconds until the new figure."""
    handle, track = (page.locator(name).first.bounding_box() for name in (".noUi-handle", ".noUi-base"))
    y = handle["y"] + handle["height"] / 2
    page.evaluate("window.times = []")
    page.mouse.move(handle["x"] + handle["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(track["x"] + track["width"] * (layers - 1) / 39, y, steps=4)
    page.mouse.up()
    page.wait_for_function("window.times.length > 0")
    return page.evaluate("window.times[0]")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=60, help="of the slider, for each of the two kinds of net")
    releases = parser.parse_args().releases
    random = np.random.default_rng(0)
    server, address = serve()
    try:
        with sync_playwright() as driver:
            path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
            flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
            page = driver.chromium.launch(executable_path=path, args=flags).new_page()
            page.set_default_timeout(60_000)
            for _ in range(100):
                try:
                    page.goto(address)
                    break
                except Exception:
                    time.sleep(0.2)
            page.get_by_text("What this does not show").wait_for()
            start = time.perf_counter()
            page.get_by_role("button", name="train 32 seeds").click()
            page.get_by_text("Last loss").wait_for()
            print(f"32 seeds of the default net, first time: {time.perf_counter() - start:.1f} s")
            page.evaluate(WATCH)
            page.locator(".noUi-base").first.scroll_into_view_if_needed()
            for kind in ("plain", "with batch normalization"):
                if kind != "plain":
                    page.get_by_label("batch normalization").check()
                depths, times = [], []
                layers = 10
                for _ in range(releases + 5):
                    layers = random.choice([depth for depth in range(1, 21) if depth != layers])
                    depths.append(layers)
                    times.append(drag(page, layers))
                    page.wait_for_timeout(random.uniform(200, 2000))
                times = np.array(times[5:])  # warm
                low, middle, high, top = np.quantile(times, [0.1, 0.5, 0.95, 1])
                print(f"sigmoid nets of 1 to 20 layers, {kind}, {releases} releases of the slider, ms:", end=" ")
                print(f"median {middle:.0f}, 95 % {high:.0f} (10 % {low:.0f}, largest {top:.0f})")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
