"""The oracle is Keras: `model.fit` from the same initial weights, on the same batches, and `tf.GradientTape`."""

import gc
import logging
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers

import vgp_lib as vgp
from vgp_lib import training
from vgp_lib.training import Runs, train

SGD = optimizers.SGD
RNG = np.random.default_rng(0)
STEPS = RNG.normal(size=(40, 3, 2)).astype("float32")
IMAGES = RNG.normal(size=(40, 6, 6, 2)).astype("float32")
TOKENS = RNG.integers(0, 5, (40, 4))
LABELS = (STEPS.sum((1, 2)) > 0).astype("float32")
CLASSES = RNG.integers(0, 3, 40)


def mlp(**options):
    return lambda: vgp.build_mlp(**{"hidden_layers": 2, "units": 4, "activation": "tanh", **options})


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


def _excluding():
    optimizer = optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


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
def no_training(monkeypatch):
    def run(*_):
        raise AssertionError("training began")

    monkeypatch.setattr(training._Program, "run", run)


@pytest.fixture
def fresh_cache():
    training._program.cache_clear()
    yield
    training._program.cache_clear()


@keras.saving.register_keras_serializable()
class Centred(layers.Layer):
    """Couples the samples of a batch, as batch normalization does."""

    def call(self, x):
        return x - keras.ops.mean(x, axis=0)


@keras.saving.register_keras_serializable()
class Unit(SGD):
    """Divides by the norm of a whole gradient: not elementwise."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient / (keras.ops.norm(gradient) + 1e-7), variable, learning_rate)


class Halving(optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.5 * 0.5**step

    def get_config(self):
        return {}


# Against fit: optimizers


def test_an_optimizer_that_looks_at_whole_gradients_follows_fit(moons):
    follows_fit(mlp(), moons, Unit(0.1))


def test_a_schedule_that_keras_does_not_know_is_taken_as_it_is(moons, fresh_cache):
    runs = quiet(mlp(), moons, SGD(Halving()))
    same_runs(runs, quiet(mlp(), moons, SGD(optimizers.schedules.ExponentialDecay(0.5, 1, 0.5))), 1e-4)


@pytest.mark.parametrize(
    "middle", [Centred, lambda: layers.Lambda(lambda z: z - keras.ops.mean(z, axis=0))], ids=["layer", "lambda"]
)
def test_samples_that_a_layer_couples_meet_no_others_in_a_smaller_last_batch(moons, middle):
    follows_fit(stack(dense(), middle), moons)


def test_a_global_norm_beyond_float32_is_nan_as_in_keras():
    x, y = np.full((4, 2), 1e25, "float32"), np.full(4, -1e10, "float32")
    build, optimizer = stack(activation=None), SGD(0.1, global_clipnorm=1.0)
    runs = quiet(build, (x, y), optimizer, loss="mean_absolute_error")
    model = quiet(build, (x, y), optimizer, 0, loss="mean_absolute_error").model(0)
    model.compile(SGD(0.1, global_clipnorm=1.0), "mean_absolute_error")
    model.fit(x, y, verbose=0)
    np.testing.assert_array_equal(runs.model(0).get_weights()[0], model.get_weights()[0])
    assert np.isnan(model.get_weights()[0]).all()


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.1),
        SGD(0.1, momentum=0.9, nesterov=True),
        SGD(0.1, weight_decay=0.1),
        SGD(optimizers.schedules.ExponentialDecay(0.5, 3, 0.5)),
        SGD(0.1, use_ema=True, ema_momentum=0.8),
        SGD(0.1, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=3),
        SGD(0.1, gradient_accumulation_steps=2),
        optimizers.Adam(0.01),
        optimizers.AdamW(0.01, weight_decay=0.1),
        optimizers.RMSprop(0.01, centered=True, momentum=0.5),
        optimizers.Nadam(0.01),
        optimizers.Lion(0.01),
        optimizers.Ftrl(0.1),
        optimizers.Adagrad(0.1),
        optimizers.Adadelta(1.0),
        optimizers.Adamax(0.01),
        optimizers.Adafactor(0.01),
        optimizers.Lamb(0.01),
        optimizers.Muon(0.01),
    ],
    ids=lambda optimizer: optimizer.name,
)
def test_optimizers_follow_fit(moons, optimizer):
    follows_fit(mlp(hidden_layers=1), moons, optimizer)


@pytest.mark.parametrize(
    "clipping",
    [
        {"clipnorm": 0.05},
        {"clipvalue": 0.01},
        {"global_clipnorm": 0.05},
        {"global_clipnorm": 0.05, "gradient_accumulation_steps": 2},
    ],
    ids=lambda clipping: "-".join(clipping),
)
def test_clipping_follows_fit(moons, clipping):
    runs = follows_fit(mlp(hidden_layers=1), moons, SGD(0.1, **clipping))
    plain = quiet(mlp(hidden_layers=1), moons, SGD(0.1), 2)
    assert (np.abs(runs.loss[-1] / plain.loss[-1] - 1) > 1e-3).all()  # the limit bites
    # Measured are the gradients before clipping: those of the first epoch differ only as the weights do.
    assert (runs.kernel_gradient_norms[0] > 0.5 * plain.kernel_gradient_norms[0]).all()
    assert runs.kernel_gradient_norms[0].max() > 0.05


def test_muon_leaves_embeddings_to_adam_as_in_fit():
    # Every token once: of repeated ones Keras squares the sparse gradients before it sums them, train afterwards.
    build = stack(lambda: layers.Embedding(40, 3), layers.Flatten, shape=(1,))
    follows_fit(build, (np.arange(40)[:, None], LABELS), optimizers.Muon(0.05), batch_size=16)


def test_muon_leaves_excluded_layers_to_adam_as_in_fit(moons):
    follows_fit(mlp(hidden_layers=1), moons, optimizers.Muon(0.05, exclude_layers=["output"]))


# Against fit: models


@pytest.mark.parametrize(
    ("build", "batch_size"),
    [
        pytest.param(mlp(batch_normalization=True), 32, id="batch_normalization-last_batch_of_8"),
        pytest.param(mlp(batch_normalization=True), 50, id="batch_normalization-equal_batches"),
        pytest.param(mlp(residual=True, activation=layers.PReLU()), 32, id="residual_prelu-last_batch_of_8"),
    ],
)
def test_models_follow_fit_whatever_the_last_batch(moons, build, batch_size):
    follows_fit(build, moons, optimizers.Adam(0.01), batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [1, 59, 60, 500])
def test_extreme_batch_sizes_follow_fit(moons, batch_size):
    data = moons.x_train[:60], moons.y_train[:60]
    follows_fit(mlp(hidden_layers=1), data, SGD(0.05), batch_size=batch_size)


@pytest.mark.parametrize(
    "maker",
    [
        pytest.param(dense(kernel_regularizer="l2", bias_regularizer="l1"), id="kernel_regularizer"),
        pytest.param(dense(activity_regularizer="l2"), id="activity_regularizer"),
        pytest.param(dense(kernel_constraint=keras.constraints.MaxNorm(0.3)), id="constraint"),
        pytest.param(layers.LayerNormalization, id="layer_normalization"),
    ],
)
def test_parts_of_layers_follow_fit(moons, maker):
    follows_fit(stack(dense(), maker), moons)


@pytest.mark.parametrize(
    ("makers", "x"),
    [
        pytest.param([lambda: layers.LSTM(3)], STEPS, id="lstm"),
        pytest.param([lambda: layers.GRU(3)], STEPS, id="gru"),
        pytest.param([lambda: layers.Bidirectional(layers.SimpleRNN(3))], STEPS, id="bidirectional"),
        pytest.param([lambda: layers.Conv2D(2, 3, activation="relu"), layers.Flatten], IMAGES, id="conv"),
        pytest.param(
            [lambda: layers.Embedding(5, 3, mask_zero=True), lambda: layers.SimpleRNN(2)], TOKENS, id="embedding"
        ),
    ],
)
def test_kinds_of_layers_follow_fit(makers, x):
    follows_fit(stack(*makers, shape=x.shape[1:]), (x, LABELS), batch_size=16)


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
        pytest.param("mse", LABELS, 1, "linear", id="mse"),
        pytest.param(keras.losses.Huber(0.1), LABELS[:, None], 1, "linear", id="huber_column"),
        pytest.param(keras.losses.BinaryCrossentropy(from_logits=True), LABELS, 1, None, id="binary_logits"),
        pytest.param("categorical_crossentropy", np.eye(3)[CLASSES], 3, "softmax", id="categorical"),
        pytest.param("sparse_categorical_crossentropy", CLASSES, 3, "softmax", id="sparse"),
        pytest.param("sparse_categorical_crossentropy", CLASSES[:, None], 3, "softmax", id="sparse_column"),
        pytest.param(
            keras.losses.SparseCategoricalCrossentropy(from_logits=True), CLASSES, 3, None, id="sparse_logits"
        ),
        pytest.param("binary_crossentropy", np.eye(3)[CLASSES] + np.eye(3)[0] > 0, 3, "sigmoid", id="multilabel"),
        pytest.param(lambda y, p: tf.square(y - p), LABELS, 1, "linear", id="function"),
        pytest.param(lambda y, p: tf.reduce_mean(tf.square(y - p)), LABELS, 1, "linear", id="function_scalar"),
    ],
)
def test_losses_follow_fit(loss, y, units, activation):
    build = stack(layers.Flatten, shape=STEPS.shape[1:], units=units, activation=activation)
    follows_fit(build, (STEPS, y), loss=loss, batch_size=16)


# Initial values


def test_seeds_in_two_groups_run_as_each_of_them_alone(moons, monkeypatch):
    """Seventeen seeds on two cores: groups of nine, the second filled up with a copy that nobody gets to see."""
    monkeypatch.setattr(training.os, "cpu_count", lambda: 2)
    many = quiet(mlp(), moons, epochs=2, seeds=17)
    assert many.loss.shape == (2, 17) and len({*many.loss[-1]}) == 17
    for seed in (0, 8, 9, 16):
        alone = quiet(mlp(), moons, epochs=2, seeds=[seed])
        np.testing.assert_allclose(many.loss[:, seed], alone.loss[:, 0], rtol=1e-5)
        pairs = zip(many.model(seed).get_weights(), alone.model(seed).get_weights(), strict=True)
        assert all(np.allclose(ours, theirs, rtol=1e-4, atol=1e-6) for ours, theirs in pairs)


def test_initial_networks_are_drawn_anew_for_every_seed_and_layer(moons):
    runs = quiet(mlp(hidden_layers=3, kernel_initializer="he_normal"), moons, epochs=0, seeds=[2, 9])
    weights = [runs.model(seed).get_weights() for seed in (2, 9)]
    assert (weights[0][0] != weights[1][0]).all() and (weights[0][2] != weights[0][4]).all()
    assert (weights[0][1] == 0).all()
    many = quiet(mlp(units=50, kernel_initializer="he_normal"), moons, epochs=0, seeds=20)
    assert np.std([many.model(seed).get_weights()[2] for seed in range(20)]) == pytest.approx(0.2, rel=0.02)  # √(2/50)


def test_epochs_0_gives_the_initial_networks_with_averaged_weights_too(moons):
    averaged = quiet(mlp(), moons, SGD(0.1, use_ema=True), epochs=0).model(1)
    for ours, plain in zip(averaged.get_weights(), quiet(mlp(), moons, epochs=0).model(1).get_weights(), strict=True):
        np.testing.assert_array_equal(ours, plain)


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


class FunctionInitializer(keras.initializers.Initializer):
    """Random, without a seed in its configuration: as in Keras's own example of a custom initializer."""

    def __call__(self, shape, dtype=None):
        return keras.random.normal(shape)


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
    "maker",
    [
        pytest.param(dense(kernel_initializer=FunctionInitializer()), id="class"),
        pytest.param(dense(kernel_initializer=draw), id="function"),
        pytest.param(lambda: Scale("random_normal"), id="name"),
    ],
)
def test_random_weights_are_never_silently_the_same_for_all_seeds(moons, maker):
    try:
        runs = quiet(stack(maker), moons, epochs=0)
    except ValueError:  # a refusal is as good
        return
    assert (runs.model(0).get_weights()[0] != runs.model(1).get_weights()[0]).any()


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
        pytest.param(
            mlp(hidden_layers=1, batch_normalization=True),
            SGD(0.1, global_clipnorm=0.1),
            id="batch_normalization_clipping",
        ),
        pytest.param(mlp(hidden_layers=1), optimizers.Muon(0.01), id="muon"),
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


def test_gradients_of_a_very_deep_net_are_not_rounded_to_zero(moons):
    runs = quiet(mlp(hidden_layers=40, activation="sigmoid"), moons, SGD(0.1), seeds=1, batch_size=200)
    model = quiet(mlp(hidden_layers=40, activation="sigmoid"), moons, epochs=0, seeds=1).model(0)
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
    schedule = optimizers.schedules.ExponentialDecay(0.5, 3, 0.5)
    assert quiet(mlp(), moons, SGD(schedule), epochs=0).learning_rate == 0.5


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


def test_a_build_that_reads_the_variable_of_a_loop_is_noticed(moons):
    found = [quiet(lambda: vgp.build_mlp(1, 4, name), moons) for name in ("tanh", "relu")]  # noqa: B023
    assert isinstance(found[1].model(0), keras.Model)
    with pytest.raises(ValueError, match="makes another network now"):
        found[0].model(0)


def test_repr_of_runs_that_all_diverged(moons):
    relu = mlp(activation="relu", kernel_initializer="he_normal", output_activation="linear")
    runs = quiet(relu, moons, SGD(1e6), 3, loss="mse", batch_size=200)
    assert set(runs.diverged) == {0, 1}
    assert str(runs.diverged) in repr(runs)
    # Some losses infinite, none of them nan: the quantiles' own arithmetic meets inf - inf.
    infinite = Runs(
        (0, 1), 0.1, ["a"], np.full((1, 2), np.inf), *[np.zeros((1, 2, 1))] * 4, _build=None, _weights=[], _parts=[]
    )
    assert "{0: 1, 1: 1}" in repr(infinite)


# One program for many calls


def compiled(*arguments, **options):
    """Train and tell whether a program had to be made."""
    before = training._program.cache_info().misses
    runs = quiet(*arguments, **options)
    return runs, training._program.cache_info().misses > before


def test_a_program_is_reused(moons, fresh_cache):
    first, new = compiled(mlp(), moons, SGD(0.1, momentum=0.5), 2)
    assert new
    others = [
        (mlp(kernel_initializer="he_normal"), SGD(0.1, momentum=0.5), [0, 1]),
        (mlp(kernel_initializer=keras.initializers.RandomNormal(0, 0.3)), SGD(0.1, momentum=0.5), [0, 1]),
        (mlp(), SGD(0.7, momentum=0.5), [0, 1]),
        (mlp(), SGD(0.1, momentum=0.5, name="another"), [5, 3]),
    ]
    for build, optimizer, seeds in others:
        runs, new = compiled(build, moons, optimizer, 2, seeds=seeds)
        assert not new
        assert not np.allclose(runs.loss, first.loss, rtol=1e-3)
    again, new = compiled(mlp(), moons, SGD(0.1, momentum=0.5), 2)
    assert not new
    same_runs(again, first, rtol=0, atol=0)  # nothing is left of the calls between: weights, momenta, learning rate

    assert compiled(mlp(hidden_layers=3), moons, SGD(0.1, momentum=0.5), 0)[1]
    assert compiled(mlp(activation="relu"), moons, SGD(0.1, momentum=0.5), 0)[1]
    assert compiled(mlp(), moons, SGD(0.1, momentum=0.6), 0)[1]
    assert compiled(mlp(), moons, SGD(0.1, momentum=0.5), 0, loss="mse")[1]
    assert compiled(mlp(), moons, SGD(0.1, momentum=0.5), 0, seeds=3)[1]


def named(activation):
    return stack(lambda: layers.Dense(4, activation, name=activation))


def class_in_a_cell(factor):
    class Block(layers.Layer):
        def call(self, x):
            return factor * x

    return stack(dense(), Block)


def function_in_a_cell(factor):
    def activation(z):
        return tf.tanh(factor * z)

    return stack(dense(activation=activation))


def adapted(factor):
    def normalization():
        layer = layers.Normalization()
        layer.adapt(np.array([[0.0, 0.0], [factor, 1.0], [1.0, factor]]))
        return layer

    return stack(normalization, dense())


@pytest.mark.parametrize(
    ("maker", "one", "other"),
    [
        pytest.param(named, "relu", "tanh", id="layer_named_like_its_activation"),
        pytest.param(class_in_a_cell, 1.0, 3.0, id="class_of_the_same_name"),
        pytest.param(function_in_a_cell, 1.0, 3.0, id="function_of_the_same_name"),
        pytest.param(adapted, 1.0, 3.0, id="adapted_to_other_data"),
    ],
)
def test_a_program_is_not_reused_for_another_network_that_looks_the_same(moons, fresh_cache, maker, one, other):
    """As when a student edits a cell of a notebook and runs it again."""
    first = quiet(maker(one), moons, SGD(0.1))
    edited = quiet(maker(other), moons, SGD(0.1))
    training._program.cache_clear()
    fresh = quiet(maker(other), moons, SGD(0.1))
    same_runs(edited, fresh)
    assert not np.allclose(first.loss, fresh.loss, rtol=1e-3)


SLOPE = 1.0


def steep_loss(y, p):
    return SLOPE * tf.square(y - p)


@pytest.mark.parametrize("place", ["activation", "loss"])
def test_what_reads_a_global_that_has_changed_is_traced_anew(moons, fresh_cache, monkeypatch, place):
    def run():
        activation = (lambda z: tf.tanh(SLOPE * z)) if place == "activation" else "tanh"
        loss = steep_loss if place == "loss" else "mean_squared_error"
        return quiet(stack(dense(activation=activation)), moons, loss=loss)

    before = run()
    monkeypatch.setitem(globals(), "SLOPE", 5.0)
    after = run()
    training._program.cache_clear()
    same_runs(after, run(), rtol=0, atol=0)
    assert abs(after.loss - before.loss).min() > 1e-3


def test_a_lambda_as_activation_brings_no_warning(moons):
    assert quiet(mlp(activation=lambda z: z), moons, epochs=0).seeds == (0, 1)


def test_the_callers_optimizer_and_model_are_left_alone():
    model = stack(lambda: layers.SimpleRNN(3), shape=(3, 2))()
    weights, optimizer = model.get_weights(), optimizers.Adam(0.125, use_ema=True)
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


@pytest.mark.parametrize("kind", ["float64", "integers", "lists"])
def test_data_of_other_types_give_the_same_runs(kind):
    x, y = np.round(STEPS[:, 0] * 3), LABELS
    data = {
        "float64": (x.astype("float64"), y.astype("float64")),
        "integers": (x.astype("int64"), y.astype(bool)),
        "lists": [x.tolist(), y.tolist()],
    }
    same_runs(quiet(mlp(), data[kind], SGD(0.1)), quiet(mlp(), (x, y), SGD(0.1)))


def test_without_xla_the_numbers_are_the_same(moons, monkeypatch, fresh_cache):
    build, optimizer = mlp(hidden_layers=1, batch_normalization=True), SGD(0.1, global_clipnorm=0.3)
    assert training._xla_works()
    with_xla = quiet(build, moons, optimizer, 2)
    training._program.cache_clear()
    asked = []
    monkeypatch.setattr(training, "_xla_works", lambda: asked.append(1) or False)
    without = quiet(build, moons, optimizer, 2)
    assert asked
    same_runs(without, with_xla, rtol=1e-4, atol=1e-6)


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


def test_the_bar_counts_epochs_of_all_seeds_that_train_one_by_one(moons, bar):
    train(mlp(hidden_layers=1), moons, optimizers.Muon(0.01), epochs=2, seeds=3)
    (made,) = Bar.made
    assert (made.total, made.updates) == (6, 6)


def test_nothing_is_printed_without_progress(moons, capfd, fresh_cache):
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


def test_the_garbage_collector_works_and_leaves_tensorflow_alone():
    assert gc.isenabled() and gc.get_freeze_count() > 100_000


def test_trainings_in_several_threads_do_not_meet(moons):
    def run(rate):
        return quiet(mlp(), moons, SGD(rate), 3)

    rates = (0.01, 0.1, 0.5)
    expected = [run(rate) for rate in rates]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(6):
            for found, alone in zip(pool.map(run, rates), expected, strict=True):
                same_runs(found, alone)


def test_an_interrupted_training_leaves_nothing_broken(moons, bar, monkeypatch):
    optimizer = optimizers.Adam(0.05)
    expected = quiet(mlp(), moons, optimizer, 3, shuffle=True)

    def stop(bar, n=1):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Bar, "update", stop)
        with pytest.raises(KeyboardInterrupt):
            quiet(mlp(), moons, optimizer, 3, shuffle=True)
    again, new = compiled(mlp(), moons, optimizer, 3, shuffle=True)
    assert not new
    same_runs(again, expected, rtol=0, atol=0)


# Refusals, all of them before any training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "epochs is -1"),
        ({"epochs": 1.5}, r"epochs is 1\.5"),
        ({"epochs": True}, "epochs is True"),
        ({"epochs": "3"}, "epochs is '3'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 8.0}, r"batch_size is 8\.0"),
        ({"batch_size": None}, "batch_size is None"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seeds": -1}, "seeds is -1"),
        ({"seeds": True}, "seeds is True"),
        ({"seeds": []}, r"seeds is \[\]"),
        ({"seeds": [1, 1]}, r"seeds is \[1, 1\]"),
        ({"seeds": [0, -2]}, r"seeds is \[0, -2\]"),
        ({"seeds": [0, 1.7]}, r"seeds is \[0, 1\.7\]"),
        ({"seeds": "a"}, "seeds is 'a'"),
        ({"seeds": "12"}, "seeds is '12'"),
        ({"seeds": 2.0}, r"seeds is 2\.0"),
        ({"seeds": None}, "seeds is None"),
        ({"optimizer": "sdg"}, "sdg"),
        ({"optimizer": None}, "optimizer"),
        ({"optimizer": SGD}, "SGD"),
        ({"optimizer": _excluding()}, "excludes variables from weight decay"),
        ({"loss": "no such loss"}, "no such loss"),
        ({"loss": None}, "loss is None"),
        ({"build": lambda: 3}, "int"),
        ({"build": lambda: None}, "NoneType"),
        ({"build": lambda: keras.Sequential([layers.Dense(1)])}, "not built"),
        ({"build": stack(layers.ReLU, units=None)}, "kernel"),
        ({"build": lambda: vgp.build_mlp(hidden_layers=1, seed=3)}, "seed"),
        ({"build": stack(dense(bias_initializer=keras.initializers.RandomNormal(seed=8)))}, "bias initializer.*seed 8"),
        ({"build": stack(lambda: Scale(name="mine"))}, "mine/w'.*w_initializer"),
        ({"build": stack(dense(trainable=False), dense(1, trainable=False), units=None)}, "train"),
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


def test_a_stateful_layer_is_refused(no_training):
    def build():
        return keras.Sequential(
            [keras.Input((3, 2), batch_size=20), layers.SimpleRNN(2, stateful=True, name="mine"), layers.Dense(1)]
        )

    with pytest.raises(ValueError, match=r"'mine'.*stateful=False"):
        quiet(build, (STEPS[:20], LABELS[:20]), batch_size=20, loss="mse")


def test_a_mask_that_reaches_the_output_is_refused(no_training):
    makers = [lambda: layers.Embedding(5, 3, mask_zero=True), lambda: layers.LSTM(3, return_sequences=True)]
    with pytest.raises(ValueError, match="mask of a layer reaches the output"):
        quiet(stack(*makers, shape=(4,)), (TOKENS, np.repeat(LABELS[:, None], 4, axis=1)))


def test_a_model_in_place_of_a_function_is_refused(moons, no_training):
    with pytest.raises((ValueError, TypeError), match="build"):
        quiet(mlp()(), moons)


@pytest.mark.parametrize("cell", ["simple_rnn", "gru"])
def test_one_recurrent_net_is_trained_at_several_lengths_as_fit_does(cell):
    def build():
        return vgp.build_rnn(cell, units=2)

    for steps in (3, 2):
        x, y = np.random.default_rng(0).normal(size=(8, steps, 1)).astype("float32"), LABELS[:8]
        optimizer = keras.optimizers.SGD(0.5)
        start, runs = (quiet(build, (x, y), optimizer, epochs=epochs, shuffle=False, seeds=2) for epochs in (0, 2))
        model = start.model(1)
        model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy", run_eagerly=True)
        history = model.fit(x, y, epochs=2, shuffle=False, verbose=0).history
        np.testing.assert_allclose(runs.loss[:, 1], history["loss"], rtol=1e-5)
        for ours, theirs in zip(runs.model(1).get_weights(), model.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
