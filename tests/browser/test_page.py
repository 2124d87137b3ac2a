"""The playground as a page of its own: `make playground`."""

import pytest
from run_notebooks import ROOT


@pytest.fixture(scope="module")
def address(browser, served):
    folder = ROOT / "tools" / "page"
    command = "voila", "playground.ipynb", "--template=playground"
    return served(*command, folder=folder, data=folder, ready="/voila/static/voila.js")


def test_the_page_fits_a_phone_shows_no_code_and_asks_nothing_of_the_network(page, address):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(address)
    page.get_by_text("What this does not show").wait_for(timeout=60_000)
    assert page.title().startswith("Playground")
    assert page.get_by_text("import vgp_lib").count() == 0  # but for what may be copied, a text area's value
    assert "import vgp_lib" in page.locator("textarea").input_value()
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    widest = "Math.max(...[...document.querySelectorAll('body *')].map(e => e.getBoundingClientRect().right))"
    assert page.evaluate(widest) <= 390
    page.get_by_text("VANISHING").wait_for(timeout=30_000)
    assert not page.errors
