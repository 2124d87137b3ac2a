"""The answer of every guess: what `vgp.reveal` says is what the printed numbers decide, and nbval holds the numbers."""

import re

import nbformat
import pytest
from answers import ANSWERS
from run_notebooks import ROOT

NOTEBOOKS = [path for part in (".", "deeper") for path in sorted((ROOT / "notebooks" / part).glob("[0-9]*.ipynb"))]


def texts(notebook):
    """What the cells of a notebook print or show as text, in their order."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs]


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
    shown = texts(nbformat.read(path, as_version=4))
    found = list(guesses(shown))
    assert len(found) >= 3 or path.parent.name == "deeper"
    for question, options, answer in found:
        assert answer in options and decided(question, "\n".join(shown)) == answer, question


def test_every_question_here_is_asked():
    asked = {question for path in NOTEBOOKS for question, *_ in guesses(texts(nbformat.read(path, as_version=4)))}
    assert asked == set(ANSWERS)
