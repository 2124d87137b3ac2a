"""The line that is proposed is the one that helps most, tried on a copy."""

import gc
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tqdm import tqdm

import vgp_lib as vgp
from vgp_lib.engine import _keras, _rehearsal, _remedies, diagnosis

MOONS = vgp.load_moons()
X, Y = MOONS.x_train, MOONS.y_train


def sequential(*parts, shape=(2,)):
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input(shape), *parts])


def test_a_step_that_is_too_small_is_known_by_trying():
    found = vgp.diagnose(vgp.build_mlp(2, activation="relu", seed=1), X, Y, optimizer=keras.optimizers.SGD(1e-6))
    assert found.verdict == "healthy" and "with the next line, tried on a copy, from" in found.because
    assert found.try_next == "optimizer = keras.optimizers.Adam(0.01)"  # ten times 1e-6 was tried first


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        (lambda: vgp.build_mlp(12, seed=1), keras.optimizers.SGD(0.1)),
        (lambda: vgp.build_mlp(10, activation="relu", kernel_initializer="ones", seed=1), keras.optimizers.SGD(0.1)),
    ],
    ids=["vanishing", "exploding"],
)
def test_the_line_that_is_proposed_lets_keras_s_own_fit_learn(model, optimizer):
    model = model()
    before = [weight.numpy() for weight in model.variables]
    found = vgp.diagnose(model, X, Y, optimizer=optimizer)
    for weight, old in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert found.verdict != "healthy" and "with the next line, tried on a copy" in found.because
    assert cured_loss(model, found.try_next, optimizer) < 0.55 < np.log(2)


def cured_loss(model, line, optimizer):
    """Build a net of the same size with the line, by hand, and train it with `fit`."""
    names = {"keras": keras, "h": keras.Input((10,)), "block": layers.Dense(10)}
    exec(line, names)
    settings = {"activation": model.get_layer("hidden_1").get_config()["activation"]}
    if "he_normal" in line:
        settings = {"activation": "relu", "kernel_initializer": "he_normal"}
    settings |= {"batch_normalization": "BatchNormalization" in line, "residual": "Add()" in line}
    cured = vgp.build_mlp(sum("hidden" in layer.name for layer in model.layers), seed=2, **settings)
    cured.compile(names.get("optimizer", type(optimizer).from_config(optimizer.get_config())), "binary_crossentropy")
    return loss_after(cured, 300)


def loss_after(model, steps):
    """Train with so many full batches, in one epoch, since Keras takes long over an epoch; return the loss."""
    batches = tf.data.Dataset.from_tensors((X, Y)).repeat()
    model.fit(batches, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0)
    return model.evaluate(X, Y, batch_size=len(X), verbose=0)


@pytest.mark.parametrize(
    ("gains", "chosen", "tried"),
    [
        ([0.5, 0.52, 0.9], 2, 3),  # clearly more than the first
        ([0.5, 0.52, 0.55], 0, 3),  # not clearly more: the line of theory
        ([0.95, 0.99], 0, 1),  # none can be clearly better
        ([0.2, 0.22], None, 2),  # not clearly more than without a line, 0.15
        ([None, 0.6], 1, 1),  # could not be built anew
    ],
)
def test_the_first_line_wins_unless_another_is_clearly_better(gains, chosen, tried):
    def line(gain):
        course = gain and types.SimpleNamespace(gain=gain, learned=gain > 0.15)
        return types.SimpleNamespace(line=f"gain {gain}  # why", course=lambda patient: course)

    patient = types.SimpleNamespace(course=types.SimpleNamespace(gain=0.15), tell=lambda what: None)
    best, names = _remedies._try(patient, [line(gain) for gain in gains])
    assert (best and best[1].line) == (None if chosen is None else f"gain {gains[chosen]}  # why")
    assert names == [f"gain {gain}" for gain in gains if gain is not None][:tried]


def test_two_faults_at_once_get_two_lines():
    model = vgp.build_mlp(12, seed=1)
    found = vgp.diagnose(model, X, Y, optimizer=keras.optimizers.SGD(1e-5))
    assert found.verdict == "vanishing" and "he_normal" in found.try_next
    assert found.try_next.endswith("  # in every hidden layer, and optimizer = keras.optimizers.Adam(0.01)")


def test_a_narrow_net_gets_more_units():
    line = 'keras.layers.Dense(10, activation="{}", kernel_initializer="he_normal")  # in every hidden layer'
    found = vgp.diagnose(vgp.build_mlp(8, units=3, seed=1), X, Y, optimizer=keras.optimizers.SGD(0.1))
    assert found.verdict == "vanishing" and "with the next line, tried" in found.because
    assert found.try_next == line.format("relu")
    he = {"activation": "relu", "kernel_initializer": "he_normal"}
    found = vgp.diagnose(vgp.build_mlp(12, units=3, seed=3, **he), X, Y, optimizer=keras.optimizers.SGD(0.1))
    assert found.verdict == "dead" and found.try_next == line.format("leaky_relu")


def sums_two_heads():
    inputs = keras.Input((2,))
    hidden = layers.Dense(3, "sigmoid")(inputs)
    for _ in range(7):
        hidden = layers.Dense(3, "sigmoid")(hidden)
    heads = layers.Add()([layers.Dense(1)(inputs), layers.Dense(1)(hidden)])
    return keras.Model(inputs, layers.Activation("sigmoid")(heads))


def reshapes():
    hidden = [layers.Dense(3, "sigmoid") for _ in range(8)]
    return sequential(*hidden, layers.Reshape((3, 1)), layers.Flatten(), layers.Dense(1, "sigmoid"))


@pytest.mark.parametrize(
    ("make", "wider"),
    [
        (lambda: sequential(*[layers.Dense(3, "sigmoid") for _ in range(3)], layers.Dense(1)), {"units": 10}),
        (lambda: sequential(layers.Dense(3, "relu"), layers.Dense(4, "relu"), layers.Dense(1)), {}),
        (lambda: sequential(layers.Dense(16, "relu"), layers.Dense(2), layers.Dense(16), layers.Dense(1)), {}),
        (lambda: sequential(layers.SimpleRNN(2), layers.Dense(2), layers.Dense(1), shape=(5, 1)), {}),
        (sums_two_heads, {}),  # one of them is no hidden layer
        (reshapes, {}),  # cannot be built with more
    ],
    ids=["narrow", "not all narrow", "a bottleneck", "recurrent", "two heads", "another shape"],
)
def test_only_a_net_that_is_narrow_throughout_and_can_be_wider_is_made_so(make, wider):
    model = make()
    x = np.zeros((4, *model.input_shape[1:]), "float32")
    patient = types.SimpleNamespace(model=model, x=x, layers=_keras.layers_with_kernel(model))
    assert _remedies._wider(patient) == wider


def test_where_nothing_helps_that_is_said():
    side, coin = np.random.default_rng(0).integers(0, 2, (2, len(X)))
    found = vgp.diagnose(
        vgp.build_mlp(1, units=2, seed=1), side[:, None] + 0 * X, coin, optimizer=keras.optimizers.SGD(0.1)
    )
    assert found.verdict == "healthy" and "none of these helped in the rehearsal: optimizer = " in found.because


def test_a_net_that_is_no_better_than_a_straight_line_is_told_so_with_the_line_that_bends_it():
    found = vgp.diagnose(vgp.build_mlp(3, activation="tanh", seed=1), X, Y, optimizer=keras.optimizers.SGD(0.1))
    line = sequential(layers.Dense(1, "sigmoid"))
    line.compile(keras.optimizers.Adam(0.1), "binary_crossentropy")
    words = f"a straight line does as well, {loss_after(line, 300):.2g}"
    assert found.verdict == "healthy" and words in found.because
    assert found.try_next == "optimizer = keras.optimizers.SGD(1.0)" and "with the next line, tried" in found.because


def test_a_net_without_activations_is_named_a_straight_line():
    found = vgp.diagnose(vgp.build_mlp(3, activation="linear", seed=1), X, Y, optimizer=keras.optimizers.SGD(0.1))
    assert "without an activation in its hidden layers the net is a straight line" in found.because
    assert found.try_next.startswith('keras.layers.Dense(10, activation="relu", kernel_initializer="he_normal")')


def test_a_loss_that_still_falls_is_no_loss_to_stop_at():
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 80)).astype("float32")  # too many inputs for a straight line to tell anything

    def ask(rate):
        model = sequential(layers.Dense(16, "relu"), layers.Dense(1, "sigmoid"), shape=(80,))
        return vgp.diagnose(model, x, x[:, 0] * x[:, 1] > 0, optimizer=keras.optimizers.Adam(rate))

    slow, faster = ask(2e-4), ask(4e-4)
    assert slow.verdict == "healthy" and "; the loss still falls; with the next line" in slow.because
    assert slow.try_next == "optimizer = keras.optimizers.Adam(0.002)"
    assert faster.because.endswith("; the loss still falls.")
    assert faster.try_next.startswith("nothing to change; train for more than 2")


def test_a_straight_line_that_fits_the_data_is_no_fault():
    model = sequential(layers.Dense(10, "relu"), layers.Dense(10, "relu"), layers.Dense(1))
    found = vgp.diagnose(model, X, X @ [1, 2], optimizer=keras.optimizers.Adam(2e-4), loss="mse")
    assert "straight line" not in found.because and found.try_next.startswith("nothing to change; train for more than")


def test_a_loss_that_rises_is_not_learned():
    losses = np.linspace(1, 100, 300)
    assert not _rehearsal.Course(losses, shuffled=140, values=[]).learned
    assert _rehearsal.Course(losses[::-1], shuffled=140, values=[]).learned


def test_what_takes_long_is_told(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(
        diagnosis,
        "tqdm",
        lambda **options: shown.append(options) or tqdm(**options | {"delay": 0, "disable": False, "mininterval": 0}),
    )
    vgp.diagnose(vgp.build_mlp(12, seed=1), X, Y, optimizer=keras.optimizers.SGD(0.1))
    told = capsys.readouterr().err
    assert (
        shown[0]["delay"] == 2 and [word for word in ("looks", "rehearses", "tries keras.") if word not in told] == []
    )


def test_a_net_that_cannot_be_built_anew_is_told_so():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = [layers.Dense(5, "sigmoid") for _ in range(12)]
            self.last = layers.Dense(1, "sigmoid")

        def call(self, inputs):
            for part in self.parts:
                inputs = part(inputs)
            return self.last(inputs)

    model = Own()
    model(X[:1])
    found = vgp.diagnose(model, X, Y, optimizer=keras.optimizers.Adam(1e-3))
    assert found.verdict == "vanishing" and "not tried, for the model cannot be built anew" in found.because


# Copies


def test_an_unbuilt_net_is_diagnosed_as_fit_would_build_it_and_stays_unbuilt():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([layers.Dense(8, "relu"), layers.Dropout(0.2), layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.Adam(0.01), loss="binary_crossentropy")
    copy = _keras.built(model, X)
    found = vgp.diagnose(model, X, Y)
    assert not model.built and model.weights == [] and not model.layers[0].built
    assert found.verdict == "healthy" and found == vgp.diagnose(model, X, Y)
    model.build(X.shape)
    for ours, theirs in zip(copy.trainable_weights, model.trainable_weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_net_built_anew_draws_the_same_weights_each_time_and_changes_no_random_state():
    model = vgp.build_mlp(3, batch_normalization=True, seed=1)
    state = _keras.random.getstate()
    one, other = (_keras.rebuild(model, keep=False) for _ in range(2))
    for first, second, old in zip(one.get_weights(), other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
        assert first.shape == old.shape
    kept = _keras.rebuild(model)
    for ours, theirs in zip(kept.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert state == _keras.random.getstate()


def test_a_skip_adds_the_input_and_normalization_stands_before_the_activation():
    model = vgp.build_mlp(3, activation="tanh", seed=1)
    patient = types.SimpleNamespace(layers=model.layers[1:], model=model, x=X)
    skipped = _keras.rebuild(model, _remedies._skip(patient))
    h = skipped.layers[1](X)
    inner = skipped.layers[2].inner
    np.testing.assert_allclose(skipped.layers[2](h), h + np.tanh(h @ inner.kernel + inner.bias), atol=1e-6)
    normalized = _keras.rebuild(model, _remedies._normalize(patient))
    kinds = [type(layer).__name__ for layer in normalized.layers[1].layers]
    assert kinds == ["Dense", "BatchNormalization", "Activation"]
    assert normalized.layers[1].layers[0].activation is keras.activations.linear


def test_a_recurrent_net_s_lines_are_tried_with_the_same_weights_each_time():
    bits = vgp.make_first_bit(samples=60)
    for kind, line in (("simple_rnn", "AveragePooling1D"), ("gru", "SimpleRNN")):
        model = vgp.build_rnn(kind, seed=0)
        (remedy,) = _remedies._for_recurrent(model.layers[1], keras.optimizers.Adam())
        one, other = (_keras.rebuild(model, remedy.change, keep=False) for _ in range(2))
        assert line in remedy.line and one(bits.x_train).shape == (len(bits.x_train), 1)
        for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(first, second)


def test_trials_leave_the_names_of_later_layers_alone():
    def names():
        made = layers.Dense(1), layers.BatchNormalization(), layers.Activation("relu"), keras.Sequential()
        return [layer.name for layer in made]

    def number(name):
        return int(name.rpartition("_")[2]) if name[-1].isdigit() else 0

    before = names()
    vgp.diagnose(vgp.build_mlp(6, seed=1), X, Y, optimizer=keras.optimizers.SGD(1e-5))
    assert [number(name) + 1 for name in before] == [number(name) for name in names()]


def test_the_lines_for_x_and_y_are_what_was_tried():
    names = {"x": 50 + 20 * X}
    exec(_remedies._SCALE.format("x"), names)
    np.testing.assert_allclose(_rehearsal.standardized(50 + 20 * X), names["x"], rtol=1e-6)


def test_many_calls_leave_nothing_behind():
    model, optimizer, counts = vgp.build_mlp(2, activation="relu", seed=1), keras.optimizers.Adam(0.01), []
    for _ in range(4):
        vgp.diagnose(model, X, Y, optimizer=optimizer)
        gc.collect()
        counts.append(len(gc.get_objects()))
    assert counts[-1] - counts[1] < 200  # with TensorFlow's strategy for many devices 4,000 a call


def test_what_a_layer_has_adapted_to_goes_into_the_copies():
    x = 100 * np.random.default_rng(0).normal(size=(200, 3)).astype("float32")
    scaling = layers.Normalization()
    scaling.adapt(x)
    model = keras.Sequential([scaling, layers.Dense(4, "tanh"), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e-5), "mse")
    copy = _keras.built(model, x)
    np.testing.assert_allclose(copy.layers[0](x), scaling(x))
    np.testing.assert_allclose(_keras.rebuild(copy, keep=False).layers[0](x), scaling(x))
    found = vgp.diagnose(model, x, x[:, 0] / 100)
    assert "goes from 1.8 to 1.8" in found.because and found.try_next == "optimizer = keras.optimizers.Adam(0.01)"


def test_a_loss_of_one_s_own_does_not_keep_the_lines_from_being_tried():
    def squares(y, answer):
        return keras.ops.mean(keras.ops.square(y - answer), axis=-1)

    model = keras.Sequential([*(layers.Dense(6, "sigmoid") for _ in range(10)), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), squares)
    found = vgp.diagnose(model, X, X[:, 0])
    assert found.verdict == "vanishing" and "with the next line, tried on a copy" in found.because
    encoder = sequential(layers.Dense(3, "tanh"))
    encoder.compile("adam", squares)
    assert _keras.rebuild(sequential(encoder, layers.Dense(1))) is not None


class Bent(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.last = layers.Dense(8), layers.Dense(1)

    def call(self, x):
        return self.last(keras.ops.relu(self.first(x)))


def bent_by_an_operation():
    x = keras.Input((2,))
    return keras.Model(x, layers.Dense(1)(keras.ops.relu(layers.Dense(8)(x))))


@pytest.mark.parametrize("make", [Bent, bent_by_an_operation])
def test_what_bends_outside_of_a_layer_is_no_straight_line(make):
    model = make()
    model(X[:1])
    found = vgp.diagnose(model, X, np.abs(X[:, 0]), optimizer=keras.optimizers.Adam(2e-3), loss="mse")
    assert "straight line" not in found.because


def test_answers_of_another_shape_than_the_last_layer_s_have_no_straight_line():
    model = sequential(layers.Dense(4, "relu"), layers.Dense(6), layers.Reshape((2, 3)))
    y = np.random.default_rng(0).normal(size=(200, 2, 3)) + X[:200, :1, None]
    found = vgp.diagnose(model, X[:200], y, optimizer=keras.optimizers.Adam(2e-3), loss="mse")
    assert found.verdict == "healthy" and "straight line" not in found.because


def test_no_call_is_told_that_tensorflow_traces_anew(caplog):
    for _ in range(6):  # it would be said at the fifth call
        model = sequential(layers.LSTM(2), layers.Dense(1, "sigmoid"), shape=(70, 1))
        vgp.diagnose(model, np.repeat(X[:40, None, :1], 70, axis=1), Y[:40], optimizer=keras.optimizers.SGD(0.1))
    assert caplog.text == ""


def test_every_line_is_tried_from_the_weights_and_the_state_as_they_are():
    model, optimizer = vgp.build_mlp(2, activation="relu", seed=1), keras.optimizers.Adam(0.1)
    rehearsal = _rehearsal.Rehearsal(model, X, Y, optimizer, "binary_crossentropy", 20)
    first, again = rehearsal.train(), rehearsal.train()
    np.testing.assert_array_equal(first.losses, again.losses)
    assert (np.diff(first.losses) != 0).all()
