"""The site for reading, in a browser: whole, accessible, fit for a phone, and without the network."""

import pathlib
import re
import urllib.parse

import make_site
import pytest
from offline import offline_page

axe_package = pytest.importorskip("axe_playwright_python", reason="the package axe-playwright-python is missing")
AXE = pathlib.Path(axe_package.__file__).parent / "axe.min.js"
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site.build(tmp_path_factory.mktemp("site"))


def test_every_notebook_has_a_page_and_the_index_leads_to_it(site):
    index = site[0].read_text(encoding="utf-8")
    names = [path.stem for path in make_site.pages.ROOT.glob("notebooks/[0-9]*.ipynb")]
    assert len(names) == 7 and all(f'href="{name}.html"' in index for name in names)
    assert {path.name for path in site} >= {f"{name}.html" for name in names} | {"index.html"}


def test_links_lead_somewhere(site):
    for path in site:
        html = path.read_text(encoding="utf-8")
        anchors = set(re.findall(r'\bid="([^"]+)"', html))
        for address in re.findall(r'<a\b[^>]*\bhref="([^"]+)"', html):
            target, _, anchor = urllib.parse.unquote(address).partition("#")
            if not re.match(r"https?:", target):
                assert (path.parent / target).is_file() if target else anchor in anchors, f"{path.name}: {address}"


def test_no_formula_is_left_as_latex(site):
    for path in site[1:]:
        prose = re.sub(r"<(pre|code|style|math)\b.*?</\1>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(r"\$|\\(frac|partial|sigma|text)\b", prose), path.name
    assert sum(path.read_text(encoding="utf-8").count("<math") for path in site) > 100


def test_instructors_notes_are_not_for_readers(site):
    assert not [path for path in site if "nstructor:" in path.read_text(encoding="utf-8")]


def test_pages_show_their_pictures_and_break_no_rule_of_accessibility(site, browser):
    with offline_page(browser, viewport={"width": 1200, "height": 800}) as page:
        for path in site:
            page.goto(path.as_uri())
            images = page.evaluate("[...document.images].map(i => [i.complete && i.naturalWidth > 0, i.alt])")
            assert all(shown and len(alt) >= 40 for shown, alt in images), path.name
            assert not [alt for _, alt in images if alt.startswith("No description")], path.name  # nbconvert's stopgap
            page.evaluate("document.querySelectorAll('details').forEach(box => { box.open = true; })")
            page.evaluate(AXE.read_text(encoding="utf-8"))
            options = {"runOnly": {"type": "tag", "values": LEVELS}}
            found = page.evaluate("options => axe.run(options).then(result => result.violations)", options)
            assert [(rule["id"], rule["nodes"][0]["html"][:90]) for rule in found] == [], path.name
        assert page.complaints == []


def test_a_phone_scrolls_only_downwards_and_the_boxes_on_their_own(site, browser):
    with offline_page(browser, viewport={"width": 390, "height": 800}, has_touch=True) as page:
        for path in site:
            page.goto(path.as_uri())
            widths = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert widths == [390, 390], path.name
        page.goto(next(path for path in site if path.stem == "01_problem").as_uri())
        assert page.evaluate("[...document.querySelectorAll('.code')].some(box => box.scrollWidth > box.clientWidth)")
        assert page.complaints == []


def test_the_keyboard_skips_to_the_content(site, browser):
    with offline_page(browser) as page:
        page.goto(site[1].as_uri())
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"
