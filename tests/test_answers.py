"""The answer of every guess: what `vgp.reveal` says is what the printed numbers decide, and nbval holds the numbers."""

import re

import minutes
import nbformat
import pytest
from answers import ANSWERS
from run_notebooks import ROOT

NOTEBOOKS = [path for part in (".", "deeper") for path in sorted((ROOT / "notebooks" / part).glob("[0-9]*.ipynb"))]


def decided(question, printed):
    """The option that the numbers in a text decide."""
    pattern, decide = ANSWERS[question]
    found = re.search(pattern, printed)
    assert found, f"{question}: nothing printed is like {pattern}"
    return decide(*map(float, found.groups()))


def guesses(shown):
    """Yield question, options and answer of each guess of a notebook; each guess is followed by its answer."""
    asked = None
    for text in shown:
        if text.startswith("Your guess? "):
            assert asked is None, f"no answer to: {asked}"
            first, *options = text.splitlines()
            asked = first.removeprefix("Your guess? "), [option.replace("( )", "").strip() for option in options]
        elif text.startswith("Answer: "):
            question, options = asked
            yield question, options, text.strip().removeprefix("Answer: ").removesuffix(".")
            asked = None
    assert asked is None, f"no answer to: {asked}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_numbers_decide_what_the_answer_says(path):
    shown = minutes.printed(nbformat.read(path, as_version=4))
    found = list(guesses(shown))
    assert len(found) >= 3 or path.parent.name == "deeper"
    for question, options, answer in found:
        assert answer in options and decided(question, "\n".join(shown)) == answer, question


def test_every_question_here_is_asked():
    shown = [minutes.printed(nbformat.read(path, as_version=4)) for path in NOTEBOOKS]
    asked = {question for texts in shown for question, *_ in guesses(texts)}
    assert asked == set(ANSWERS)
