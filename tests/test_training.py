"""The oracle is Keras: `model.fit` from the same initial weights, on the same batches, and `tf.GradientTape`.

The nets are small, so XLA compiles only where a test asks for it by the fixture `xla`; that the numbers are the same is
tested once.
"""

import logging
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers

import vgp_lib as vgp
from vgp_lib.engine import training
from vgp_lib.engine.training import Runs, train

SGD = optimizers.SGD
RNG = np.random.default_rng(0)
STEPS = RNG.normal(size=(40, 3, 2)).astype("float32")
IMAGES = RNG.normal(size=(40, 6, 6, 2)).astype("float32")
TOKENS = RNG.integers(0, 5, (40, 4))
LABELS = (STEPS.sum((1, 2)) > 0).astype("float32")
CLASSES = RNG.integers(0, 3, 40)
DECAY = optimizers.schedules.ExponentialDecay(0.5, 3, 0.5)


def mlp(**options):
    return lambda: vgp.build_mlp(**{"hidden_layers": 1, "units": 4, "activation": "tanh", **options})


def stack(*makers, shape=(2,), units=1, activation="sigmoid"):
    """Return a build: makers make the layers before the last Dense layer."""

    def build():
        last = [] if units is None else [layers.Dense(units, activation)]
        return keras.Sequential([keras.Input(shape), *[make() for make in makers], *last])

    return build


def dense(units=4, activation="tanh", **options):
    return lambda: layers.Dense(units, activation, **options)


def quiet(build, data, optimizer="sgd", epochs=1, seeds=2, shuffle=False, **options):
    return train(build, data, optimizer, epochs=epochs, seeds=seeds, shuffle=shuffle, progress=False, **options)


def same_runs(one, other, rtol=1e-5, atol=1e-7):
    for name in ("loss", "accuracy", "kernel_gradient_norms", "update_ratios", "first_layer_weights"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol, atol, err_msg=name)


def follows_fit(build, data, optimizer=None, loss="binary_crossentropy", epochs=2, batch_size=32, rtol=1e-5, atol=2e-6):
    """Check one of two seeds against `fit`; return the runs."""
    optimizer = optimizer or SGD(0.1)
    model = quiet(build, data, SGD(0.1), epochs=0, loss=loss).model(1)
    initial = model.get_weights()
    runs = quiet(build, data, optimizer, epochs, loss=loss, batch_size=batch_size)
    copy = type(optimizer).from_config(optimizer.get_config())
    model.compile(copy, loss, metrics=["accuracy"], run_eagerly=True)  # eager: nothing to trace
    history = model.fit(*data[:2], batch_size, epochs, shuffle=False, verbose=0).history
    np.testing.assert_allclose(runs.loss[:, 1], history["loss"], rtol)
    np.testing.assert_allclose(runs.accuracy[:, 1], history["accuracy"], atol=1e-6)
    trained = runs.model(1)
    for ours, theirs, start in zip(trained.weights, model.weights, initial, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol, atol, err_msg=ours.path)
        assert not ours.trainable or (ours.numpy() != start).any(), ours.path
    return runs


@pytest.fixture
def xla(monkeypatch):
    monkeypatch.setattr(training, "_MANY_UPDATES", 0)
    assert training._xla_works()


@pytest.fixture
def no_training(monkeypatch):
    def run(*_):
        raise AssertionError("training began")

    monkeypatch.setattr(training._Program, "run", run)


@pytest.fixture
def fresh_cache():
    training._programs.cache_clear()
    yield
    training._programs.cache_clear()


# Against fit: optimizers


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.1, weight_decay=0.1),
        SGD(0.1, momentum=0.9, nesterov=True),
        SGD(DECAY),
        SGD(0.1, gradient_accumulation_steps=2),
        optimizers.Adam(0.01),
        optimizers.RMSprop(0.01, centered=True, momentum=0.5),
    ],
    ids=["sgd", "momentum", "schedule", "accumulation", "adam", "rmsprop"],
)
def test_optimizers_follow_fit(moons, optimizer):
    follows_fit(mlp(), moons, optimizer)


@pytest.mark.parametrize("name", training._ELEMENTWISE)
def test_seeds_that_share_a_matrix_do_not_meet_in_the_update(name):
    """Each row of a matrix moves as it would alone."""

    def trained(start, gradients):
        optimizer, variable = getattr(optimizers, name)(0.1), keras.Variable(start)
        for gradient in gradients:
            optimizer.apply([gradient], [variable])
        return variable.numpy()

    start, gradients = RNG.normal(size=(2, 5)).astype("float32"), RNG.normal(size=(3, 2, 5)).astype("float32")
    together = trained(start, gradients)
    assert (together != start).all()
    for row in (0, 1):
        np.testing.assert_allclose(together[row], trained(start[row], gradients[:, row]), 1e-6)


@pytest.mark.parametrize("clipping", [{"clipnorm": 0.05}, {"clipvalue": 0.01}, {"global_clipnorm": 0.05}], ids=str)
def test_clipping_follows_fit(moons, clipping):
    runs = follows_fit(mlp(), moons, SGD(0.1, **clipping))
    plain = quiet(mlp(), moons, SGD(0.1), 2)
    assert (np.abs(runs.loss[-1] / plain.loss[-1] - 1) > 1e-3).all()  # the limit bites
    # Measured are the gradients before clipping: those of the first epoch differ only as the weights do.
    assert (runs.kernel_gradient_norms[0] > 0.5 * plain.kernel_gradient_norms[0]).all()
    assert runs.kernel_gradient_norms[0].max() > 0.05


def test_a_global_norm_beyond_float32_is_nan_as_in_keras():
    x, y = np.full((4, 2), 1e25, "float32"), np.full(4, -1e10, "float32")
    build, optimizer = stack(activation=None), SGD(0.1, global_clipnorm=1.0)
    runs = quiet(build, (x, y), optimizer, loss="mean_absolute_error")
    model = quiet(build, (x, y), optimizer, 0, loss="mean_absolute_error").model(0)
    model.compile(SGD(0.1, global_clipnorm=1.0), "mean_absolute_error")
    model.fit(x, y, verbose=0)
    np.testing.assert_array_equal(runs.model(0).get_weights()[0], model.get_weights()[0])
    assert np.isnan(model.get_weights()[0]).all()


class Halving(optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.5 * 0.5**step

    def get_config(self):
        return {}


def test_a_schedule_that_keras_does_not_know_is_taken_as_it_is(moons):
    runs = quiet(mlp(), moons, SGD(Halving()))
    same_runs(runs, quiet(mlp(), moons, SGD(optimizers.schedules.ExponentialDecay(0.5, 1, 0.5))), 1e-4)


# Against fit: models


class Centred(layers.Layer):
    """Couples the samples of a batch, as batch normalization does."""

    def call(self, x):
        return x - keras.ops.mean(x, axis=0)


@pytest.mark.parametrize(
    "maker",
    [
        pytest.param(layers.BatchNormalization, id="batch_normalization"),
        pytest.param(layers.LayerNormalization, id="layer_normalization"),
        pytest.param(dense(kernel_regularizer="l2", bias_regularizer="l1"), id="kernel_regularizer"),
        pytest.param(dense(activity_regularizer="l2"), id="activity_regularizer"),
        pytest.param(Centred, id="own"),
    ],
)
def test_layers_follow_fit_with_a_smaller_last_batch(moons, maker):
    follows_fit(stack(dense(), maker), moons)


def test_a_residual_net_follows_fit(moons):
    net = mlp(hidden_layers=2, residual=True, batch_normalization=True, activation=layers.PReLU())
    follows_fit(net, moons, optimizers.Adam(0.01), batch_size=50)


@pytest.mark.parametrize("batch_size", [1, 5, 500])
def test_extreme_batch_sizes_follow_fit(moons, batch_size):
    follows_fit(mlp(), (moons.x_train[:6], moons.y_train[:6]), SGD(0.05), batch_size=batch_size)


class Subclassed(keras.Model):
    """Its call takes no argument `training`; the layers are made in another order than they are called."""

    def __init__(self):
        super().__init__()
        self.head = layers.Dense(1, "sigmoid", name="head")
        self.first = layers.Dense(4, "tanh", name="first")

    def call(self, x):
        return self.head(self.first(x))


def test_a_subclassed_model_whose_call_takes_no_argument_training_follows_fit(moons):
    def build():
        model = Subclassed()
        model(moons.x_train[:1])
        return model

    runs = follows_fit(build, moons)
    assert runs.layer_names == ["first", "head"]
    assert runs.first_layer_weights.shape == (3, 2, 2, 4)


@pytest.mark.parametrize(
    ("makers", "x"),
    [
        pytest.param([lambda: layers.Bidirectional(layers.LSTM(3))], STEPS, id="bidirectional_lstm"),
        pytest.param([lambda: layers.Conv2D(2, 3, activation="relu"), layers.Flatten], IMAGES, id="conv"),
        pytest.param(
            [lambda: layers.Embedding(5, 3, mask_zero=True), lambda: layers.SimpleRNN(2)], TOKENS, id="embedding"
        ),
    ],
)
def test_kinds_of_layers_follow_fit(makers, x):
    follows_fit(stack(*makers, shape=x.shape[1:]), (x, LABELS), batch_size=16)


def test_one_recurrent_net_is_trained_at_several_lengths_as_fit_does():
    for steps in (3, 2):
        data = np.random.default_rng(0).normal(size=(8, steps, 1)).astype("float32"), LABELS[:8]
        follows_fit(lambda: vgp.build_rnn("gru", units=2), data, SGD(0.5))


@pytest.mark.parametrize("frozen", [0, 1], ids=["first", "second"])
def test_frozen_layer_stays_as_built(moons, frozen):
    still = keras.initializers.GlorotNormal(seed=5)

    def build():
        model = vgp.build_mlp(hidden_layers=1, units=4, activation="tanh")
        model.layers[1 + frozen].trainable = False
        shape = model.layers[1 + frozen].kernel.shape
        model.layers[1 + frozen].kernel.assign(still(shape))
        return model

    runs = follows_fit(build, moons)
    for seed in (0, 1):
        kernel = runs.model(seed).layers[1 + frozen].kernel
        np.testing.assert_array_equal(kernel, still(kernel.shape))
    assert np.isnan(runs.kernel_gradient_norms[..., frozen]).all()
    assert np.isnan(runs.update_ratios[..., frozen]).all()
    assert (runs.kernel_gradient_norms[..., 1 - frozen] > 0).all() and (runs.update_ratios[..., 1 - frozen] > 0).all()
    assert runs.first_layer_weights.shape == (3, 2, 2, 4)
    assert (runs.first_layer_weights[0] == runs.first_layer_weights[-1]).all() == (frozen == 0)


def test_dropout_is_reproducible_and_differs_between_seeds(moons):
    build = stack(dense(), lambda: layers.Dropout(0.5))
    runs, again = (quiet(build, moons, SGD(0.1), 2) for _ in range(2))
    np.testing.assert_array_equal(runs.loss, again.loss)
    assert np.isfinite(runs.loss).all() and (runs.loss[:, 0] != runs.loss[:, 1]).all()

    # With equal weights, order and learning rate 0, only the dropped units tell seeds and epochs apart.
    build = stack(
        dense(kernel_initializer="ones"), lambda: layers.Dropout(0.5), dense(1, kernel_initializer="ones"), units=None
    )
    loss = quiet(build, moons, SGD(0.0), 3, loss="mse").loss
    assert len(np.unique(loss.round(5))) == loss.size


def test_two_dropout_layers_drop_different_units(moons):
    build = stack(dense(), lambda: layers.Dropout(0.5), dense(), lambda: layers.Dropout(0.5))
    runs = quiet(build, moons, epochs=0, seeds=2)
    states = [tuple(v.numpy()) for seed in (0, 1) for v in runs.model(seed).variables if "seed_generator" in v.path]
    assert len(states) == 4 and len(set(states)) == 4


# Against fit: losses


@pytest.mark.parametrize(
    ("loss", "y", "units", "activation"),
    [
        pytest.param(keras.losses.Huber(0.1), LABELS[:, None], 1, "linear", id="huber_column"),
        pytest.param(keras.losses.Huber(0.3), LABELS[:, None], 1, "linear", id="huber_of_another_delta"),
        pytest.param(keras.losses.BinaryCrossentropy(from_logits=True), LABELS, 1, None, id="binary_logits"),
        pytest.param("categorical_crossentropy", np.eye(3)[CLASSES], 3, "softmax", id="categorical"),
        pytest.param("sparse_categorical_crossentropy", CLASSES, 3, "softmax", id="sparse"),
        pytest.param("sparse_categorical_crossentropy", CLASSES[:, None], 3, "softmax", id="sparse_column"),
        pytest.param("binary_crossentropy", np.eye(3)[CLASSES] + np.eye(3)[0] > 0, 3, "sigmoid", id="multilabel"),
        pytest.param(lambda y, p: tf.reduce_mean(tf.square(y - p)), LABELS, 1, "linear", id="function_scalar"),
        pytest.param(lambda y, p: (p - tf.reduce_mean(p * y)) ** 2, LABELS, 1, "linear", id="function_coupling"),
    ],
)
def test_losses_follow_fit(loss, y, units, activation):
    build = stack(layers.Flatten, shape=STEPS.shape[1:], units=units, activation=activation)
    follows_fit(build, (STEPS, y), loss=loss, batch_size=16)


def test_a_loss_that_ignores_a_class_follows_fit():
    """A batch weighs the same however few of its samples have a label; the accuracy of fit leaves the others out."""
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=0)
    build = stack(layers.Flatten, shape=STEPS.shape[1:], units=3, activation="softmax")
    start, runs = (quiet(build, (STEPS, CLASSES), SGD(0.1), epochs, loss=loss, batch_size=16) for epochs in (0, 1))
    model = start.model(1)
    model.compile(SGD(0.1), loss, run_eagerly=True)
    model.fit(STEPS, CLASSES, 16, shuffle=False, verbose=0)
    for ours, theirs in zip(runs.model(1).get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-5, 1e-6)


# Initial values


@pytest.mark.parametrize("initializer", ["glorot_uniform", "he_normal", "orthogonal", "random_normal"])
@pytest.mark.parametrize("seeds", [[3], range(40)], ids=["one", "forty"])
def test_one_seed_is_one_net(moons, initializer, seeds):
    """`train` draws what build_mlp and build_rnn draw, bit for bit."""

    def net(seed=None):
        return vgp.build_mlp(3, 5, kernel_initializer=initializer, seed=seed)

    def recurrent(seed=None):
        return vgp.build_rnn("lstm", 3, kernel_initializer=initializer, input_dim=2, seed=seed)

    for build, data in ((net, moons), (recurrent, (STEPS, LABELS))):
        runs = quiet(build, data, epochs=0, seeds=seeds)
        for seed in {3, seeds[-1]}:
            for ours, theirs in zip(runs.model(seed).get_weights(), build(seed).get_weights(), strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_without_epochs_nothing_is_traced_and_no_optimizer_is_made(moons, monkeypatch):
    monkeypatch.setattr(training, "_Program", None)
    runs = quiet(mlp(), moons, optimizers.Adam(0.1), epochs=0)
    assert runs.loss.shape == (0, 2) and runs.first_layer_weights.shape == (1, 2, 2, 4)


def test_seeds_in_two_groups_run_as_each_of_them_alone(moons, monkeypatch, xla):
    """Seventeen seeds on two cores: groups of nine, the second filled up with a copy that nobody gets to see."""
    monkeypatch.setattr(training.os, "sched_getaffinity", lambda _: {4, 7}, raising=False)
    many = quiet(mlp(), moons, epochs=2, seeds=17)
    assert [len(group) for group in training._groups(17)] == [9, 9]
    assert many.loss.shape == (2, 17) and len({*many.loss[-1]}) == 17
    for seed in (0, 8, 9, 16):
        alone = quiet(mlp(), moons, epochs=2, seeds=[seed])
        np.testing.assert_allclose(many.loss[:, seed], alone.loss[:, 0], rtol=1e-5)
        pairs = zip(many.model(seed).get_weights(), alone.model(seed).get_weights(), strict=True)
        assert all(np.allclose(ours, theirs, rtol=1e-4, atol=1e-6) for ours, theirs in pairs)


def test_there_is_a_group_a_core_of_at_least_eight_seeds(monkeypatch):
    monkeypatch.setattr(training.os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    assert [len(training._groups(seeds)) for seeds in (1, 8, 15, 16, 32, 100)] == [1, 1, 1, 2, 4, 4]
    monkeypatch.delattr(training.os, "sched_getaffinity")  # as on macOS and Windows
    monkeypatch.setattr(training.os, "cpu_count", lambda: 2)
    assert len(training._groups(100)) == 2


def test_initial_networks_are_drawn_anew_for_every_seed_and_layer(moons):
    runs = quiet(mlp(hidden_layers=3, kernel_initializer="he_normal"), moons, epochs=0, seeds=[2, 9])
    weights = [runs.model(seed).get_weights() for seed in (2, 9)]
    assert (weights[0][0] != weights[1][0]).all() and (weights[0][2] != weights[0][4]).all()
    assert (weights[0][1] == 0).all()
    many = quiet(mlp(units=50, kernel_initializer="he_normal"), moons, epochs=0, seeds=20)
    assert np.std([many.model(seed).get_weights()[2] for seed in range(20)]) == pytest.approx(0.2, rel=0.02)  # √(2/50)


@pytest.mark.parametrize("bias_initializer", ["zeros", "random_normal"])
def test_lstm_keeps_its_forget_bias_of_one(bias_initializer):
    build = stack(lambda: layers.LSTM(3, bias_initializer=bias_initializer), shape=(3, 2))
    runs = quiet(build, (STEPS, LABELS), epochs=0)
    for seed in (0, 1):
        bias = runs.model(seed).get_weights()[2]
        np.testing.assert_array_equal(bias[3:6], 1)
        assert (np.abs(bias[[0, 1, 2, 6, 7, 8, 9, 10, 11]]) < 0.5).all()


def test_depthwise_and_separable_kernels_are_drawn():
    build = stack(
        lambda: layers.DepthwiseConv2D(2), lambda: layers.SeparableConv2D(2, 2), layers.Flatten, shape=(6, 6, 2)
    )
    runs = quiet(build, (IMAGES, LABELS), epochs=0)
    ours, others = (runs.model(seed).trainable_variables for seed in (0, 1))
    drawn = [(a.numpy() != b.numpy()).all() for a, b in zip(ours, others, strict=True) if "bias" not in a.path]
    assert drawn == [True] * 4


def test_layers_that_share_an_initializer_get_the_same_weights_as_in_keras(moons):
    def build():
        shared = keras.initializers.HeNormal()
        return stack(*[dense(kernel_initializer=init) for init in ("zeros", shared, shared, "he_normal")])()

    weights = quiet(build, moons, epochs=0).model(1).get_weights()
    np.testing.assert_array_equal(weights[2], weights[4])
    assert (weights[2] != weights[6]).any()


class Unseeded(keras.initializers.Initializer):
    """Random, without a seed in its configuration: as in Keras's own example of a custom initializer."""

    def __call__(self, shape, dtype=None):
        return keras.random.normal(shape)


class Seeded(keras.initializers.Initializer):
    def __init__(self, seed=None):
        self.seed = seed

    def __call__(self, shape, dtype=None):
        return np.random.default_rng(self.seed).normal(size=shape).astype("float32")

    def get_config(self):
        return {"seed": self.seed}


class OwnRegularizer(keras.regularizers.Regularizer):
    """Somebody's code, which may have been edited since."""

    def __call__(self, weights):
        return 0.0 * keras.ops.sum(weights)


def draw(shape, dtype=None):
    return keras.random.normal(shape)


class Scale(layers.Layer):
    """One weight; where its initializer lies is up to the argument."""

    def __init__(self, kept=None, **options):
        super().__init__(**options)
        if kept:
            self.w_initializer = kept

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="w")

    def call(self, x):
        return x * self.w


@pytest.mark.parametrize(
    "maker", [dense(kernel_initializer=Seeded()), lambda: Scale("random_normal")], ids=["own", "name"]
)
def test_initializers_of_ones_own_draw_anew_for_every_seed(moons, maker):
    one, two = quiet(stack(maker), moons, epochs=0), quiet(stack(maker), moons, epochs=0)
    weights = [runs.model(seed).get_weights()[0] for runs in (one, two) for seed in (0, 1)]
    assert (weights[0] != weights[1]).all()
    np.testing.assert_array_equal(weights[:2], weights[2:])


def test_deterministic_functions_serve_as_initializers(moons):
    def twos(shape, dtype=None):
        return 2 * tf.ones(shape)

    runs = quiet(stack(dense(kernel_initializer=twos)), moons, epochs=0)
    np.testing.assert_array_equal(runs.first_layer_weights, 2)


# Seeds


@pytest.mark.parametrize(
    ("build", "optimizer"),
    [
        pytest.param(stack(dense(), lambda: layers.Dropout(0.2)), optimizers.Adam(0.01), id="dropout"),
        pytest.param(mlp(batch_normalization=True), SGD(0.1, global_clipnorm=0.1), id="batch_normalization_clipping"),
    ],
)
def test_a_seed_gives_the_same_run_in_any_company(moons, build, optimizer):
    alone, company, other = (
        quiet(build, moons, optimizer, 2, seeds=seeds, shuffle=True) for seeds in ([1], 3, [8, 4, 1])
    )
    assert (alone.seeds, company.seeds, other.seeds) == ((1,), (0, 1, 2), (8, 4, 1))
    for runs in (company, other):
        index = runs.seeds.index(1)
        np.testing.assert_allclose(runs.loss[:, index], alone.loss[:, 0], 1e-5)
        for name in ("kernel_gradient_norms", "update_ratios", "first_layer_weights"):
            np.testing.assert_allclose(
                getattr(runs, name)[:, index], getattr(alone, name)[:, 0], 1e-3, 1e-5, err_msg=name
            )
        for one, two in zip(runs.model(1).get_weights(), alone.model(1).get_weights(), strict=True):
            np.testing.assert_allclose(one, two, 1e-3, 1e-5)
        assert len(np.unique(runs.loss[0].round(4))) == 3
        assert len(np.unique(runs.first_layer_weights[0, :, 0, 0])) == 3


def test_runs_do_not_depend_on_the_global_seed(moons):
    runs = quiet(mlp(), moons, SGD(0.1), 2, shuffle=True)
    keras.utils.set_random_seed(99)
    again = quiet(mlp(), moons, SGD(0.1), 2, shuffle=True)
    same_runs(runs, again, rtol=0, atol=0)


def test_every_epoch_and_seed_has_its_own_order_of_the_samples(moons):
    # The same weights throughout: the mean gradient tells which samples share the smaller last batch.
    def norms(**options):
        build = mlp(hidden_layers=1, kernel_initializer="ones")
        return quiet(build, moons, SGD(0.0), 3, **options).kernel_gradient_norms[..., 0]

    assert len(np.unique(norms(shuffle=True).round(5))) == 6
    np.testing.assert_allclose(norms(shuffle=False), norms(shuffle=False)[0, 0], 1e-6)
    whole = norms(shuffle=True, batch_size=200)
    np.testing.assert_allclose(whole, whole[0, 0], 1e-4)  # every sample once: the order does not matter


# What is recorded


@pytest.mark.parametrize("batch_size", [200, 80])
def test_records_agree_with_a_gradient_tape(moons, batch_size):
    runs = quiet(mlp(), moons, SGD(0.5), 3, batch_size=batch_size)
    model = quiet(mlp(), moons, epochs=0).model(1)
    variables = model.trainable_variables
    kernels = [index for index, variable in enumerate(variables) if "kernel" in variable.path]
    for epoch in range(3):
        before = [variables[k].numpy() for k in kernels]
        np.testing.assert_allclose(runs.first_layer_weights[epoch, 1], before[0], 1e-5, 1e-6)
        sums = [0.0] * len(variables)
        moved = [0.0] * len(variables)
        starts = range(0, 200, batch_size)
        for start in starts:
            x, y = (part[start : start + batch_size] for part in moons[:2])
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(keras.losses.binary_crossentropy(y[:, None], model(x)))
            for k, gradient in enumerate(tape.gradient(loss, variables)):
                sums[k] += gradient.numpy().astype("float64") / len(starts)
                moved[k] += np.abs(0.5 * gradient.numpy()).mean() / len(starts)
                variables[k].assign_sub(0.5 * gradient)
        norms = [np.sqrt(np.square(sums[k]).sum()) for k in kernels]
        ratios = [moved[k] / np.abs(w).mean() for k, w in zip(kernels, before, strict=True)]
        np.testing.assert_allclose(runs.kernel_gradient_norms[epoch, 1], norms, 1e-4)
        np.testing.assert_allclose(runs.update_ratios[epoch, 1], ratios, 1e-3)


def test_gradients_are_not_rounded_to_zero_before_they_are_squared(moons):
    def build():
        return vgp.build_mlp(8, 4, kernel_initializer=keras.initializers.RandomNormal(0, 1e-3))

    runs, model = quiet(build, moons, SGD(0.1), seeds=1, batch_size=200), quiet(build, moons, epochs=0).model(0)
    x, y = moons[:2]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.binary_crossentropy(y[:, None], model(x)))
    kernels = [layer.kernel for layer in model.layers[1:]]
    gradients = [np.asarray(g).astype("float64") for g in tape.gradient(loss, kernels)]
    expected = [np.sqrt(np.square(g).sum()) for g in gradients]
    assert 0 < expected[0] < 1e-23
    np.testing.assert_allclose(runs.kernel_gradient_norms[0, 0], expected, 1e-2)


@pytest.mark.parametrize("epochs", [0, 2])
def test_shapes_and_names(moons, epochs):
    runs = quiet(mlp(hidden_layers=3), moons, optimizers.Adam(0.25), epochs, seeds=(4, 2))
    assert isinstance(runs, Runs) and runs.seeds == (4, 2) and runs.learning_rate == 0.25
    assert runs.layer_names == ["hidden_1", "hidden_2", "hidden_3", "output"]
    shapes = {
        "loss": (epochs, 2),
        "accuracy": (epochs, 2),
        "kernel_gradient_norms": (epochs, 2, 4),
        "update_ratios": (epochs, 2, 4),
        "first_layer_weights": (epochs + 1, 2, 2, 4),
    }
    for name, shape in shapes.items():
        values = getattr(runs, name)
        assert values.shape == shape and values.dtype == "float64" and np.isfinite(values).all(), name
    assert "2 seeds" in repr(runs) and f"{epochs} epochs" in repr(runs) and "nan" not in repr(runs)
    assert runs.diverged == {}


def test_a_number_of_seeds_may_come_from_numpy(moons):
    assert quiet(mlp(), moons, seeds=np.int64(3)).seeds == (0, 1, 2)


def test_learning_rate_of_a_schedule_is_that_of_the_first_step(moons):
    assert quiet(mlp(), moons, SGD(DECAY), epochs=0).learning_rate == 0.5


def test_models_of_the_runs_give_the_recorded_losses(moons):
    runs = quiet(mlp(), moons, SGD(0.5), 3, batch_size=200, seeds=[7, 3])
    early = quiet(mlp(), moons, SGD(0.5), 2, batch_size=200, seeds=[7, 3])
    for index, seed in enumerate((7, 3)):
        model = early.model(seed)  # the loss of an epoch is that before its step
        assert isinstance(model, keras.Model)
        model.compile(loss="binary_crossentropy", metrics=["accuracy"], run_eagerly=True)
        loss, accuracy = model.evaluate(*moons[:2], batch_size=200, verbose=0)
        assert loss == pytest.approx(runs.loss[2, index], rel=1e-5)
        assert accuracy == pytest.approx(runs.accuracy[2, index], abs=1e-6)
        np.testing.assert_array_equal(model.get_layer("hidden_1").kernel, early.first_layer_weights[-1, index])
    for unknown in (0, "7", None):
        with pytest.raises(ValueError, match=r"seeds \(7, 3\)"):
            runs.model(unknown)


# nan


def cubed(y, p):
    return -(p**3)


def test_nan_stays_in_the_seed_where_it_arose():
    """A single weight w with loss -w³ obeys w ← w + 3 lr w²: positive ones explode, small negative ones go to 0."""
    build = stack(
        lambda: layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.RandomUniform(-0.3, 0.3)),
        shape=(1,),
        units=None,
    )
    runs = quiet(build, (np.ones((8, 1)), np.ones(8)), SGD(1.0), 12, loss=cubed, seeds=8, batch_size=1)
    expected, final = {}, []
    for index, w in enumerate(runs.first_layer_weights[0, :, 0, 0].astype("float32")):
        for epoch in range(1, 13):
            total = np.float32(0)
            with np.errstate(over="ignore", invalid="ignore"):
                for _ in range(8):
                    total, w = total - w**3, w + 3 * w**2
            if not np.isfinite(total):
                expected.setdefault(index, epoch)
        final.append(w)
    assert 1 <= len(expected) <= 7
    assert runs.diverged == expected
    for seed in range(8):
        if seed in expected:
            assert not np.isfinite(runs.loss[expected[seed] - 1 :, seed]).any()
            assert f"{seed}: {expected[seed]}" in repr(runs)
            assert not np.isfinite(runs.model(seed).get_weights()[0]).any()
        else:
            assert all(np.isfinite(getattr(runs, name)[:, seed]).all() for name in ("loss", "update_ratios"))
            assert runs.model(seed).get_weights()[0] == pytest.approx(final[seed], rel=1e-3)


@pytest.mark.parametrize(
    "pair", [("tanh", "relu"), (layers.LeakyReLU(0.1), layers.LeakyReLU(0.3))], ids=["name", "slope"]
)
def test_a_build_that_reads_the_variable_of_a_loop_is_noticed(moons, pair):
    found = [quiet(lambda: vgp.build_mlp(1, 4, activation), moons, epochs=0) for activation in pair]  # noqa: B023
    assert isinstance(found[1].model(0), keras.Model)
    with pytest.raises(ValueError, match="makes another network now"):
        found[0].model(0)


def test_repr_of_runs_that_all_diverged(moons):
    relu = mlp(activation="relu", kernel_initializer="he_normal", output_activation="linear")
    runs = quiet(relu, moons, SGD(1e9), 3, loss="mse", batch_size=200)
    assert set(runs.diverged) == {0, 1}
    assert str(runs.diverged) in repr(runs)
    # Some losses infinite, none of them nan: the quantiles' own arithmetic meets inf - inf.
    infinite = Runs((0, 1), 0.1, ["a"], np.full((1, 2), np.inf), *[np.zeros((1, 2, 1))] * 4, None, [], ())
    assert "{0: 1, 1: 1}" in repr(infinite)


# One program for many calls


@pytest.fixture
def made(fresh_cache, monkeypatch):
    """Count the programs that are made, and run none."""
    programs = []

    def program(*arguments):
        programs.append(arguments)
        return Idle()

    class Idle:
        def run(self, *_):
            pass

    monkeypatch.setattr(training, "_Program", program)
    return programs


def test_what_a_program_does_not_depend_on(moons, made):
    def call(build, optimizer, **options):
        quiet(build, moons, optimizer, **options)
        return len(made)

    momentum = SGD(0.1, momentum=0.5)
    assert call(mlp(), momentum) == 1
    assert call(mlp(kernel_initializer="he_normal"), momentum) == 1
    assert call(mlp(kernel_initializer=keras.initializers.RandomNormal(0, 0.3)), momentum) == 1
    assert call(mlp(), SGD(0.7, momentum=0.5, name="another"), seeds=[5, 3], epochs=3) == 1
    assert call(mlp(hidden_layers=3), momentum) == 2
    assert call(mlp(activation="relu"), momentum) == 3
    assert call(mlp(), SGD(0.1, momentum=0.6)) == 4
    assert call(mlp(), SGD(DECAY, momentum=0.5)) == 5
    assert call(mlp(), momentum, seeds=3) == 6
    for losses in [("mse",) * 2, (keras.losses.Huber(), keras.losses.Huber()), (keras.losses.Huber(0.2),)]:
        before = len(made)
        assert [call(mlp(), momentum, loss=loss) for loss in losses] == [before + 1] * len(losses)
    # Names that Keras counts up do not matter; what layers are connected to does.
    for middle in (stack(dense(), dense()), joined(0), joined(1)):
        before = len(made)
        assert call(middle, momentum) == before + 1
        assert call(middle, momentum) == before + 1


def joined(source):
    """Return a build of two parallel layers and one that goes on from either; their shapes are equal."""

    def build():
        inputs = keras.Input((2,))
        sides = layers.Dense(4, "tanh")(inputs), layers.Dense(4, "tanh")(inputs)
        h = layers.Dense(4, "tanh")(sides[source])
        return keras.Model(inputs, layers.Dense(1, "sigmoid")(layers.Concatenate()([*sides, h])))

    return build


def test_a_program_leaves_nothing_behind_for_the_next_call(moons, fresh_cache):
    """Neither weights, nor momenta, nor a learning rate; nor Nadam's product of all its momenta so far."""
    for optimizer, other in [(SGD(0.1, momentum=0.5), SGD(0.7, momentum=0.5)), (optimizers.Nadam(0.1),) * 2]:
        first = quiet(mlp(), moons, optimizer, 2)
        between = quiet(mlp(kernel_initializer="he_normal"), moons, other, 2, seeds=[5, 3])
        assert not np.allclose(first.loss, between.loss, rtol=1e-3)
        same_runs(quiet(mlp(), moons, optimizer, 2), first, rtol=0, atol=0)
    assert training._programs.cache_info().misses == 2


def test_a_model_that_is_changed_in_place_later_does_not_change_the_program(moons, fresh_cache):
    model = mlp()()
    quiet(lambda: model, moons)
    model.layers[1].activation = keras.activations.relu
    half = moons.x_train[:100], moons.y_train[:100]  # traced anew
    follows_fit(mlp(), half)
    assert training._programs.cache_info().misses == 1


def layer_of_a_name(activation):
    return stack(lambda: layers.Dense(4, activation, name=activation))


def class_in_a_cell(factor):
    class Block(layers.Layer):
        def call(self, x):
            return factor * x

    return stack(dense(), Block)


def adapted(factor):
    def normalization():
        layer = layers.Normalization()
        layer.adapt(np.array([[0.0, 0.0], [factor, 1.0], [1.0, factor]]))
        return layer

    return stack(normalization, dense())


def squared(y, p):
    return tf.square(y - p)


@pytest.mark.parametrize(
    ("one", "other", "loss"),
    [
        pytest.param(layer_of_a_name("relu"), layer_of_a_name("tanh"), "mse", id="layer_named_like_its_activation"),
        pytest.param(class_in_a_cell(1.0), class_in_a_cell(3.0), "mse", id="class_of_the_same_name"),
        pytest.param(*[stack(dense(activation=lambda z: z))] * 2, "mse", id="function_that_may_read_a_global"),
        pytest.param(*[stack(dense(kernel_regularizer=OwnRegularizer()))] * 2, "mse", id="regularizer"),
        pytest.param(*[mlp(kernel_initializer=lambda shape, dtype: tf.ones(shape))] * 2, "mse", id="initializer"),
        pytest.param(adapted(1.0), adapted(3.0), "mse", id="adapted_to_other_data"),
        pytest.param(*[mlp()] * 2, squared, id="loss_that_may_read_a_global"),
    ],
)
def test_a_program_is_not_reused_for_another_network_that_looks_the_same(moons, made, one, other, loss):
    """As when a student edits a cell of a notebook and runs it again."""
    for count, build in enumerate((one, other)):
        quiet(build, moons, loss=loss)
        assert len(made) == count + 1


def test_a_class_that_was_edited_is_trained_as_it_is_now(moons, fresh_cache):
    first, edited = (follows_fit(class_in_a_cell(factor), moons, epochs=1) for factor in (1.0, 3.0))
    assert not np.allclose(first.loss, edited.loss, rtol=1e-3)


def centred_by_an_operation():
    inputs = keras.Input((2,))
    h = layers.Dense(4, "tanh")(inputs)
    return keras.Model(inputs, layers.Dense(1, "sigmoid")(h - keras.ops.mean(h, axis=0, keepdims=True)))


@pytest.mark.parametrize(
    ("build", "loss", "coupled"),
    [
        pytest.param(stack(dense(), layers.LayerNormalization), "mse", False, id="keras_layers"),
        pytest.param(mlp(), keras.losses.Huber(), False, id="keras_loss"),
        pytest.param(stack(dense(), layers.BatchNormalization), "mse", True, id="batch_normalization"),
        pytest.param(stack(dense(), Centred), "mse", True, id="own_layer"),
        pytest.param(stack(dense(), lambda: layers.Lambda(keras.ops.softmax)), "mse", True, id="lambda"),
        pytest.param(stack(dense(activation=lambda z: z)), "mse", True, id="own_activation"),
        pytest.param(stack(lambda: keras.Sequential([Centred()])), "mse", True, id="nested"),
        pytest.param(centred_by_an_operation, "mse", True, id="operation"),
        pytest.param(mlp(), squared, True, id="own_loss"),
        pytest.param(mlp(), keras.losses.Dice(), True, id="scalar_loss"),
    ],
)
def test_what_may_couple_samples_keeps_a_smaller_last_batch_apart(moons, made, build, loss, coupled):
    quiet(build, moons, loss=loss)
    ((*_, decided, _, _),) = made
    assert decided == coupled


def test_a_lambda_as_activation_brings_no_warning(moons):
    assert quiet(mlp(activation=lambda z: z), moons, epochs=0).seeds == (0, 1)


def test_the_callers_optimizer_and_model_are_left_alone():
    model = stack(lambda: layers.SimpleRNN(3), shape=(3, 2))()
    weights, optimizer = model.get_weights(), optimizers.Adam(0.125)
    runs = quiet(lambda: model, (STEPS, LABELS), optimizer)
    assert not optimizer.built and optimizer.iterations == 0 and float(optimizer.learning_rate) == 0.125
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert model.layers[0].unroll is False
    assert np.isfinite(runs.loss).all()

    # An optimizer that has trained a model serves as well, as a recipe.
    model.compile(optimizer, "binary_crossentropy", run_eagerly=True)
    model.fit(STEPS, LABELS, verbose=0)
    again = quiet(stack(lambda: layers.SimpleRNN(3), shape=(3, 2)), (STEPS, LABELS), optimizer)
    np.testing.assert_allclose(again.loss, runs.loss, 1e-5)
    assert optimizer.iterations == 2


def test_a_compiled_model_serves_as_well(moons):
    def build():
        model = mlp()()
        model.compile(optimizers.Adam(0.3), "mse", metrics=["accuracy"])
        return model

    same_runs(quiet(build, moons, SGD(0.1)), quiet(mlp(), moons, SGD(0.1)))


def test_data_of_other_types_give_the_same_runs():
    x, y = np.round(STEPS[:, 0] * 3), LABELS
    expected = quiet(mlp(), (x, y), SGD(0.1))
    kinds = (x.astype("float64"), y.astype("float64")), (x.astype("int64"), y.astype(bool)), [x.tolist(), y.tolist()]
    for data in kinds:
        same_runs(quiet(mlp(), data, SGD(0.1)), expected)


@pytest.mark.parametrize(
    ("build", "optimizer", "data"),
    [
        pytest.param(mlp(batch_normalization=True), SGD(0.1, global_clipnorm=0.3), None, id="batch_normalization"),
        pytest.param(mlp(), optimizers.Adam(0.01, gradient_accumulation_steps=2), None, id="accumulation"),
        pytest.param(lambda: vgp.build_rnn("gru", 2, input_dim=2), "rmsprop", (STEPS, LABELS), id="gru"),
    ],
)
def test_with_and_without_xla_the_numbers_are_the_same(moons, monkeypatch, xla, build, optimizer, data):
    with_xla = quiet(build, data or moons, optimizer, 2)
    monkeypatch.setattr(training, "_xla_works", lambda: False)
    same_runs(quiet(build, data or moons, optimizer, 2), with_xla, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("units", "batch_size", "compiles"), [(10, 32, False), (100, 32, True), (100, 200, False), (200, 10_000, True)]
)
def test_only_what_takes_long_is_compiled(moons, monkeypatch, made, units, batch_size, compiles):
    monkeypatch.setattr(training, "_xla_works", lambda: True)
    quiet(mlp(hidden_layers=10, units=units), moons, epochs=500, batch_size=batch_size)
    ((*_, with_xla),) = made
    assert with_xla == compiles
    quiet(mlp(hidden_layers=10, units=units), moons, epochs=1, batch_size=batch_size)  # too short to compile
    assert len(made) == 1 + compiles


@pytest.mark.parametrize("many", [0, np.inf])
def test_xla_compiles_what_train_asks_it_to(moons, monkeypatch, fresh_cache, many):
    monkeypatch.setattr(training, "_MANY_UPDATES", many)
    monkeypatch.setattr(training, "_xla_works", lambda: True)
    monkeypatch.setattr(training._Program, "run", lambda *_: None)
    asked, function = [], tf.function

    def recorded(*arguments, jit_compile=None, **options):
        asked.append(jit_compile)
        return function(*arguments, jit_compile=jit_compile, **options)

    monkeypatch.setattr(tf, "function", recorded)
    quiet(mlp(), moons)
    assert (True in asked) == (many == 0)


# The bar, and stopping


class Bar:
    """In place of tqdm."""

    made: list

    def __init__(self, total, disable=False, **_):
        self.total, self.disable, self.updates = total, disable, 0
        Bar.made.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def update(self, n=1):
        self.updates += n


@pytest.fixture
def bar(monkeypatch):
    Bar.made = []
    monkeypatch.setattr(training, "tqdm", Bar)


@pytest.mark.parametrize("progress", [True, False])
def test_the_bar_counts_epochs(moons, bar, progress):
    train(mlp(), moons, SGD(0.1), epochs=3, seeds=2, progress=progress)
    (made,) = Bar.made
    assert (made.total, made.updates, made.disable) == (3, 3, not progress)


def test_nothing_is_printed_without_progress(moons, capfd, fresh_cache, xla):
    class Keep(logging.Handler):
        def emit(self, record):
            records.append(record.getMessage())

    records, handler, logger = [], Keep(), logging.getLogger("tensorflow")
    logger.addHandler(handler)
    try:
        quiet(stack(dense(), lambda: layers.Dropout(0.5)), moons, optimizers.Adam(0.02))
    finally:
        logger.removeHandler(handler)
    assert records == []
    assert capfd.readouterr() == ("", "")


def test_trainings_in_several_threads_do_not_meet(moons, xla):
    def run(rate):
        return quiet(mlp(), moons, SGD(rate), 3)

    rates = (0.01, 0.1, 0.5)
    expected = [run(rate) for rate in rates]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(6):
            for found, alone in zip(pool.map(run, rates), expected, strict=True):
                same_runs(found, alone)


def test_an_interrupted_training_leaves_nothing_broken(moons, bar, monkeypatch, xla):
    optimizer = optimizers.Adam(0.05)
    expected = quiet(mlp(), moons, optimizer, 3, shuffle=True)

    def stop(bar, n=1):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Bar, "update", stop)
        with pytest.raises(KeyboardInterrupt):
            quiet(mlp(), moons, optimizer, 3, shuffle=True)
    same_runs(quiet(mlp(), moons, optimizer, 3, shuffle=True), expected, rtol=0, atol=0)


def test_an_error_in_one_group_ends_the_others_and_is_raised(moons, monkeypatch):
    monkeypatch.setattr(training.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    drawn = []

    class Generator:
        def __init__(self, seed):
            pass

        def permutation(self, samples):
            drawn.append(samples)
            return np.arange(samples)

    class Broken(Bar):
        def update(self, n=1):
            raise ZeroDivisionError

    Bar.made = []
    monkeypatch.setattr(training.np.random, "default_rng", Generator)
    with pytest.raises(ZeroDivisionError):
        train(mlp(), moons, SGD(0.1), epochs=5_000, seeds=16, progress=Broken)
    assert len(drawn) < 16 * 1_000


# Refusals, all of them before any training


def excluding():
    optimizer = optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


class Own(SGD):
    pass


def two_inputs():
    inputs = keras.Input((2,)), keras.Input((2,))
    return keras.Model(inputs, layers.Dense(1)(layers.Add()(inputs)))


def stateful():
    return keras.Sequential(
        [keras.Input((3, 2), batch_size=20), layers.SimpleRNN(2, stateful=True, name="mine"), layers.Dense(1)]
    )


def other_cell():
    return keras.Sequential([keras.Input((3, 2)), layers.RNN(layers.GRUCell(2), name="mine"), layers.Dense(1)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "epochs is -1"),
        ({"epochs": 1.5}, r"epochs is 1\.5"),
        ({"epochs": True}, "epochs is True"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": None}, "batch_size is None"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seeds": True}, "seeds is True"),
        ({"seeds": []}, r"seeds is \[\]"),
        ({"seeds": [1, 1]}, r"seeds is \[1, 1\]"),
        ({"seeds": [0, -2]}, "one of seeds is -2"),
        ({"seeds": [0, 1.7]}, r"one of seeds is 1\.7"),
        ({"seeds": "12"}, "one of seeds is '1'"),
        ({"seeds": None}, "seeds is None"),
        ({"optimizer": "sdg"}, "optimizer is 'sdg'"),
        ({"optimizer": SGD}, "optimizer is .*SGD"),
        ({"optimizer": "adafactor"}, "optimizer is Adafactor; give one with elementwise updates: SGD, Adam"),
        ({"optimizer": Own(0.1)}, "optimizer is Own; .*elementwise"),
        ({"optimizer": optimizers.LossScaleOptimizer(SGD(0.1))}, "optimizer is LossScaleOptimizer; .*elementwise"),
        ({"optimizer": SGD(0.1, loss_scale_factor=1024.0)}, "loss_scale_factor.*leave it out"),
        ({"optimizer": SGD(0.1, use_ema=True)}, "averages the weights.*leave use_ema out"),
        ({"optimizer": SGD(0.1, clipnorm=1.0, gradient_accumulation_steps=2)}, "clips and accumulates gradients"),
        ({"optimizer": SGD(lambda: 0.1)}, "learning rate from a function; give a number"),
        ({"loss": keras.losses.MeanSquaredError(reduction="sum")}, "sum over the batch.*leave reduction out"),
        ({"optimizer": excluding()}, "excludes variables from weight decay"),
        ({"loss": "no such loss"}, "no such loss"),
        ({"loss": None}, "loss is None"),
        ({"build": mlp()()}, "build is a Functional; give a function"),
        ({"build": lambda: 3}, "model is a int"),
        ({"build": lambda: keras.Sequential([layers.Dense(1)])}, "not built"),
        ({"build": two_inputs}, "has 2 inputs"),
        ({"build": stack(layers.ReLU, units=None)}, "no layer with a kernel"),
        ({"build": stateful}, r"'mine'.*stateful=False"),
        ({"build": other_cell}, "'mine'.*use SimpleRNN, LSTM or GRU"),
        ({"build": stack(lambda: layers.SpectralNormalization(layers.Dense(3), name="mine"))}, "'mine'.*Spectral"),
        ({"build": stack(dense(dtype="float64", name="mine"))}, r"'mine'.*float32"),
        ({"build": stack(dense(dtype="bfloat16"))}, r"float32"),
        ({"build": stack(dense(dtype="mixed_float16"))}, r"float32"),
        ({"build": stack(dense(kernel_constraint="non_neg", name="mine"))}, "mine/kernel'.* constraints"),
        ({"build": stack(dense(trainable=False), dense(1, trainable=False), units=None)}, "nothing to train"),
        ({"build": lambda: vgp.build_mlp(hidden_layers=1, seed=3)}, "'hidden_1' has the seed .*seed=None"),
        (
            {"build": stack(dense(bias_initializer=keras.initializers.RandomNormal(seed=8)))},
            "bias initializer.* seed 8",
        ),
        ({"build": stack(dense(kernel_initializer=Unseeded()))}, "kernel initializer.* at random.* argument seed"),
        ({"build": stack(dense(kernel_initializer=draw))}, "kernel initializer.* at random.* argument seed"),
        ({"build": stack(lambda: Scale(name="mine"))}, "'mine'.* attribute w_initializer"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_bad_arguments_are_refused(moons, no_training, options, message):
    arguments = {"build": mlp(), "data": moons, "optimizer": "sgd", **options}
    with pytest.raises((ValueError, TypeError), match=message):
        quiet(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, y[:5]), "200 samples and y has 5"),
        (lambda x, y: (x, 2 * y), "y holds 2"),
        (lambda x, y: (x * np.nan, y), "x holds"),
        (lambda x, y: (x[:, :1], y), "shape"),
        (lambda x, y: (x[:0], y[:0]), "at least one sample"),
        (lambda x, y: (x.astype(str), y), "x has dtype"),
        (lambda x, y: (x,), "data"),
        (lambda x, y: 3, "data"),
        (lambda x, y: {"x": x, "y": y}, "data"),
    ],
    ids=["lengths", "label_2", "nan", "width", "empty", "text", "no_y", "number", "dict"],
)
def test_bad_data_are_refused(moons, no_training, change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        quiet(mlp(), change(*moons[:2]))


def test_a_mask_that_reaches_the_output_is_refused(no_training):
    makers = [lambda: layers.Embedding(5, 3, mask_zero=True), lambda: layers.LSTM(3, return_sequences=True)]
    with pytest.raises(ValueError, match="mask reaches the output"):
        quiet(stack(*makers, shape=(4,)), (TOKENS, np.repeat(LABELS[:, None], 4, axis=1)))
