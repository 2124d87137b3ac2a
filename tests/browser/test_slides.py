"""The decks, in a browser: one file each, advanced by the keyboard, with notes, within 1280 × 720, no network."""

import shutil

import make_slides
import pytest
from offline import offline_page

VIEWPORT = {"width": 1280, "height": 720}
SEEN = """() => Reveal.getSlides().map(slide => {
  const { h, v } = Reveal.getIndices(slide);
  Reveal.slide(h, v);
  const brackets = ["", "> .fragment ", "> [data-result] ", "> .fragment > [data-result] "];
  const parts = slide.querySelectorAll(brackets.map(bracket => `:scope ${bracket}> *:not(.notes)`).join(", "));
  const shown = [...parts].filter(part => part.getBoundingClientRect().height);
  return [shown.length, Math.max(...shown.map(part => part.getBoundingClientRect().bottom)), slide.scrollWidth,
          slide.textContent.trim().slice(0, 60)];
})"""
GUESS = "document.querySelectorAll('.guess button:first-of-type').forEach(button => button.click())"
GO_TO = """selector => {
  const place = Reveal.getIndices(document.querySelector(selector).closest("section"));
  Reveal.slide(place.h, place.v, 99);
}"""


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    return make_slides.build(tmp_path_factory.mktemp("slides"))


def open_deck(page, deck):
    page.goto(deck.as_uri())
    page.wait_for_function("Reveal.isReady()")


def test_every_notebook_has_a_deck(decks):
    assert [deck.stem for deck in decks] == sorted(
        p.stem for p in make_slides.pages.ROOT.glob("notebooks/[0-9]*.ipynb")
    )


def test_no_slide_is_empty_or_runs_over_the_edge(decks, browser):
    unfold = "document.querySelectorAll('.folded > .fold').forEach(button => button.click())"
    states = {
        "as it comes": "",
        "all code unfolded": unfold,
        "all guesses made": f"{unfold}; {GUESS}",  # and the code folds again
    }
    with offline_page(browser, viewport=VIEWPORT) as page:
        for deck in decks:
            open_deck(page, deck)
            for state, change in states.items():
                page.evaluate(change)
                slides = page.evaluate(SEEN)
                assert len(slides) >= 10
                for number, (parts, bottom, width, text) in enumerate(slides):
                    fits = parts and bottom <= 720 and width <= 1280
                    assert fits, f"{deck.stem}, slide {number + 1}, {state}: {text}"
        assert page.complaints == []


def test_code_beside_a_figure_is_folded_and_key_or_button_show_it(decks, browser):
    with offline_page(browser, viewport=VIEWPORT) as page:
        open_deck(page, decks[0])
        page.evaluate(GO_TO, "figure")
        slide = page.locator("section.present:not(.stack)")
        code, button = slide.locator(".code").first, slide.get_by_role("button", name="Code C").first
        figure = slide.locator("figure img").first
        folded = figure.bounding_box()
        assert not code.is_visible() and button.is_visible() and button.get_attribute("aria-expanded") == "false"
        assert folded["width"] > 1200 and folded["height"] > 300  # it fills what the text leaves
        page.keyboard.press("c")
        assert code.is_visible() and button.get_attribute("aria-expanded") == "true"
        assert figure.bounding_box()["height"] < folded["height"]
        page.keyboard.press("c")
        assert not code.is_visible()
        button.focus()
        page.keyboard.press("Enter")
        assert code.is_visible()
        assert page.complaints == []


def test_code_that_does_not_fit_scrolls_in_its_box_by_the_keyboard_too(decks, browser):
    with offline_page(browser, viewport=VIEWPORT) as page:
        open_deck(page, decks[0])
        page.evaluate(GO_TO, "figure")
        page.keyboard.press("c")
        box = page.locator("section.present:not(.stack) .code").first
        assert box.evaluate("e => e.scrollHeight > e.clientHeight + 5")
        before = page.evaluate("JSON.stringify(Reveal.getState())")
        box.focus()
        page.keyboard.press("ArrowDown")
        page.wait_for_function("document.activeElement.scrollTop > 0")
        assert page.evaluate("JSON.stringify(Reveal.getState())") == before


def test_a_guess_is_made_on_its_slide_and_compared_on_the_answer_s(decks, browser):
    with offline_page(browser, viewport=VIEWPORT) as page:
        open_deck(page, decks[0])
        page.evaluate(GO_TO, "fieldset.guess")
        result = page.locator("[data-result=guess_depth] .output").first
        assert not result.is_visible()  # it stands on the slide of the guess, and would tell the answer
        page.get_by_role("button", name="10 hidden layers").first.focus()
        page.keyboard.press("Enter")
        assert page.locator(".guess [role=status]").first.inner_text() == "Your guess: 10 hidden layers."
        assert result.is_visible()
        page.evaluate(GO_TO, "[data-answer=guess_depth]")
        compared = "Answer: 2 hidden layers. Your guess: 10 hidden layers, not this time."
        assert page.locator("[data-answer=guess_depth]").inner_text() == compared
        page.evaluate(GO_TO, "[data-answer=guess_ladder]")
        assert page.locator("[data-answer=guess_ladder]").is_visible()  # who speaks goes on without a click
        page.reload()
        page.wait_for_function("Reveal.isReady()")
        assert page.locator(".guess [aria-pressed=true]").count() == 0  # the next class guesses anew
        assert page.complaints == []


def test_a_deck_alone_in_a_folder_advances_by_the_keyboard(decks, browser, tmp_path):
    deck = shutil.copy(decks[0], tmp_path / "deck.html")
    with offline_page(browser, viewport=VIEWPORT) as page:
        open_deck(page, deck)
        assert page.evaluate("Reveal.getCurrentSlide().querySelector('h1') !== null")
        seen = [page.evaluate("JSON.stringify(Reveal.getState())")]
        while not page.evaluate("Reveal.isLastSlide()") and len(seen) < 200:
            page.keyboard.press("Space")
            seen.append(page.evaluate("JSON.stringify(Reveal.getState())"))
            assert seen[-1] != seen[-2]
        slides, fragments = page.evaluate("[Reveal.getTotalSlides(), document.querySelectorAll('.fragment').length]")
        assert len(seen) == slides + fragments and fragments >= 3
        assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0 && i.alt.length >= 40)")
        assert page.complaints == []


def test_the_notes_open_beside_the_deck_for_who_speaks(decks, browser):
    with offline_page(browser, viewport=VIEWPORT) as page:
        open_deck(page, decks[0])
        with page.expect_popup() as opened:
            page.keyboard.press("s")
        speaker = opened.value
        for _ in range(40):  # the view for the speaker tells nobody when it has begun to listen
            page.evaluate(
                "() => { const noted = Reveal.getSlides().find(slide => slide.querySelector('aside.notes'));"
                "const at = Reveal.getIndices(noted); Reveal.slide(at.h, at.v); Reveal.next(); }"
            )
            speaker.wait_for_timeout(500)
            if "Instructor" in speaker.inner_text("body"):
                break
        assert "Instructor" in speaker.inner_text("body")
        assert page.complaints == []


def test_the_instrument_is_live_on_its_slide_with_its_controls(decks, browser):
    with offline_page(browser, viewport=VIEWPORT) as page:
        open_deck(page, decks[0])
        page.evaluate(GO_TO, "[data-playground]")
        slider = page.locator("section.present:not(.stack) [data-playground]").get_by_role("slider").first
        before = page.locator("section.present:not(.stack)").inner_text()
        slider.click()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("t => Reveal.getCurrentSlide().innerText !== t", arg=before)
        page.locator(".vgp .words").first.wait_for()
        assert page.locator(".vgp").first.evaluate("e => e.scrollWidth <= e.clientWidth")
        assert page.complaints == []
