"""Predictions: commit to a guess before the result, and see it beside the result."""

import html

import ipywidgets as widgets
from IPython.display import display


def guess(question, options):
    """Ask for a guess: a question and one button per option. Show it as the last line of a cell of its own.

    Without a click, or where widgets do not run, question and options read as text. See `reveal` for the rest.

    Args:
        question: a sentence that ends in a question mark, say.
        options: at least two different strings.

    Returns a `Guess`. Raises `ValueError` if the question is empty, or the options are not two or more different texts.
    """
    return Guess(question, options)


def reveal(guess, answer):
    """Show the answer and, beside it, what was guessed; a guess that comes later is marked as such.

    While cells run, as under Run All, a click waits: it comes after the answers of all of them.

    Args:
        guess: what `vgp_lib.guess` returned.
        answer: one of its options.

    Raises `TypeError` if there is no guess, `ValueError` if the answer is none of the options.
    """
    if not isinstance(guess, Guess):
        raise TypeError(f"guess is {guess!r}; give what vgp.guess(question, options) returned")
    if answer not in guess.options:
        raise ValueError(f"answer is {answer!r}; give one of the options, {list(guess.options)}")
    guess.answer = answer
    guess.comparison.value = _spoken(*guess.sentences())
    display(_Shown(guess.comparison, " ".join(guess.sentences()).strip()))


class Guess:
    """A question with its options, and what was chosen."""

    def __init__(self, question, options):
        if not isinstance(question, str) or not question.strip():
            raise ValueError(f"question is {question!r}; give a sentence, such as 'Which net learns?'")
        texts = isinstance(options, (list, tuple)) and all(isinstance(text, str) and text.strip() for text in options)
        if not texts or len(set(options)) < max(2, len(options)):
            raise ValueError(f"options is {options!r}; give at least two different texts, such as ['yes', 'no']")
        self.question, self.options = question, tuple(options)
        self.answer, self._after_the_answer = None, False
        look = {"style": {"button_width": "auto"}, "layout": {"width": "auto", "margin": "0 0 4px"}}
        self.buttons = widgets.ToggleButtons(options=self.options, value=None, **look)
        self.buttons.observe(self._choose, "value")
        self.chosen, self.comparison = widgets.HTML(), widgets.HTML()
        self.box = widgets.VBox([widgets.HTML(f"<b>{html.escape(question)}</b>"), self.buttons, self.chosen])

    @property
    def value(self):
        """The option that was chosen, or None."""
        return self.buttons.value

    def _choose(self, _):
        self._after_the_answer = self.answer is not None
        self.chosen.value = _spoken(f"Your guess: {self.value}")
        if self._after_the_answer:
            self.comparison.value = _spoken(*self.sentences())

    def sentences(self):
        """Say what the answer is, and whether the guess was right: two texts, the second empty without a guess."""
        fact = f"Answer: {self.answer}."
        if self.value is None:
            return fact, ""
        late = " (it came after the answer)" if self._after_the_answer else ""
        return fact, f"Your guess: {self.value}, {'right' if self.value == self.answer else 'not this time'}{late}."

    def _repr_mimebundle_(self, **options):
        return _Shown(self.box, repr(self))._repr_mimebundle_(**options)

    def __repr__(self):
        return "\n".join([f"Your guess? {self.question}", *(f"  ( ) {option}" for option in self.options)])


class _Shown:
    """A widget with a text of its own, for where widgets do not run: a stored notebook, a terminal."""

    def __init__(self, widget, text):
        self.widget, self.text = widget, text

    def _repr_mimebundle_(self, **options):
        # Not the widget's own answer: ipywidgets 7, which Colab has, gives none.
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return {"application/vnd.jupyter.widget-view+json": view, "text/plain": self.text}

    def __repr__(self):
        return self.text


def _spoken(fact, remark=""):
    """Write a line that a screen reader reads out when it changes."""
    return f'<div role="status"><b>{html.escape(fact)}</b> {html.escape(remark)}</div>'
