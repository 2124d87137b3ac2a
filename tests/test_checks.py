"""The checks of the exercises: right answers, the hint of every typical mistake, no answer, strict mode, garbage."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import vgp_lib as vgp
from vgp_lib.classroom import checks

CHECKS = {
    name: value
    for name, value in vars(checks).items()
    if inspect.isfunction(value) and value.__module__ == checks.__name__ and not name.startswith("_")
}
CORRECT, NOT_YET, EMPTY = "Correct. ", "Not yet. ", "Not attempted yet. "


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def autodiff(w1, w2, w3, a0, y):
    w = tf.Variable(w1, dtype="float64")
    with tf.GradientTape() as tape:
        e = (y - tf.sigmoid(w3 * tf.sigmoid(w2 * tf.sigmoid(w * a0)))) ** 2
    return tape.gradient(e, w)


def times(factor):
    """Autodiff's answer times a factor, as a student may have it who multiplied by too much, or by too little."""

    def answer(w1, w2, w3, a0, y):
        a1 = sigmoid(w1 * a0)
        return autodiff(w1, w2, w3, a0, y) * factor(a0, a1, w2)

    return answer


def adam(epsilon=1e-7, factor=1.0):
    """Adam's first step of a zero weight, from Kingma & Ba's equations, over the learning rate."""

    def report(g):
        m, v = 0.1 * g, 0.001 * g**2
        rate = np.sqrt(1 - 0.999) / (1 - 0.9)
        return factor * rate * m / (np.sqrt(v) + epsilon)

    return report


def small(activation):
    return {"activation": activation, "kernel_initializer": keras.initializers.RandomNormal(stddev=0.05)}


def own(verdict="vanishing", name="own"):
    keras.utils.set_random_seed(0)
    x = np.linspace(-3, 3, 32)[:, None].astype("float32")
    layers = [keras.layers.Dense(8, "sigmoid") for _ in range(9)]
    model = keras.Sequential([keras.Input((1,)), *layers, keras.layers.Dense(1)], name=name)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model, x, np.sin(x), verdict


def course_net():
    model = vgp.build_mlp(2, seed=1)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model, np.zeros((4, 2), "float32"), np.zeros((4, 1), "float32"), "healthy"


SGD, RMSprop, Orthogonal = keras.optimizers.SGD, keras.optimizers.RMSprop, keras.initializers.Orthogonal
# Functions without arguments make answers that need Keras, when the test runs.
CASES = [
    ("factor_for_half", [np.exp(np.log(0.5) / 9)], CORRECT, ""),
    ("factor_for_half", [0.93], CORRECT, ""),
    ("factor_for_half", [0.944], NOT_YET, "do not add"),
    ("factor_for_half", [0.933], NOT_YET, "nine steps"),
    ("factor_for_half", [0.5], NOT_YET, "a quarter"),
    ("factor_for_half", [92.6], NOT_YET, "per cent"),
    ("factor_for_half", [0.8], NOT_YET, "too small"),
    ("factor_for_half", [0.915], NOT_YET, "too small"),
    ("factor_for_half", [1.1], NOT_YET, "too large"),
    ("factor_for_half", [0.94], NOT_YET, "too large"),
    ("weight_that_keeps", [4], CORRECT, ""),
    ("weight_that_keeps", [0.25], NOT_YET, "slope itself"),
    ("weight_that_keeps", [-4.0], NOT_YET, "sign"),
    ("weight_that_keeps", [1], NOT_YET, "factor is 0.25"),
    ("gradient_of_three_weights", [autodiff], CORRECT, ""),
    ("gradient_of_three_weights", [times(lambda a0, a1, w2: a1)], NOT_YET, "A factor a1 too many"),
    ("gradient_of_three_weights", [times(lambda a0, a1, w2: -1)], NOT_YET, "sign"),
    ("gradient_of_three_weights", [times(lambda a0, a1, w2: 1 / a0)], NOT_YET, "The factor a0 is missing"),
    ("gradient_of_three_weights", [times(lambda a0, a1, w2: 1 / w2)], NOT_YET, "The factor w2 is missing"),
    ("gradient_of_three_weights", [times(lambda a0, a1, w2: 0.5)], NOT_YET, "The factor 2 is missing"),
    ("gradient_of_three_weights", [times(lambda a0, a1, w2: 1 / a1 / (1 - a1))], NOT_YET, "σ′(z1) is missing"),
    ("gradient_of_three_weights", [lambda *net: 1.0], NOT_YET, "finite differences"),
    ("gradient_of_three_weights", [lambda w1, w2: 1.0], NOT_YET, "cannot be used: TypeError"),
    ("gradient_of_three_weights", [lambda *net: None], NOT_YET, "return"),
    ("gradient_of_three_weights", [lambda *net: ...], EMPTY, ""),
    ("depth_for_a_thousandth", [6], CORRECT, ""),
    ("depth_for_a_thousandth", [5], NOT_YET, "more layers"),
    ("depth_for_a_thousandth", [7], NOT_YET, "one layer less"),
    ("depth_for_a_thousandth", [1], NOT_YET, "first and the last"),
    ("depth_for_a_thousandth", [5.5], NOT_YET, "whole number"),
    ("rounding_floor", [2.0**-26 / 0.1], CORRECT, ""),
    ("rounding_floor", [2.0**-25 / 0.1], NOT_YET, "Twice too much"),
    ("rounding_floor", [2.0**-26], NOT_YET, "step that is lost"),
    ("rounding_floor", [2.0**-26 * 0.1], NOT_YET, "divide by the learning rate"),
    ("rounding_floor", [-(2.0**-26) / 0.1], NOT_YET, "positive"),
    ("rounding_floor", [1e-3], NOT_YET, "still moves"),
    ("rounding_floor", [1e-12], NOT_YET, "stands still"),
    ("adam_recipe", [adam()], CORRECT, ""),
    ("adam_recipe", [lambda g: g], NOT_YET, "plain SGD"),
    ("adam_recipe", [lambda g: np.sign(g)], NOT_YET, "below 3e-6"),
    ("adam_recipe", [lambda g: abs(adam()(g))], NOT_YET, "sign of the gradient is lost"),
    ("adam_recipe", [adam(factor=-1)], NOT_YET, "turned around"),
    ("adam_recipe", [adam(factor=0.01)], NOT_YET, "divides it by the learning rate"),
    ("adam_recipe", [adam(epsilon=1e-7 * 0.001**0.5)], NOT_YET, "bend"),
    ("adam_recipe", [adam(epsilon=1e-5)], NOT_YET, "yours"),
    ("telling_optimizer", [lambda: RMSprop(0.001)], CORRECT, ""),
    ("telling_optimizer", ["nadam"], NOT_YET, "apart"),
    ("telling_optimizer", [lambda: SGD(0.1, momentum=0.9)], NOT_YET, "SGD already"),
    ("telling_optimizer", [lambda: RMSprop(1e-8)], NOT_YET, "another learning rate"),
    ("deepest_sigmoid", [4], CORRECT, ""),
    ("deepest_sigmoid", [3], NOT_YET, "One more"),
    ("deepest_sigmoid", [5], NOT_YET, "Too deep"),
    ("deepest_sigmoid", [0.236], NOT_YET, "out of range"),
    ("shallow_spirals", [20, 0.1, 1000], CORRECT, ""),
    ("shallow_spirals", [20, 0.0001, 200], NOT_YET, "flat"),
    ("shallow_spirals", [20, 0.1, 220], NOT_YET, "still falling"),
    ("shallow_spirals", [100, 0.01, 500], NOT_YET, "1 to 50"),
    ("share_off", [0.5], CORRECT, ""),
    ("share_off", [50], NOT_YET, "between 0 and 1"),
    ("share_off", [0.0], NOT_YET, "dead"),
    ("share_off", [0.3], NOT_YET, "all reports"),
    ("revived", ["leaky_relu"], CORRECT, ""),
    ("revived", [lambda: keras.layers.LeakyReLU(0.1)], CORRECT, ""),
    ("revived", ["relu"], NOT_YET, "Exactly nothing"),
    ("revived", ["elu"], NOT_YET, "nearly"),
    ("revived", ["linear"], NOT_YET, "one linear layer"),
    ("revived", ["leaky_rleu"], NOT_YET, "did you mean 'leaky_relu'"),
    ("variances", [2 / 64, 2 / 96], CORRECT, ""),
    ("variances", [2 / 96, 2 / 64], NOT_YET, "swapped"),
    ("variances", [(2 / 64) ** 0.5, 2 / 96], NOT_YET, "He: that is the standard deviation"),
    ("variances", [2 / 32, 2 / 96], NOT_YET, "He: the units"),
    ("variances", [2 / 64, 1 / 96], NOT_YET, "Glorot: the factor of 2"),
    ("variances", [2 / 64, 1 / 64], NOT_YET, "Glorot: Keras draws"),
    ("scale_of_the_sigmoid", [10.149], CORRECT, ""),
    ("scale_of_the_sigmoid", [1], NOT_YET, "larger weights"),
    ("scale_of_the_sigmoid", [40], NOT_YET, "smaller weights"),
    ("scale_of_the_sigmoid", [-10], NOT_YET, "out of range"),
    ("thirty_layers", [{"activation": "elu"}], CORRECT, ""),
    ("thirty_layers", [lambda: small("elu")], NOT_YET, "vanishes"),
    ("thirty_layers", [{"activation": "elu", "units": 50}], NOT_YET, "Leave out 'units'"),
    ("thirty_layers", [{"activation": "elu", "seed": 1}], NOT_YET, "Leave out 'seed'"),
    ("thirty_layers", ["elu"], NOT_YET, "A dict"),
    ("recurrent_gain", [2**0.5], CORRECT, ""),
    ("recurrent_gain", [1], NOT_YET, "tanh's gain"),
    ("recurrent_gain", [0.5], NOT_YET, "larger gain"),
    ("recurrent_gain", [2], NOT_YET, "smaller gain"),
    ("clipping_of_the_papers", [{"global_clipnorm": 1.0}], CORRECT, ""),
    (
        "clipping_of_the_papers",
        [{"global_clipnorm": 1.0, "momentum": 0.9}],
        NOT_YET,
        "'momentum' out: it does not clip",
    ),
    ("clipping_of_the_papers", [{"clipnorm": 1.0}], NOT_YET, "turns the gradient"),
    ("clipping_of_the_papers", [{"clipvalue": 0.5}], NOT_YET, "turns the gradient"),
    ("clipping_of_the_papers", [{"global_clipnorm": 0.5}], NOT_YET, "becomes 0.5, not 1"),
    ("clipping_of_the_papers", [{"global_clipnorm": 1.0, "clipnorm": 1.0}], NOT_YET, "ValueError"),
    ("clipping_of_the_papers", ["global_clipnorm"], NOT_YET, "A dict"),
    ("exploding_sigmoid", [6.0], CORRECT, ""),
    ("exploding_sigmoid", [1], NOT_YET, "larger weights"),
    ("exploding_sigmoid", [20], NOT_YET, "smaller weights"),
    ("exploding_sigmoid", [0], NOT_YET, "out of range"),
    (
        "level_setting",
        [lambda: {"hidden_layers": 30, "activation": "tanh", "kernel_initializer": Orthogonal()}],
        CORRECT,
        "",
    ),
    ("level_setting", [{"hidden_layers": 30}], NOT_YET, "vanishes"),
    ("level_setting", [{"hidden_layers": 30, "kernel_initializer": "zeros"}], NOT_YET, "is lost"),
    ("level_setting", [{"activation": "tanh"}], NOT_YET, "At least 30"),
    ("cure_of_f", [{"residual": True}], CORRECT, ""),
    ("cure_of_f", [{"residual": True, "kernel_initializer": "zeros"}], NOT_YET, "0 of 8 seeds"),
    ("cure_of_f", [{"hidden_layers": 2}], NOT_YET, "Leave out 'hidden_layers'"),
    ("cure_of_f", [{"activation": "rleu"}], NOT_YET, "did you mean"),
    ("own_network", own, CORRECT, "Vanishing"),
    ("own_network", lambda: own("dead"), NOT_YET, "diagnose says: vanishing"),
    ("own_network", lambda: own("sick"), NOT_YET, "must be one of"),
    ("own_network", course_net, NOT_YET, "bring one of your own"),
    ("own_network", lambda: own(name="mlp"), CORRECT, "Vanishing"),
    ("own_network", [3, 4, 5, "dead"], NOT_YET, "keras.Model"),
]


def said(check, answers, capsys):
    CHECKS[check](*answers)
    text = capsys.readouterr().out
    assert text.endswith("\n") and text.count("\n") == 1
    return text


@pytest.mark.parametrize(("check", "answers", "outcome", "hint"), CASES, ids=[f"{case[0]}-{case[3]}" for case in CASES])
def test_the_answer_gets_its_hint(check, answers, outcome, hint, capsys):
    if callable(answers):
        answers = answers()
    answers = [a() if callable(a) and not inspect.signature(a).parameters else a for a in answers]
    text = said(check, answers, capsys)
    assert text.startswith(outcome) and hint in text
    assert len(text) > len(outcome) + 20


def test_every_check_has_a_right_answer_and_three_wrong_ones_here():
    for name in CHECKS:
        outcomes = [outcome for check, _, outcome, _ in CASES if check == name]
        assert outcomes.count(CORRECT) >= 1 and outcomes.count(NOT_YET) >= 3, name


def arity(check):
    return len(inspect.signature(check).parameters)


@pytest.mark.parametrize("name", CHECKS)
def test_no_answer_is_not_a_wrong_one_and_costs_nothing(name, capsys, monkeypatch):
    for costly in ("train", "inspect_layers", "build_mlp", "diagnose"):
        monkeypatch.setattr(checks, costly, None)
    for empty in (..., None):
        assert said(name, [empty] * arity(CHECKS[name]), capsys).startswith(EMPTY)
        assert said(name, [1.0] * (arity(CHECKS[name]) - 1) + [empty], capsys).startswith(EMPTY)
    assert said(name, [], capsys).startswith(EMPTY)


def test_strict_mode_raises_with_the_same_text(capsys, monkeypatch):
    texts = [said("factor_for_half", [answer], capsys) for answer in (0.5, ..., "half")]
    monkeypatch.setenv("VGP_STRICT", "1")
    for answer, text in zip((0.5, ..., "half"), texts, strict=True):
        with pytest.raises(checks.NotCorrect) as caught:
            checks.factor_for_half(answer)
        assert f"{caught.value}\n" == text == capsys.readouterr().out
    assert said("factor_for_half", [0.926], capsys).startswith(CORRECT)
    monkeypatch.setenv("VGP_STRICT", "0")
    assert said("factor_for_half", [0.5], capsys).startswith(NOT_YET)


class Hostile:
    def _fail(self, *_):
        raise RuntimeError("no")

    __eq__ = __str__ = __repr__ = __array__ = __float__ = __len__ = __iter__ = _fail
    __hash__ = None


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no")


def raising(error):
    def function(*arguments, **settings):
        raise error

    return function


GARBAGE = {
    "text": "0.926",
    "bytes": b"1",
    "bool": True,
    "complex": 1j,
    "nan": np.nan,
    "infinite": -np.inf,
    "huge": 10**400,
    "no numbers": [],
    "ragged": [1, [2, 3]],
    "matrix": np.ones((2, 3)),
    "nan array": np.full(4, np.nan),
    "tensor": tf.ones((3, 3)),
    "strange dict": {1: 2},
    "wrong arguments": {"activaton": "relu"},
    "wrong values": {"hidden_layers": "many", "units": np.nan},
    "object": object(),
    "class": dict,
    "layer": keras.layers.Dense(3),
    "unbuilt model": keras.Sequential([keras.layers.Dense(1)]),
    "hostile": Hostile(),
    "raises": raising(ZeroDivisionError("x")),
    "raises the unspeakable": raising(Unspeakable()),
    "exits": raising(SystemExit(1)),
    "returns text": lambda *arguments: "text",
    "returns nan": lambda *arguments: np.nan,
    "module": np,
}


@pytest.mark.parametrize("name", CHECKS)
def test_nothing_raises_in_class(name, capsys):
    for kind, garbage in GARBAGE.items():
        assert said(name, [garbage] * arity(CHECKS[name]), capsys).startswith(NOT_YET), kind


def test_a_missing_file_of_the_course_is_no_wrong_answer_but_one_of_the_student_s_is(capsys, monkeypatch):
    missing = raising(FileNotFoundError("moons.csv"))
    assert said("adam_recipe", [missing], capsys).startswith(NOT_YET)
    monkeypatch.setattr(checks, "load_moons", missing)
    for name, answer in (("deepest_sigmoid", 4), ("adam_recipe", adam())):
        with pytest.raises(FileNotFoundError, match=r"moons\.csv"):
            CHECKS[name](answer)


def test_an_unbuilt_or_uncompiled_model_of_one_s_own_is_named(capsys):
    _, x, y, guess = own()
    for model in (keras.Sequential([keras.layers.Dense(1)]), vgp.build_mlp(1).layers[1]):
        assert said("own_network", [model, x, y, guess], capsys).startswith(NOT_YET)


def test_an_answer_can_be_given_by_name(capsys):
    checks.factor_for_half(factor=0.5 ** (1 / 9))
    assert capsys.readouterr().out.startswith(CORRECT)
    checks.factor_for_half(share=0.5)
    assert capsys.readouterr().out.startswith(NOT_YET)
