"""Ways of use outside of the course: each is right, by automatic differentiation or by fit, or refused in words.

README, "Tested limits", shows it as a table; test_layers, test_diagnosis and test_training have more of it.
"""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import tape_gradients
from keras import layers

import vgp_lib as vgp

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(24, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("float32")


def head(**options):
    return layers.Dense(1, "sigmoid", name="head", **options)


def sequential(*stack, shape=(4,), dtype=None):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *stack])


class Subclassed(keras.Model):
    """Constructed in another order than called, and without the argument `training`."""

    def __init__(self):
        super().__init__()
        self.last, self.first = head(), layers.Dense(5, "tanh", name="first")

    def call(self, x):
        return self.last(self.first(x))


class Twice(layers.Dense):
    """A subclass of Dense that changes its input: Dense's formula for the gradient does not hold."""

    def call(self, x, training=None):
        return super().call(2 * x)


def subclassed():
    model = Subclassed()
    model(X[:1])
    return model


def nested():
    inner = keras.Sequential([layers.Dense(6, "tanh", name="d1"), layers.Dense(5, "tanh", name="d2")])
    return sequential(inner, head())


def functional():
    inputs = keras.Input((4,))
    left, right = layers.Dense(3, "tanh")(inputs), layers.Dense(3, "relu")(inputs)
    return keras.Model(inputs, head()(layers.Concatenate()([left, right])))


def precision(policy):
    return lambda: sequential(layers.Dense(5, "tanh", name="first", dtype=policy), head(dtype=policy), dtype="float32")


def two_inputs():
    inputs = keras.Input((4,)), keras.Input((4,))
    return keras.Model(inputs, head()(layers.Concatenate()(inputs)))


def two_outputs():
    inputs = keras.Input((4,))
    return keras.Model(inputs, [head()(inputs), layers.Dense(1)(inputs)])


def masked():
    stack = [layers.Masking(), layers.SimpleRNN(3, return_sequences=True), head()]
    return sequential(*stack, shape=(2, 2))


RIGHT = {
    "nested": nested,
    "functional, two branches": functional,
    "subclassed": subclassed,
    "subclass of Dense": lambda: sequential(Twice(5, "tanh"), head()),
    "mixed precision": precision("mixed_float16"),
    "float64": precision("float64"),
    "spectral normalization": lambda: sequential(
        layers.SpectralNormalization(layers.Dense(5, "tanh", name="inner")), head()
    ),
    "convolution": lambda: sequential(layers.Reshape((2, 2)), layers.Conv1D(3, 2), layers.Flatten(), head()),
}
RECURRENT = {
    "stateful": lambda: keras.Sequential(
        [keras.Input((4,), batch_size=24), layers.Reshape((2, 2)), layers.LSTM(3, stateful=True), head()]
    ),
    "other cells": lambda: sequential(layers.Reshape((2, 2)), layers.RNN(layers.GRUCell(3)), layers.Dense(2), head()),
}
REFUSED = {
    "not built": (lambda: keras.Sequential([head()]), "is not built; begin it with keras.Input"),
    "two inputs": (two_inputs, "has 2 inputs; give a model with one"),
    "two outputs": (two_outputs, "has 2 outputs; give a model with one"),
    "mask at the output": (masked, "A mask reaches the output"),
    "no kernel": (lambda: sequential(layers.Flatten()), "give one with a Dense, Conv or recurrent layer"),
}
LABELS = {
    "soft": (RANDOM.uniform(size=24).astype("float32"), None),
    "beyond 1": (2 * Y, "takes labels 0 and 1, or probabilities"),
    "texts": (np.array(["yes", "no"] * 12), "y has dtype"),
    "one-hot": (np.eye(2)[Y.astype(int)], "needs them equal"),
}
LOSSES = {
    "of NumPy": (lambda y, p: np.square(y - p).mean(axis=-1), "has no gradient with respect to y_pred"),
    "of nothing": (lambda y, p: None, "returns None"),
    "of text": (lambda y, p: "much", "cannot be evaluated"),
    "of an error": (lambda y, p: y.undefined, "cannot be evaluated"),
    "of TensorFlow": (lambda y, p: tf.square(y - p), None),
}


def inspect(model, x, y, loss="binary_crossentropy"):
    vgp.inspect_layers(model, x, y, loss)


def diagnose(model, x, y, loss="binary_crossentropy"):
    vgp.diagnose(model, x, y, optimizer=keras.optimizers.SGD(0.1), loss=loss)


def train(model, x, y, loss="binary_crossentropy"):
    vgp.train(lambda: model, (x, y), keras.optimizers.SGD(0.1), 2, 24, seeds=1, loss=loss, progress=False)


def gradients_in_float32(model, y):
    """Automatic differentiation through a copy of the model that computes in float32, or float64 as the model does."""
    if model.layers[-1].compute_dtype == "float16":
        twin = precision("float32")()
        twin.set_weights(model.get_weights())
        model = twin
    kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    return dict(
        zip(
            [v.path.split("/")[-2] for v in kernels],
            map(np.linalg.norm, tape_gradients(model, [v.value for v in kernels], X, y)),
            strict=True,
        )
    )


@pytest.mark.parametrize("make", RIGHT.values(), ids=RIGHT)
def test_gradients_are_those_of_automatic_differentiation_in_the_order_of_the_forward_pass(make):
    model = make()
    report = vgp.inspect_layers(model, X, Y)
    expected = gradients_in_float32(model, Y)
    assert report.names == list(expected) or make is subclassed  # which constructs its head first
    measured = dict(zip(report.names, report.kernel_gradient_norm, strict=True))
    assert measured == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("make", [*RIGHT.values(), *RECURRENT.values()], ids=[*RIGHT, *RECURRENT])
def test_the_verdict_on_a_net_that_learns_is_healthy_and_the_net_stays_as_it_was(make):
    model = make()
    before = [weight.copy() for weight in model.get_weights()]
    found = vgp.diagnose(model, X, Y, optimizer=keras.optimizers.Adam(0.02))
    assert found.verdict == "healthy" and found.try_next.startswith("nothing to change")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("call", [inspect, diagnose, train])
@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_a_model_outside_of_the_limits_is_refused_in_words(call, make, words):
    model = make()
    if call is diagnose and not model.built:
        return call(model, X, Y)  # on a copy, see test_remedies.py
    sequences = any(isinstance(layer, layers.RNN) for layer in model.layers)
    x = X.reshape(24, 2, 2) if sequences else X
    y = np.repeat(Y[:, None, None], 2, axis=1) if words.startswith("A mask") else Y
    with pytest.raises((ValueError, TypeError), match=words):
        call(model, x, y)


LABELS_AND_LOSSES = {
    **{f"labels {name}": (y, "binary_crossentropy", words) for name, (y, words) in LABELS.items()},
    **{f"loss {name}": (Y, loss, words) for name, (loss, words) in LOSSES.items()},
}


@pytest.mark.parametrize("call", [inspect, diagnose, train])
@pytest.mark.parametrize(("y", "loss", "words"), LABELS_AND_LOSSES.values(), ids=LABELS_AND_LOSSES)
def test_labels_and_losses_are_taken_or_refused_in_words(call, y, loss, words):
    model = sequential(layers.Dense(5, "tanh"), head())
    if words is None or (call is diagnose and "takes labels" in words):  # of which it speaks, see test_head.py
        return call(model, X, y, loss)
    with pytest.raises((ValueError, TypeError), match=words):
        call(model, X, y, loss)


def test_soft_labels_are_those_of_automatic_differentiation():
    model, y = sequential(layers.Dense(5, "tanh", name="first"), head()), LABELS["soft"][0]
    expected = gradients_in_float32(model, y)
    report = vgp.inspect_layers(model, X, y)
    assert dict(zip(report.names, report.kernel_gradient_norm, strict=True)) == pytest.approx(expected, rel=1e-4)


def test_a_last_batch_without_a_label_does_no_harm():
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=255)
    y = np.where(np.arange(24) >= 16, 255, np.arange(24) % 3)
    net = lambda: sequential(layers.Dense(5, "tanh"), layers.Dense(3, "softmax"))  # noqa: E731
    runs = vgp.train(net, (X, y), "sgd", 2, 16, seeds=1, loss=loss, progress=False, shuffle=False)
    assert np.isfinite(runs.loss).all()
    assert vgp.diagnose(net(), X, y, optimizer="sgd", loss=loss).verdict == "healthy"


def test_labels_that_the_loss_ignores_do_not_count():
    loss, x = keras.losses.SparseCategoricalCrossentropy(ignore_class=255), X
    model = sequential(layers.Dense(5, "tanh"), layers.Dense(3, "softmax"))
    y = np.where(np.arange(24) < 6, 255, np.arange(24) % 3)
    ignoring, without = vgp.inspect_layers(model, x, y, loss), vgp.inspect_layers(model, x[6:], y[6:], loss)
    np.testing.assert_allclose(ignoring.kernel_gradient_norm, without.kernel_gradient_norm, rtol=1e-4)


# Other threads, errors and interrupts


def at_once(*calls, times=12):
    """Call functions in threads at the same time, several times each; return the results, and the errors."""
    results, errors = [[] for _ in calls], []
    barrier = threading.Barrier(len(calls))

    def work(call, found):
        barrier.wait()
        try:
            for _ in range(times):
                found.append(call())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(calls, results, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results, errors


def recurrent():
    return sequential(layers.LSTM(4, name="lstm", dropout=0.2), layers.Dense(3, "tanh"), head(), shape=(2, 2))


def test_two_measurements_and_a_call_of_one_model_at_once_are_each_right():
    model, x = recurrent(), X.reshape(24, 2, 2)
    expected, answer = vgp.inspect_layers(model, x, Y), np.asarray(model(x))
    results, errors = at_once(
        lambda: vgp.inspect_layers(model, x, Y), lambda: vgp.inspect_layers(model, x, Y), lambda: np.asarray(model(x))
    )
    assert errors == []
    assert {repr(report) for report in results[0] + results[1]} == {repr(expected)}
    assert all(np.array_equal(other, answer) for other in results[2])


def test_a_diagnosis_beside_calls_and_diagnoses_of_one_model_is_right():
    model = sequential(layers.Dense(5, "tanh"), layers.BatchNormalization(), head())
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy")
    expected, answer = vgp.diagnose(model, X, Y), np.asarray(model(X))
    results, errors = at_once(
        lambda: vgp.diagnose(model, X, Y), lambda: vgp.diagnose(model, X, Y), lambda: np.asarray(model(X)), times=2
    )
    assert errors == [] and set(results[0] + results[1]) == {expected}
    assert all(np.array_equal(other, answer) for other in results[2])


class Interrupting(layers.Layer):
    """Stops the n-th call from now on with an interrupt, as a keyboard would."""

    countdown = None

    def call(self, x):
        if self.countdown is not None:
            type(self).countdown -= 1
            if self.countdown < 0:
                raise KeyboardInterrupt
        return x


@pytest.mark.parametrize("calls", range(6))
def test_an_interrupt_at_any_call_leaves_the_model_whole(calls):
    model = sequential(layers.LSTM(4, name="lstm"), Interrupting(), layers.Dense(3, "tanh"), head(), shape=(2, 2))
    x = X.reshape(24, 2, 2)
    answer, expected = np.asarray(model(x)), repr(vgp.inspect_layers(model, x, Y))
    attributes = [sorted(vars(layer)) for layer in model.layers]
    Interrupting.countdown = calls
    try:
        vgp.inspect_layers(model, x, Y)
        vgp.diagnose(model, x, Y, optimizer="sgd")
    except KeyboardInterrupt:
        pass
    finally:
        interrupted, Interrupting.countdown = Interrupting.countdown < 0, None
    assert interrupted or calls >= 5
    assert [sorted(vars(layer)) for layer in model.layers] == attributes
    np.testing.assert_array_equal(model(x), answer)
    assert repr(vgp.inspect_layers(model, x, Y)) == expected
