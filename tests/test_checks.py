"""The checks of the exercises: right answers, the hint of every typical mistake, no answer, strict mode, garbage."""

import functools
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
    if hasattr(value, "__wrapped__") and value.__module__ == checks.__name__  # by the decorator
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


def own(verdict="vanishing", name="own"):
    keras.utils.set_random_seed(0)
    x = np.linspace(-3, 3, 32)[:, None].astype("float32")
    layers = [keras.layers.Dense(8, "sigmoid") for _ in range(9)]
    model = keras.Sequential([keras.Input((1,)), *layers, keras.layers.Dense(1)], name=name)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model, x, np.sin(x), verdict


def patient():
    model = vgp.build_mlp(activation="relu", seed=2)
    model.get_layer("hidden_1").bias.assign(np.full(10, -0.1))
    model.compile(keras.optimizers.SGD(1.0), "binary_crossentropy")
    model.train_on_batch(*vgp.load_moons()[:2])
    return model


def course_net():
    model = vgp.build_mlp(2, seed=1)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model, np.zeros((4, 2), "float32"), np.zeros((4, 1), "float32"), "healthy"


Orthogonal = keras.initializers.Orthogonal
CURES = {
    "A": {"activation": "tanh"},
    "B": {"kernel_initializer": "he_normal"},
    "D": {"units": 20},
    "E": {"activation": "selu"},
    "F": {"residual": True},
}
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
    ("what_is_wrong", ["learning rate", "vanishing", "finished"], CORRECT, ""),
    ("what_is_wrong", ["vanishing", "learning rate", "finished"], NOT_YET, "Net A: its first layer gets"),
    ("what_is_wrong", ["finished", "vanishing", "learning rate"], NOT_YET, "Net A: with a loss of 0.69"),
    ("what_is_wrong", ["learning rate", "learning rate", "finished"], NOT_YET, "Net B: compare the kernel gradients"),
    ("what_is_wrong", ["learning rate", "vanishing", "vanishing"], NOT_YET, "Net C: its loss is 0.00"),
    ("what_is_wrong", ["learning rate", "dead", "finished"], NOT_YET, "Net B: say one of"),
    ("two_snapshots", [0.15, 0.499], CORRECT, ""),
    ("two_snapshots", [1.05, 0.499], NOT_YET, "sum over the epoch"),
    ("two_snapshots", [0.175, 0.499], NOT_YET, "seventh step"),
    ("two_snapshots", [0.168, 0.499], NOT_YET, "quarter of a step"),
    ("two_snapshots", [0.0328, 0.499], NOT_YET, "size of a batch"),
    ("two_snapshots", [-0.15, 0.499], NOT_YET, "the weight fell"),
    ("two_snapshots", [0.015, 0.499], NOT_YET, "the mean step"),
    ("two_snapshots", [0.3, 0.499], NOT_YET, "Of how many?"),
    ("two_snapshots", [0.15, 0.4], NOT_YET, "a hundred times as long"),
    ("two_snapshots", [0.15, 0.498], NOT_YET, "SGD's step"),
    ("two_snapshots", [0.15, 0.501], NOT_YET, "against the gradient"),
    ("two_snapshots", [0.15, 0.5], NOT_YET, "put g = 0.02"),
    ("deepest_sigmoid", [4], CORRECT, ""),
    ("deepest_sigmoid", [3], NOT_YET, "One more"),
    ("deepest_sigmoid", [5], NOT_YET, "Too deep"),
    ("deepest_sigmoid", [0.236], NOT_YET, "out of range"),
    ("shallow_spirals", [17, 0.1, 500, 187500], CORRECT, "cost 185500"),
    ("shallow_spirals", [20, 0.0001, 200, 100200], NOT_YET, "flat"),
    ("shallow_spirals", [20, 0.1, 220, 110220], NOT_YET, "still falling"),
    ("shallow_spirals", [100, 0.01, 500, 1], NOT_YET, "1 to 50"),
    ("shallow_spirals", [17, 0.1, 500, 375], NOT_YET, "one step's price"),
    ("shallow_spirals", [17, 0.1, 500, 170000], NOT_YET, "Biases count"),
    ("shallow_spirals", [17, 0.1, 500, 185500], NOT_YET, "over all layers"),
    ("hundred_steps", [1e-4, 1.0], CORRECT, "ten thousand"),
    ("hundred_steps", [1e-6, 1.0], NOT_YET, "SGD: that is one step"),
    ("hundred_steps", [1e-4, 0.01], NOT_YET, "Adam: that is one step"),
    ("hundred_steps", [1e-4, 1e-6], NOT_YET, "divides by the size"),
    ("hundred_steps", [1.0, 1e-4], NOT_YET, "SGD: the distance"),
    ("dead_units", lambda: [patient(), 9, 9, "birth"], CORRECT, "22 units are dead"),
    ("dead_units", lambda: [patient(), 8, 5, "birth"], NOT_YET, "counts from 0"),
    ("dead_units", lambda: [patient(), 6, 6, "birth"], NOT_YET, "than layer 6"),
    ("dead_units", lambda: [patient(), 9, 31, "birth"], NOT_YET, "whole net"),
    ("dead_units", lambda: [patient(), 9, 6, "birth"], NOT_YET, "at birth"),
    ("dead_units", lambda: [patient(), 9, 1, "birth"], NOT_YET, "living"),
    ("dead_units", lambda: [patient(), 9, 10, "birth"], NOT_YET, "every sample"),
    ("dead_units", lambda: [patient(), 9, 0.9, "birth"], NOT_YET, "whole number"),
    ("dead_units", lambda: [patient(), 9, 9, "learning rate"], NOT_YET, "largest part"),
    ("dead_units", lambda: [patient(), 9, 9, "step"], NOT_YET, "must be one of"),
    ("dead_units", lambda: [vgp.build_mlp(activation="relu", seed=2), 9, 6, "birth"], NOT_YET, "run the cell again"),
    ("revived", ["leaky_relu"], CORRECT, ""),
    ("revived", [lambda: keras.layers.LeakyReLU(0.1)], CORRECT, ""),
    ("revived", ["relu"], NOT_YET, "Exactly nothing"),
    ("revived", ["elu"], NOT_YET, "nearly"),
    ("revived", ["linear"], NOT_YET, "one linear layer"),
    ("revived", ["leaky_rleu"], NOT_YET, "did you mean 'leaky_relu'"),
    ("gelu_ratio", [0.5**9], CORRECT, "0.001"),
    ("gelu_ratio", [0.002], CORRECT, ""),
    ("gelu_ratio", [0.5**10], NOT_YET, "nine steps"),
    ("gelu_ratio", [4.5], NOT_YET, "do not add"),
    ("gelu_ratio", [0.5], NOT_YET, "one step"),
    ("gelu_ratio", [0.25**9], NOT_YET, "sigmoid's"),
    ("gelu_ratio", [0.044], NOT_YET, "ReLU's"),
    ("gelu_ratio", [512], NOT_YET, "around"),
    ("gelu_ratio", [0.1], NOT_YET, "too large"),
    ("gelu_ratio", [1e-5], NOT_YET, "too small"),
    ("variance_for_leaky_relu", [2 / 104], CORRECT, ""),
    ("variance_for_leaky_relu", [0.0192], CORRECT, ""),
    ("variance_for_leaky_relu", [2 / 100], NOT_YET, "He's variance"),
    ("variance_for_leaky_relu", [2 / 120], NOT_YET, "must be squared"),
    ("variance_for_leaky_relu", [(2 / 104) ** 0.5], NOT_YET, "standard deviation"),
    ("variance_for_leaky_relu", [2 / 1.04], NOT_YET, "n times v"),
    ("variance_for_leaky_relu", [1 / 100], NOT_YET, "keeps z itself"),
    ("variance_for_leaky_relu", [1 / 104], NOT_YET, "a factor of 2"),
    ("variance_for_leaky_relu", [0.52 / 100], NOT_YET, "Turn it around"),
    ("variance_for_leaky_relu", [0.04], NOT_YET, "mean square by 2.1"),
    ("scale_of_the_sigmoid", [7], CORRECT, ""),
    ("scale_of_the_sigmoid", [6], NOT_YET, "larger weights"),
    ("scale_of_the_sigmoid", [10], NOT_YET, "a smaller whole number"),
    ("scale_of_the_sigmoid", [6.6], NOT_YET, "whole number"),
    ("scale_of_the_sigmoid", [-10], NOT_YET, "out of range"),
    ("thirty_layers", [{"kernel_initializer": "he_normal"}], CORRECT, ""),
    ("thirty_layers", [{"kernel_initializer": "orthogonal"}], NOT_YET, "0 of 16 seeds solve it"),
    ("thirty_layers", [{"activation": "elu"}], NOT_YET, "Leave out 'activation'"),
    ("thirty_layers", [{"units": 50}], NOT_YET, "Leave out 'units'"),
    ("thirty_layers", ["elu"], NOT_YET, "A dict"),
    ("recurrent_gain", [2**0.5], CORRECT, ""),
    ("recurrent_gain", [1], NOT_YET, "tanh's gain"),
    ("recurrent_gain", [0.5], NOT_YET, "larger gain"),
    ("recurrent_gain", [2], NOT_YET, "smaller gain"),
    ("clipped_norm", [3 / 13], CORRECT, ""),
    ("clipped_norm", [0.23], CORRECT, ""),
    ("clipped_norm", [1], NOT_YET, "clipnorm"),
    ("clipped_norm", [3], NOT_YET, "before"),
    ("clipped_norm", [13], NOT_YET, "divides"),
    ("clipped_norm", [0.077], NOT_YET, "factor"),
    ("clipped_norm", [3 / 19], NOT_YET, "squares do"),
    ("clipped_norm", [3 / 169], NOT_YET, "root"),
    ("clipped_norm", [0.25], NOT_YET, "largest"),
    ("clipped_norm", [12 / 13], NOT_YET, "third"),
    ("clipped_norm", [0.5], NOT_YET, "What is it?"),
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
    ("choose_cures", [CURES], CORRECT, ""),
    ("choose_cures", [CURES | {"A": {"residual": True}, "F": {"batch_normalization": True}}], NOT_YET, "A: 0 of 8"),
    ("choose_cures", [CURES | {"F": {"activation": "relu"}}], NOT_YET, "F: 0 of 8 seeds"),
    ("choose_cures", [CURES | {"E": {"activation": "tanh"}}], NOT_YET, "['A'] and E get the same change"),
    ("choose_cures", [CURES | {"D": {"units": 20, "activation": "elu"}}], NOT_YET, "D: change exactly one"),
    ("choose_cures", [CURES | {"A": {"hidden_layers": 2}}], NOT_YET, "Leave out 'hidden_layers'"),
    ("choose_cures", [CURES | {"A": {"activation": "rleu"}}], NOT_YET, "did you mean"),
    ("choose_cures", [CURES | {"A": ...}], EMPTY, ""),
    ("own_network", own, CORRECT, "Vanishing"),
    ("own_network", lambda: own("dead"), NOT_YET, "diagnose says: vanishing"),
    ("own_network", lambda: own("sick"), NOT_YET, "must be one of"),
    ("own_network", course_net, NOT_YET, "bring one of your own"),
    ("own_network", lambda: own(name="mlp"), CORRECT, "Vanishing"),
    ("own_network", [3, 4, 5, "dead"], NOT_YET, "keras.Model"),
]


@pytest.fixture(autouse=True, scope="module")
def what_was_trained_once_is_not_trained_again():
    """Several answers to an exercise ask for the same trainings, which take longest here."""
    runs, train = {}, checks.train

    def once(build, data, optimizer, *more, **settings):
        arrays = [np.asarray(part).tobytes() for part in data]
        key = repr((build(seed=0).get_config(), arrays, optimizer.get_config(), more, sorted(settings.items())))
        if key not in runs:
            runs[key] = train(build, data, optimizer, *more, **settings)
        return runs[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "unknown_nets", functools.cache(checks.unknown_nets))
        patch.setattr(checks, "train", once)
        yield


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
    assert said("gradient_of_three_weights", [missing], capsys).startswith(NOT_YET)
    monkeypatch.setattr(checks, "load_moons", missing)
    for name, answer in (("deepest_sigmoid", 4), ("gradient_of_three_weights", autodiff)):
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
