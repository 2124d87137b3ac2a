"""The site for reading, in a browser: whole, alive, accessible, fit for a phone, and without the network."""

import json
import pathlib
import re
import subprocess
import urllib.parse
import zipfile

import make_site
import nbformat
import pytest
from offline import offline_page

axe_package = pytest.importorskip("axe_playwright_python", reason="the package axe-playwright-python is missing")
AXE = pathlib.Path(axe_package.__file__).parent / "axe.min.js"
LEVELS = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
CONTRAST = {"type": "rule", "values": ["color-contrast"]}  # the one rule whose answer depends on the scheme
PHONE = {"viewport": {"width": 360, "height": 800}, "has_touch": True}
REPOSITORY = "owner/course"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site.build(tmp_path_factory.mktemp("site"), REPOSITORY)


@pytest.fixture(scope="module")
def first(site):
    """The address of the first notebook's page."""
    return next(path for path in site if path.stem == "01_problem" and path.parent == site[0].parent).as_uri()


def violations(page, only=LEVELS):
    options = {"runOnly": only, "resultTypes": ["violations"]}
    found = page.evaluate("options => axe.run(options).then(result => result.violations)", options)
    return [(rule["id"], rule["nodes"][0]["html"][:90]) for rule in found]


# Whole


def test_every_notebook_has_a_page_and_the_index_leads_to_it(site):
    index = site[0].read_text(encoding="utf-8")
    names = [path.stem for path in make_site.pages.ROOT.glob("notebooks/[0-9]*.ipynb")]
    assert len(names) == 7 and all(f'href="{name}.html"' in index for name in names)
    assert {path.name for path in site} >= {f"{name}.html" for name in names} | {"index.html", "playground.html"}
    assert (site[0].parent / ".nojekyll").is_file()


def test_links_lead_somewhere(site):
    for path in site:
        html = path.read_text(encoding="utf-8")
        anchors = set(re.findall(r'\bid="([^"]+)"', html))
        for address in re.findall(r'<a\b[^>]*\bhref="([^"]+)"', html):
            target, _, anchor = urllib.parse.unquote(address).partition("#")
            if not re.match(r"https?:", target):
                assert (path.parent / target).is_file() if target else anchor in anchors, f"{path.name}: {address}"


def test_no_formula_is_left_as_latex(site):
    for path in site[2:]:
        tags = r"<(pre|code|style|script|math)\b.*?</\1>"
        prose = re.sub(tags, "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(r"\$|\\(frac|partial|sigma|text)\b", prose), path.name
    assert sum(path.read_text(encoding="utf-8").count("<math") for path in site) > 100


def test_instructors_notes_are_not_for_readers(site):
    assert not [path for path in site if "nstructor:" in path.read_text(encoding="utf-8")]


def test_pages_show_their_pictures_and_break_no_rule_of_accessibility_light_or_dark(site, browser):
    with offline_page(browser, viewport={"width": 1200, "height": 800}) as page:
        for path in site:
            page.emulate_media(color_scheme="light")
            page.goto(path.as_uri())
            images = page.evaluate("[...document.images].map(i => [i.complete && i.naturalWidth > 0, i.alt])")
            assert all(shown and len(alt) >= 40 for shown, alt in images), path.name
            assert not [alt for _, alt in images if alt.startswith("No description")], path.name  # nbconvert's stopgap
            page.evaluate(AXE.read_text(encoding="utf-8"))
            page.evaluate("document.querySelectorAll('details').forEach(box => { box.open = true; })")
            made = (
                "document.querySelectorAll('.guess').forEach((box, i) => i % 2 || box.querySelector('button').click())"
            )
            page.evaluate(made)  # every other one, so that the page has both kinds
            assert violations(page) == [], path.name
            page.emulate_media(color_scheme="dark")
            assert violations(page, CONTRAST) == [], path.name
        assert page.complaints == []


def test_the_two_schemes_differ_and_a_figure_keeps_a_light_ground(first, browser):
    for scheme in ("light", "dark"):
        with offline_page(browser, color_scheme=scheme) as page:
            page.goto(first)
            look = "e => getComputedStyle(document.querySelector(e)).backgroundColor"
            paper = page.evaluate(look, "body")
            brightness = sum(map(int, re.findall(r"\d+", paper))) / 3
            assert brightness > 240 if scheme == "light" else brightness < 50
            assert scheme == "light" or page.evaluate(look, "figure img") == "rgb(255, 255, 255)"


def test_a_phone_scrolls_only_downwards_and_the_boxes_on_their_own(site, first, browser):
    with offline_page(browser, **PHONE) as page:
        for path in site:
            page.goto(path.as_uri())
            page.evaluate("document.querySelectorAll('.guess button:first-of-type').forEach(button => button.click())")
            widths = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert widths == [360, 360], path.name
        page.goto(first)
        assert page.evaluate("[...document.querySelectorAll('.code')].some(box => box.scrollWidth > box.clientWidth)")
        assert page.complaints == []


def test_the_keyboard_skips_to_the_content(site, browser):
    with offline_page(browser) as page:
        page.goto(site[-1].as_uri())
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "content"


# Alive


def test_the_front_page_opens_with_the_instrument_and_few_pages_carry_its_script(site, browser):
    with offline_page(browser) as page:
        page.goto(site[0].as_uri())
        live = page.locator("[data-playground] .vgp, .vgp[data-playground]").first
        assert live.bounding_box()["y"] < page.locator(".cards").bounding_box()["y"]
        assert page.complaints == []
    for path in site:
        html = path.read_text(encoding="utf-8")
        assert ("const VGP" in html) == bool(re.search("<div [^>]*data-playground=", html)), path.name


def test_a_stored_playground_is_a_picture_with_words_and_with_the_script_live(browser, tmp_path):
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    site = make_site.Site(tmp_path, None)
    odd_one = {"setting": "it's <b> & so on"}
    for name, options in {"odd": odd_one, "live": {"setting": {"units": 5}}}.items():
        data = {"text/plain": "a ladder <1e-6>", "image/png": png, make_site.pages.widget.MIME: options}
        cell = nbformat.v4.new_code_cell("vgp.playground()", outputs=[nbformat.v4.new_output("execute_result", data)])
        site.add_notebook(name, nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Live"), cell]))
    odd, live = (path.as_uri() for path in site.written)
    with offline_page(browser, java_script_enabled=False) as page:
        page.goto(odd)
        assert page.locator(".playground img").get_attribute("alt") == "a ladder <1e-6>"
        assert json.loads(page.locator(".playground").get_attribute("data-playground")) == odd_one
    with offline_page(browser) as page:
        page.goto(live)
        page.locator(".playground .vgp, .playground.vgp").first.wait_for()
        assert page.locator(".playground img").count() == 0 and page.complaints == []


# Guesses and progress


def test_every_guess_has_its_options_and_an_answer_among_them(site, browser):
    asked = 0
    with offline_page(browser) as page:
        for path in site:
            page.goto(path.as_uri())
            name = path.relative_to(site[0].parent).with_suffix(".ipynb")
            source = make_site.pages.ROOT / "notebooks" / name
            boxes = page.locator("fieldset.guess")
            if source.is_file() and name.parts[0] != "solutions":
                assert boxes.count() == source.read_text(encoding="utf-8").count("vgp.guess(")
            for number in range(boxes.count()):
                box = boxes.nth(number)
                answer = page.locator(f"[data-answer={box.get_attribute('data-guess')}]")
                assert answer.get_attribute("data-value") in box.get_by_role("button").all_inner_texts()
                asked += 1
    assert asked >= 20
    assert not [path for path in site if "vgp.reveal(" in path.read_text(encoding="utf-8")]  # it would tell


def test_a_guess_opens_its_result_and_is_remembered_until_it_is_to_be_forgotten(site, first, browser):
    with offline_page(browser) as page:
        page.goto(first)
        box = page.locator("fieldset.guess").first
        answer, results = page.locator(".answer").first, page.locator("[data-result=guess_depth]")
        assert not answer.is_visible() and results.count() == 2 and not results.first.is_visible()
        assert page.locator(".tally").first.inner_text() == "0 of 3 guesses made."
        box.get_by_role("button", name="10 hidden layers").focus()
        page.keyboard.press("Enter")
        said = box.get_by_role("status")
        assert said.inner_text() == "Your guess: 10 hidden layers."
        right = "Answer: 2 hidden layers. Your guess: 10 hidden layers, not this time."
        assert answer.inner_text() == right and results.first.is_visible()
        assert not page.locator(".answer").nth(1).is_visible()
        page.reload()
        assert answer.inner_text() == right
        assert box.locator("[aria-pressed=true]").inner_text() == "10 hidden layers"
        assert page.locator(".tally").first.inner_text() == "Started: 1 of 3 guesses made."
        page.goto(site[0].as_uri())
        assert page.locator(".tally:visible").all_inner_texts() == ["Started: 1 of 3 guesses made."]
        page.goto(first)
        page.locator(".tally").last.scroll_into_view_if_needed()
        page.get_by_text("1 of 3 guesses made, seen to the end").last.wait_for()
        page.get_by_role("button", name=re.compile("^Forget")).click()
        assert not answer.is_visible() and said.inner_text() == ""
        page.goto(site[0].as_uri())
        assert page.locator(".tally:visible").count() == 0
        assert page.evaluate("Object.keys(localStorage).length") == 0
        assert page.complaints == []


def test_a_guess_after_the_answer_is_called_so(first, browser):
    with offline_page(browser) as page:
        page.goto(first)
        page.get_by_role("button", name="Show the result without a guess").nth(1).click()
        answer = page.locator(".answer").first
        assert answer.inner_text() == "Answer: 2 hidden layers."
        assert page.evaluate("document.activeElement.className") == "answer"
        page.get_by_role("button", name="2 hidden layers", exact=True).first.click()
        assert answer.inner_text().endswith("Your guess: 2 hidden layers, right (it came after the answer).")


def test_a_notebook_is_done_when_its_guesses_are_made_and_its_end_was_seen(site, first, browser):
    with offline_page(browser) as page:
        page.goto(first)
        for number in range(3):
            page.locator("fieldset.guess").nth(number).get_by_role("button").first.click()
        assert page.locator(".tally").first.inner_text() == "Started: 3 of 3 guesses made."
        page.locator(".tally").last.scroll_into_view_if_needed()
        done = "Done: 3 of 3 guesses made, seen to the end."
        page.locator(".tally").last.get_by_text(done).wait_for()
        page.goto(site[0].as_uri())
        assert page.locator(".tally:visible").all_inner_texts() == [done]


def test_without_a_script_everything_is_there_and_nothing_waits(first, browser):
    with offline_page(browser, java_script_enabled=False) as page:
        page.goto(first)
        assert page.locator(".answer").first.inner_text() == "Answer: 2 hidden layers."
        assert page.locator("button:enabled:visible").count() == 0


def test_guesses_work_where_the_browser_refuses_to_remember(first, browser):
    refuse = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('', 'SecurityError'); }})"
    with offline_page(browser) as page:
        page.add_init_script(refuse)
        page.goto(first)
        page.get_by_role("button", name="2 hidden layers", exact=True).first.click()
        assert page.locator(".answer").first.inner_text().endswith("Your guess: 2 hidden layers, right.")
        assert page.complaints == []


# Colab and Binder


def test_links_to_colab_and_binder_lead_to_what_the_site_publishes(site):
    folder = site[0].parent
    names = [path.stem for path in make_site.pages.ROOT.glob("notebooks/[0-9]*.ipynb")]
    for name in [*names, "deeper/04_relu_fix"]:
        html = (folder / f"{name}.html").read_text(encoding="utf-8")
        assert f"https://colab.research.google.com/github/{REPOSITORY}/blob/gh-pages/colab/{name}.ipynb" in html
        assert f"https://mybinder.org/v2/gh/{REPOSITORY}/HEAD?urlpath=lab/tree/notebooks/{name}.ipynb" in html
        copy = nbformat.read(folder / "colab" / f"{name}.ipynb", as_version=4)
        original = nbformat.read(make_site.pages.ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        nbformat.validate(copy)
        assert copy.cells[1:] == original.cells
        line = copy.cells[0].source
        assert line.startswith("%pip install --quiet --no-deps anywidget psygnal https://") and "\n" not in line
        path = re.search(f"https://github.com/{REPOSITORY}/raw/gh-pages/(.+)$", line)[1]
        held = zipfile.ZipFile(folder / path).namelist()
        assert {"vgp_lib/classroom/playground.js", "vgp_lib/tables/moons.csv", "vgp_lib/__init__.py"} <= set(held)


def test_without_the_repository_s_name_there_are_no_such_links(tmp_path):
    site, notebook = (
        make_site.Site(tmp_path, None),
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("#")]),
    )
    site.add_notebook("page", notebook, places=site.places("page", notebook))
    assert not re.search("colab|binder", site.written[0].read_text(encoding="utf-8"))
    assert {path.name for path in tmp_path.iterdir()} == {".nojekyll", "page.html"}


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        ("https://github.com/owner/a.course.git", "owner/a.course"),
        ("https://user:token@github.com/owner/course", "owner/course"),
        ("git@github.com:owner/course.git", "owner/course"),
        ("ssh://git@github.com/owner/course.git/", "owner/course"),
        ("https://git.example.org/owner/course.git", None),
        ("https://notgithub.com/owner/course.git", None),
        ("/srv/github.com/course.git", None),
        (None, None),
    ],
)
def test_the_repository_s_name_is_read_from_the_remote(tmp_path, monkeypatch, origin, name):
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    if origin:
        subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", origin], check=True)
    assert make_site.find_repository(tmp_path) == name
    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/else")
    assert make_site.find_repository(tmp_path) == "someone/else"
