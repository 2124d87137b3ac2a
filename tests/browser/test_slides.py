"""The decks, in a browser: one file each, advanced by the keyboard, with notes, within 1280 × 720, no network."""

import shutil

import make_slides
import pytest
from offline import offline_page

VIEWPORT = {"width": 1280, "height": 720}
SEEN = """() => {
  const slide = Reveal.getCurrentSlide();
  const parts = slide.querySelectorAll(":scope > *:not(.notes), :scope > .fragment > *");
  const shown = [...parts].filter(part => part.getBoundingClientRect().height);
  return [shown.length, Math.max(...shown.map(part => part.getBoundingClientRect().bottom)), slide.scrollWidth,
          slide.textContent.trim().slice(0, 60)];
}"""


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    return make_slides.build(tmp_path_factory.mktemp("slides"))


def test_every_notebook_has_a_deck(decks):
    assert [deck.stem for deck in decks] == sorted(
        p.stem for p in make_slides.pages.ROOT.glob("notebooks/[0-9]*.ipynb")
    )


def test_no_slide_is_empty_or_runs_over_the_edge(decks, browser):
    with offline_page(browser, viewport=VIEWPORT) as page:
        for deck in decks:
            page.goto(deck.as_uri())
            page.wait_for_function("Reveal.isReady()")
            slides = page.evaluate("Reveal.getTotalSlides()")
            assert slides >= 10
            for number in range(slides):
                page.evaluate(
                    "n => { const i = Reveal.getIndices(Reveal.getSlides()[n]); Reveal.slide(i.h, i.v); }", number
                )
                parts, bottom, width, text = page.evaluate(SEEN)
                assert parts and bottom <= 720 and width <= 1280, f"{deck.stem}, slide {number + 1}: {text}"
        assert page.complaints == []


def test_a_deck_alone_in_a_folder_advances_by_the_keyboard(decks, browser, tmp_path):
    deck = shutil.copy(decks[0], tmp_path / "deck.html")
    with offline_page(browser, viewport=VIEWPORT) as page:
        page.goto(deck.as_uri())
        page.wait_for_function("Reveal.isReady()")
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
        page.goto(decks[0].as_uri())
        page.wait_for_function("Reveal.isReady()")
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
