import pytest

import vgp_lib as vgp

OPTIONS = ["2 hidden layers", "10 hidden layers", "no difference"]
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def bet():
    return vgp.guess("Which <one> learns?", OPTIONS)


def test_without_widgets_the_question_reads_as_text(bet):
    text = bet._repr_mimebundle_()["text/plain"]
    assert text == repr(bet)
    assert text.splitlines()[0] == "Your guess? Which <one> learns?"
    assert [line.strip("( )") for line in text.splitlines()[1:]] == OPTIONS


def test_with_widgets_it_shows_the_question_and_a_button_for_every_option(bet):
    assert bet._repr_mimebundle_()[VIEW]["model_id"] == bet.box.model_id
    question, buttons, _ = bet.box.children
    assert question.value == "<b>Which &lt;one&gt; learns?</b>"
    assert buttons.options == tuple(OPTIONS) and buttons.value is None


def test_a_click_is_kept_and_said(bet):
    assert not bet.chosen.value
    bet.buttons.value = "no difference"
    assert bet.value == "no difference"
    assert 'role="status"' in bet.chosen.value
    assert "Your guess: no difference" in bet.chosen.value


def test_nobody_has_clicked(bet, capsys):
    vgp.reveal(bet, "2 hidden layers")
    assert capsys.readouterr().out == "Answer: 2 hidden layers.\n"
    assert "Answer: 2 hidden layers." in bet.comparison.value and "Your guess" not in bet.comparison.value


@pytest.mark.parametrize(("guess", "judgement"), [("2 hidden layers", "right"), ("no difference", "not this time")])
def test_the_guess_stands_beside_the_answer(bet, capsys, guess, judgement):
    bet.buttons.value = guess
    vgp.reveal(bet, "2 hidden layers")
    expected = f"Your guess: {guess}, {judgement}."
    assert capsys.readouterr().out == f"Answer: 2 hidden layers. {expected}\n"
    assert expected in bet.comparison.value


def test_a_guess_after_the_answer_changes_the_comparison_and_is_marked(bet, capsys):
    vgp.reveal(bet, "2 hidden layers")
    bet.buttons.value = "2 hidden layers"
    assert "Your guess: 2 hidden layers, right (it came after the answer)." in bet.comparison.value


def test_each_of_the_two_cells_can_be_run_again(bet, capsys):
    bet.buttons.value = "no difference"
    for _ in range(2):
        vgp.reveal(bet, "no difference")
    assert capsys.readouterr().out.count("Your guess: no difference, right.") == 2
    assert vgp.guess(bet.question, bet.options).value is None  # asked again, it begins anew


@pytest.mark.parametrize("options", [[], ["yes"], ["yes", "yes"], "yes", ["yes", ""], ["yes", 1]])
def test_options_that_are_no_choice(options):
    with pytest.raises(ValueError, match="give at least two different texts"):
        vgp.guess("Which?", options)


@pytest.mark.parametrize("question", ["", " ", None])
def test_a_question_that_is_none(question):
    with pytest.raises(ValueError, match="give a sentence"):
        vgp.guess(question, OPTIONS)


@pytest.mark.parametrize("answer", [None, 2, "", "3 hidden layers"])
def test_an_answer_that_is_none_of_the_options(bet, answer, capsys):
    with pytest.raises(ValueError, match="give one of the options"):
        vgp.reveal(bet, answer)
    assert bet.answer is None and not capsys.readouterr().out


def test_an_answer_without_a_guess():
    with pytest.raises(TypeError, match=r"what vgp\.guess"):
        vgp.reveal("2 hidden layers", "2 hidden layers")
