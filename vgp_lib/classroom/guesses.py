"""Predictions: commit to a guess before the result, and see it beside the result."""

import html

import ipywidgets as widgets
from IPython.display import display


def guess(question, options):
    """Ask for a guess: a question and one button per option. Show it as the last line of a cell of its own.

    Without a click, or where widgets do not run, question and options read as text. See `Guess.compare` for the rest.

    Args:
        question: a sentence that ends in a question mark, say.
        options: at least two different strings.

    Returns a `Guess`. Raises `ValueError` if the question is empty, or the options are not two or more different texts.
    """
    return Guess(question, options)


class Guess:
    """A question with its options; `compare` sets the result beside what was chosen."""

    def __init__(self, question, options):
        if not isinstance(question, str) or not question.strip():
            raise ValueError(f"question is {question!r}; give a sentence, such as 'Which net learns?'")
        texts = isinstance(options, (list, tuple)) and all(isinstance(text, str) and text.strip() for text in options)
        if not texts or len(set(options)) < max(2, len(options)):
            raise ValueError(f"options is {options!r}; give at least two different texts, such as ['yes', 'no']")
        self.question, self.options = question, tuple(options)
        self.result, self._after_the_result = None, False
        look = {"style": {"button_width": "auto"}, "layout": {"width": "auto", "margin": "0 0 4px"}}
        self.buttons = widgets.ToggleButtons(options=self.options, value=None, **look)
        self.buttons.observe(self._choose, "value")
        self.chosen, self.comparison = widgets.HTML(), widgets.HTML()
        self.box = widgets.VBox([widgets.HTML(f"<b>{html.escape(question)}</b>"), self.buttons, self.chosen])

    @property
    def value(self):
        """The option that was chosen, or None."""
        return self.buttons.value

    def compare(self, result):
        """Show the result and, beside it, the guess; one that comes later is marked as such.

        While cells run, as under Run All, a click waits: it comes after the results of all of them.

        Args:
            result: a text, measured or computed; one of the options, unless somebody has changed the cell.

        Raises `TypeError` if it is not a text.
        """
        if not isinstance(result, str) or not result.strip():
            raise TypeError(f"result is {result!r}; give a text, one of the options {list(self.options)}")
        self.result = result
        self.comparison.value = _spoken(*self._sentences())
        display(_Shown(self.comparison, " ".join(self._sentences())))

    def _choose(self, _):
        self._after_the_result = self.result is not None
        self.chosen.value = _spoken(f"Your guess: {self.value}")
        if self._after_the_result:
            self.comparison.value = _spoken(*self._sentences())

    def _sentences(self):
        """Say what the result is, and whether the guess was right."""
        fact = f"Result: {self.result}{'' if self.result in self.options else ', none of the options'}."
        if self.value is None:
            return fact, "(No guess was made.)"
        late = " (it came after the result)" if self._after_the_result else ""
        return fact, f"Your guess: {self.value}, {'right' if self.value == self.result else 'not this time'}{late}."

    def _repr_mimebundle_(self, **options):
        return _Shown(self.box, repr(self))._repr_mimebundle_(**options)

    def __repr__(self):
        return "\n".join([f"Your guess? {self.question}", *(f"  ( ) {option}" for option in self.options)])


class _Shown:
    """A widget with a text of its own, for where widgets do not run: a stored notebook, a terminal."""

    def __init__(self, widget, text):
        self.widget, self.text = widget, text

    def _repr_mimebundle_(self, **options):
        return {**self.widget._repr_mimebundle_(**options), "text/plain": self.text}

    def __repr__(self):
        return self.text


def _spoken(fact, remark=""):
    """Write a line that a screen reader reads out when it changes."""
    return f'<div role="status"><b>{html.escape(fact)}</b> {html.escape(remark)}</div>'
