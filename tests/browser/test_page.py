"""The playground as a page of its own: one small file that needs nothing else."""

import shutil

import make_site
import pytest
from offline import offline_page


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The page, alone in a folder."""
    site = make_site.Site(tmp_path_factory.mktemp("site"), None)
    site.add_template("playground.html")
    return shutil.copy(site.written[0], tmp_path_factory.mktemp("alone") / "playground.html")


def test_it_is_small_and_leads_to_the_course(file):
    assert file.stat().st_size <= 150_000
    assert 'href="index.html"' in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_alone_on_a_phone_it_answers_a_slider_and_keeps_the_state_in_its_address(file, browser, scheme):
    options = {"viewport": {"width": 360, "height": 800}, "has_touch": True, "color_scheme": scheme}
    with offline_page(browser, **options) as page:
        page.goto(file.as_uri())
        slider = page.get_by_role("slider").first
        slider.wait_for()
        before = page.locator("main").inner_text()
        slider.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("before => document.querySelector('main').innerText !== before", arg=before)
        page.wait_for_function("location.hash.length > 1")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.goto("about:blank")
        assert page.complaints == []


def test_without_a_script_it_says_what_it_needs(file, browser):
    with offline_page(browser, java_script_enabled=False) as page:
        page.goto(file.as_uri())
        assert "needs JavaScript" in page.locator("main").inner_text()
