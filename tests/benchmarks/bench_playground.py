"""How fast the playground answers, measured in Chromium: from a slider's move to the painted figure, while dragging.

The page is the instrument alone, from a file. The mouse drags a slider to and fro, one move about every frame; a time
begins at the slider's input event and ends when the frame with the new figure is painted. Once the band of 32 seeds
stays as it is, once it must follow; then, with moves some frames apart, the time until the figure has the new band.
At last a button trains 32 seeds for 100 epochs, while the page reports tasks that keep it from answering over 50 ms.
"""

import argparse
import pathlib
import shutil
import sys
import tempfile

import numpy as np
from playwright.sync_api import sync_playwright

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[number]) for number in (1, 2)]

import live  # noqa: E402, of the folder tests

WATCH = """
window.times = {picture: [], band: []};
window.tasks = [];
let asked = null, moved = null;
document.addEventListener("input", () => {
    asked ??= performance.now();
    moved = performance.now();
}, true);
document.addEventListener("vgp-painted", ({detail}) => {
    const from = asked, last = detail.band ? moved : null;
    asked = null;
    if (detail.band) moved = null;
    // We are inside a frame's callback: a message sent here is heard when that frame is laid out and painted.
    const {port1, port2} = new MessageChannel();
    port1.onmessage = () => {
        if (from !== null) window.times.picture.push(performance.now() - from);
        if (last !== null) window.times.band.push(performance.now() - last);
    };
    port2.postMessage(0);
}, true);
new PerformanceObserver(list => window.tasks.push(...list.getEntries().map(({duration}) => duration)))
    .observe({type: "longtask"});
"""
READY = "document.querySelector('[data-part=verdict]')?.textContent.match(/^(HEALTHY|VANISHING|EXPLODING|DEAD)/)"
STEP = 16  # milliseconds between two moves of the mouse


def drag(page, name, moves, pause=STEP):
    """Drag a slider to and fro; return the milliseconds until each picture, and until each band."""
    slider = page.locator(f"[data-key={name}]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    y, low, high = box["y"] + box["height"] / 2, box["x"] + 10, box["x"] + box["width"] - 10
    at = box["x"] + 10 + (box["width"] - 20) * slider.evaluate("s => s.value / s.max")
    page.evaluate("window.times = {picture: [], band: []}")
    page.mouse.move(at, y)
    page.mouse.down()
    for move in range(moves):
        step = (high - low) / 31 * (1 if move % 20 < 10 else -1)  # ten values up, ten down
        at = min(max(at + step, low), high)
        page.mouse.move(at, y)
        page.wait_for_timeout(pause)
    page.mouse.up()
    page.wait_for_timeout(1500)
    return page.evaluate("window.times")


def tell(what, times, asked):
    low, middle, high, top = np.quantile(times, [0.1, 0.5, 0.95, 1])
    print(
        f"{what}: median {middle:.0f} ms (asked: {asked}), 10 % {low:.0f}, 95 % {high:.0f}, largest {top:.0f}", end=""
    )
    print(f" ({len(times)} times)")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=200, help="of the mouse, for each net")
    moves = parser.parse_args().moves
    folder = pathlib.Path(tempfile.mkdtemp(prefix="playground-"))
    address = live.write_page(folder).as_uri()
    with sync_playwright() as driver:
        path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = driver.chromium.launch(executable_path=path, args=["--headless", "--no-sandbox", "--disable-gpu"])
        for hash_, size, asked in [("#", "10 × 10", (16, 100)), ("#layers=20&units=20", "20 × 20", (50, 300))]:
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            page.add_init_script(WATCH)
            page.goto(address + hash_)
            page.wait_for_function(READY, timeout=60_000)
            drag(page, "scale", 40)  # warm: the browser compiles what is used often
            times = drag(page, "seed", moves)  # another net each time, the band stays
            tell(f"{size}, one seed", times["picture"], asked[0])
            times = drag(page, "scale", moves)  # the band must follow
            tell(f"{size}, one seed, while the band follows", times["picture"], asked[0])
            times = drag(page, "scale", moves // 2, pause=2 * asked[1])
            tell(f"{size}, with the band of 32 seeds", times["band"], asked[1])
            page.close()
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.add_init_script(WATCH)
        page.goto(address)
        page.wait_for_function(READY, timeout=60_000)
        page.evaluate("window.tasks = []; window.start = performance.now()")
        page.get_by_role("button", name="train 32 seeds").click()
        said = "document.querySelector('[data-part=trained]').textContent.includes('Of 32')"
        seconds = page.wait_for_function(f"{said} && performance.now() - window.start", timeout=120_000).json_value()
        page.wait_for_timeout(200)
        longest = max(page.evaluate("window.tasks"), default=0)
        print(f"32 seeds × 100 epochs of the default net: {seconds / 1000:.1f} s (asked: 5)", end="; ")
        print(
            f"longest task of the page meanwhile: {f'{longest:.0f} ms' if longest else 'none over 50 ms'} (asked: 50)"
        )
        browser.close()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
