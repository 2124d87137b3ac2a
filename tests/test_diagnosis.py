import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import vgp_lib as vgp
from vgp_lib.engine import _rehearsal
from vgp_lib.engine._remedies import _for_recurrent, optimizer_line

MOONS = vgp.load_moons()
X, Y = MOONS.x_train, MOONS.y_train
SGD = keras.optimizers.SGD(1.0, momentum=0.9)
ADAM = keras.optimizers.Adam(0.01)
VERDICTS = ("healthy", "vanishing", "exploding", "dead")

pytestmark = pytest.mark.usefixtures("without_trials")  # what is tried on copies is in test_remedies.py


def sequential(*parts, shape=(2,)):
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input(shape), *parts])


def compiled(model, optimizer, loss="binary_crossentropy"):
    model.compile(optimizer, loss=loss)
    return model


# What the verdicts mean


@pytest.mark.parametrize(
    ("depth", "optimizer", "expected"),
    [(8, ADAM, "healthy"), (8, SGD, "vanishing"), (12, ADAM, "vanishing"), (12, SGD, "vanishing")],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_verdict_on_sigmoid_nets_depends_on_depth_and_optimizer(depth, optimizer, expected, seed):
    verdict = vgp.diagnose(vgp.build_mlp(depth, seed=seed), X, Y, optimizer=optimizer)
    assert verdict.verdict == expected


def test_the_verdict_is_the_same_at_the_start_on_the_plateau_and_after_it():
    model, verdicts = compiled(vgp.build_mlp(12, seed=1), keras.optimizers.SGD(1.0)), []
    for epoch in range(301):
        if epoch in (0, 20, 300):
            verdicts.append(vgp.diagnose(model, X, Y))
        model.train_on_batch(X, Y)
    assert [verdict.verdict for verdict in verdicts] == ["vanishing"] * 3
    assert {verdict.layer for verdict in verdicts} == {"hidden_1"}
    assert "relu" in verdicts[0].try_next


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_net_that_has_converged_is_healthy(activation):
    runs = vgp.train(
        functools.partial(vgp.build_mlp, 6, activation=activation), MOONS, ADAM, 300, 200, seeds=2, progress=False
    )
    assert (runs.loss[-1] < 0.01).all()
    for seed in runs.seeds:
        verdict = vgp.diagnose(runs.model(seed), X, Y, optimizer=ADAM)
        assert verdict.verdict == "healthy"
        assert (verdict.layer, verdict.try_next) == (None, "nothing to change")


def test_large_weights_explode():
    model = vgp.build_mlp(activation="relu", kernel_initializer=keras.initializers.RandomNormal(stddev=2.0), seed=1)
    verdict = vgp.diagnose(model, X, Y, optimizer=keras.optimizers.SGD(0.1))
    assert verdict.verdict == "exploding"


def test_a_model_whose_weights_are_nan_already_has_exploded():
    model = vgp.build_mlp(3, activation="relu", seed=1)
    model.get_layer("hidden_2").kernel.assign(np.full((10, 10), np.nan))
    verdict = vgp.diagnose(model, X, Y, optimizer=keras.optimizers.SGD(0.1, momentum=0.9))
    assert (verdict.verdict, verdict.layer) == ("exploding", "hidden_2")
    assert verdict.try_next == "optimizer = keras.optimizers.SGD(0.01, momentum=0.9, global_clipnorm=1.0)"


def test_a_layer_without_a_living_unit_is_dead():
    model = vgp.build_mlp(4, activation="relu", seed=1)
    model.get_layer("hidden_3").bias.assign(np.full(10, -8.0))
    verdict = vgp.diagnose(model, X, Y, optimizer=ADAM)
    assert (verdict.verdict, verdict.layer) == ("dead", "hidden_3")
    assert "leaky_relu" in verdict.try_next


def test_a_tiny_learning_rate_is_no_gradient_disease():
    verdict = vgp.diagnose(vgp.build_mlp(2, activation="relu", seed=1), X, Y, optimizer=keras.optimizers.SGD(1e-6))
    assert verdict.verdict == "healthy"
    assert verdict.because.startswith("Not the gradient")
    assert verdict.try_next == "optimizer = keras.optimizers.SGD(1e-05)"


def test_the_compiled_optimizer_is_the_default_and_its_state_counts():
    for optimizer, expected in ((SGD, "vanishing"), (ADAM, "healthy")):
        fresh = type(optimizer).from_config(optimizer.get_config())
        assert vgp.diagnose(compiled(vgp.build_mlp(8, seed=1), fresh), X, Y).verdict == expected
    # A momentum that is about to throw the weights out of range belongs to the diagnosis.
    model = compiled(vgp.build_mlp(2, activation="tanh", seed=1), keras.optimizers.SGD(0.1, momentum=0.99))
    model.optimizer.build(model.trainable_variables)
    assert vgp.diagnose(model, X, Y).verdict == "healthy"
    for slot in model.optimizer.variables[2:]:
        slot.assign(np.full(slot.shape, 1e38))
    assert vgp.diagnose(model, X, Y).verdict == "exploding"


# Nothing is touched


def test_model_optimizer_and_random_states_stay_as_they_were():
    model = sequential(
        layers.Dense(8),
        layers.BatchNormalization(),
        layers.Activation("relu"),
        layers.Dropout(0.3),
        layers.Dense(1, "sigmoid"),
    )
    compiled(model, keras.optimizers.Adam(0.01)).fit(X, Y, epochs=2, verbose=0)
    keras.utils.set_random_seed(5)

    def everything():
        variables = [*model.variables, *model.optimizer.variables]
        return [variable.numpy() for variable in variables], np.random.get_state()[1].copy(), model.losses

    def drawn():
        keras.utils.set_random_seed(5)
        return keras.random.normal((3,)).numpy()

    resets = np.array_equal(drawn(), drawn())  # Keras 3.10 does not begin its own generator anew
    keras.utils.set_random_seed(5)
    before = everything()
    first, second = (vgp.diagnose(model, X, Y) for _ in range(2))
    after = everything()
    assert first == second
    for one, other in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(before[1], after[1])
    assert np.array_equal(keras.random.normal((3,)).numpy(), drawn()) or not resets
    history = model.fit(X, Y, epochs=1, verbose=0).history["loss"]
    assert np.isfinite(history).all()


def test_the_rehearsal_is_what_fit_would_do():
    model = compiled(vgp.build_mlp(3, activation="tanh", seed=1), keras.optimizers.Adam(0.01))
    for _ in range(10):
        model.train_on_batch(X, Y)
    said = vgp.diagnose(model, X, Y).because
    losses = []
    for _ in range(300):
        model.reset_metrics()  # or the losses are averaged over the calls
        losses.append(float(model.train_on_batch(X, Y)))
    assert f"goes from {losses[0]:.2g} to {losses[-1]:.2g}" in said


# Any built model


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.second = layers.Dense(8, "tanh"), layers.Dense(1, "sigmoid")

    def call(self, inputs):
        return self.second(self.first(inputs))


def test_a_subclassed_model():
    model = Own()
    model(X[:1])
    assert vgp.diagnose(model, X, Y, optimizer="adam").verdict == "healthy"


def stripes():
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 80)
    x = random.normal(0, 0.3, (80, 8, 8, 1)) + np.where(y[:, None] == 1, 1.0, -1.0).repeat(8, 1)[:, :, None, None]
    return x.astype("float32"), y


def test_a_convolutional_net_with_classes():
    x, y = stripes()
    parts = layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(2, "softmax")
    model = compiled(sequential(*parts, shape=(8, 8, 1)), "adam", "sparse_categorical_crossentropy")
    assert vgp.diagnose(model, x, y).verdict == "healthy"
    model.layers[0].bias.assign(np.full(4, -50.0))
    verdict = vgp.diagnose(model, x, y)
    assert verdict.verdict == "dead"
    assert verdict.try_next.startswith("keras.layers.Conv2D(4, (3, 3), activation=")


@pytest.mark.parametrize("kind", [layers.SimpleRNN, layers.LSTM])
def test_a_recurrent_net(kind):
    x = np.random.default_rng(0).normal(size=(60, 5, 1)).astype("float32")
    model = sequential(kind(6), layers.Dense(1, "sigmoid"), shape=(5, 1))
    verdict = vgp.diagnose(model, x, (x[:, -1, 0] > 0) * 1.0, optimizer=keras.optimizers.Adam(0.01))
    assert verdict.verdict == "healthy"


def test_regression_with_penalties_and_float64():
    y = np.sin(3 * X[:, 0]).astype("float32")
    model = sequential(layers.Dense(16, "tanh", kernel_regularizer="l2"), layers.Dense(1))
    assert vgp.diagnose(model, X.astype("float64"), y, optimizer=ADAM, loss="mse").verdict == "healthy"


def test_a_large_data_set_is_sampled():
    x, y = np.tile(X, (100, 1)), np.tile(Y, 100)
    assert vgp.diagnose(vgp.build_mlp(3, activation="relu", seed=1), x, y, optimizer=ADAM).verdict == "healthy"


# Wrong uses are told what to do


def frozen():
    model = vgp.build_mlp(2, seed=1)
    model.trainable = False
    return model


class Several(keras.optimizers.SGD):
    """Without a learning rate in its configuration, as Keras's MultiOptimizer, which came after Keras 3.10."""

    def get_config(self):
        return {name: value for name, value in super().get_config().items() if name != "learning_rate"}


def excluding():
    optimizer = keras.optimizers.AdamW()
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


@pytest.mark.parametrize(
    ("model", "change", "error", "message"),
    [
        (Own, {}, ValueError, r"not built, and cannot be copied.* call it once: model\(x\[:1\]\)"),
        (frozen, {}, ValueError, "no trainable kernel; set trainable = True"),
        (lambda: sequential(layers.Flatten()), {}, ValueError, "give one with a Dense"),
        (None, {"y": Y[:7]}, ValueError, "give one target per sample"),
        (None, {"y": np.eye(2)[Y.astype(int)]}, ValueError, "needs them equal"),
        (None, {"y": None}, ValueError, "give the targets"),
        (None, {"x": iter([X])}, TypeError, "take one yourself"),
        (None, {"y": np.where(Y > 0, "cat", "dog")}, TypeError, "return_inverse=True"),
        (None, {"x": np.where(X > 1, np.nan, X)}, ValueError, "remove or replace"),
        (None, {"loss": "nonsense"}, ValueError, "give a name such as"),
        (None, {"loss": lambda y, p: 1 / 0}, ValueError, "give a function of"),
        (None, {"loss": 3}, (ValueError, TypeError), "give a"),
        (None, {"optimizer": None}, ValueError, "not compiled: .* give one, such as"),
        (None, {"optimizer": "nonsense"}, ValueError, "give a Keras optimizer"),
        (None, {"optimizer": 0.1}, TypeError, "give a Keras optimizer"),
        (None, {"optimizer": Several()}, ValueError, "is a Several, without a learning rate; give one that has it"),
        (None, {"optimizer": excluding()}, ValueError, "excludes variables from weight decay"),
        (None, {"loss": keras.losses.MeanSquaredError(reduction="sum")}, ValueError, "leave reduction out"),
    ],
)
def test_wrong_uses_are_told_what_to_do(model, change, error, message):
    model = model() if model else vgp.build_mlp(2, seed=1)
    arguments = {"x": X, "y": Y, "optimizer": "sgd"} | change
    with pytest.raises(error, match=message):
        vgp.diagnose(model, **arguments)


# It shows well


def test_it_prints_as_a_small_table():
    verdict = vgp.diagnose(vgp.build_mlp(12, seed=1), X, Y, optimizer=keras.optimizers.SGD(1.0))
    first, because, try_next = repr(verdict).split("\n")
    assert first == "VANISHING at hidden_1"
    assert because.split(None, 1)[1] == verdict.because
    assert try_next.split(None, 2)[2] == verdict.try_next
    picture = verdict._repr_html_()
    assert "<b>VANISHING</b> at hidden_1" in picture
    assert "activation=&quot;relu&quot;" in picture
    with pytest.raises(AttributeError):
        verdict.verdict = "healthy"


# In time, and in size


@pytest.mark.parametrize(("gain", "expected"), [(0.5, "vanishing"), (1.0, "healthy")])
def test_a_recurrent_net_that_forgets_is_vanishing_in_time(gain, expected):
    bits = vgp.make_first_bit()
    model = vgp.build_rnn(recurrent_initializer=keras.initializers.Orthogonal(gain), seed=0)
    lags = vgp.gradient_by_lag(model, bits.x_train, bits.y_train)
    found = vgp.diagnose(model, bits.x_train, bits.y_train, optimizer=keras.optimizers.SGD(0.1))
    assert found.verdict == expected
    assert (found.layer == "recurrent") == (expected == "vanishing") == (lags[-1] < 0.01 * lags[0])


def test_a_net_that_learns_although_it_forgets_at_the_start_is_healthy():
    bits = vgp.make_first_bit()
    model = vgp.build_rnn(recurrent_initializer=keras.initializers.Orthogonal(0.5), seed=0)
    assert vgp.diagnose(model, bits.x_train, bits.y_train, optimizer=keras.optimizers.Adam(0.01)).verdict == "healthy"


def test_a_large_net_gets_the_steps_that_there_is_time_for(monkeypatch):
    images = np.random.default_rng(0).normal(size=(64, 16, 16, 1)).astype("float32")
    convolutions = [layers.Conv2D(8, 3, padding="same", activation="sigmoid") for _ in range(3)]
    model = sequential(
        *convolutions, layers.GlobalAveragePooling2D(), layers.Dense(1, activation="sigmoid"), shape=(16, 16, 1)
    )
    patient = model, images, (images.mean(axis=(1, 2, 3)) > 0).astype("float32"), keras.optimizers.SGD(0.1)
    x, _, run, small = _rehearsal.first_look(*patient[:3], "binary_crossentropy")
    assert not small and 16 <= len(x) == run.samples <= 64
    clock = iter(np.arange(1000) / 64)  # a step takes 1/64 s by this clock: half a second is 32 steps
    monkeypatch.setattr(_rehearsal.time, "perf_counter", lambda: float(next(clock)))
    rehearsal = _rehearsal.Rehearsal(*patient, "binary_crossentropy")
    assert rehearsal.count == 32 and len(rehearsal.train().losses) == 32
    assert len(rehearsal._x) == 32  # for want of time every second sample


def test_a_rehearsal_of_a_few_steps_proves_nothing_but_what_was_there_before(monkeypatch):
    monkeypatch.setattr(_rehearsal, "_SECONDS", 1e-9)  # no time at all
    monkeypatch.setattr(_rehearsal, "_AS_LONG", 0)
    monkeypatch.setattr(_rehearsal, "_WORK", 0)  # and no net is small
    images, labels = np.random.default_rng(0).normal(size=(64, 8, 8, 1)).astype("float32"), np.arange(64.0) % 2

    def ask(count, activation, last):
        parts = [layers.Conv2D(4, 3, padding="same", activation=activation) for _ in range(count)]
        model = sequential(*parts, layers.Flatten(), layers.Dense(1, last), shape=(8, 8, 1))
        return vgp.diagnose(model, images, labels, optimizer=keras.optimizers.SGD(1e-3))

    assert ask(4, "sigmoid", "sigmoid").verdict == "healthy"  # between a hundredth and a thousandth: in doubt
    healthy, sick, wrong = ask(1, "tanh", "sigmoid"), ask(12, "sigmoid", "sigmoid"), ask(12, "sigmoid", "relu")
    assert healthy.verdict == "healthy" and "too few steps to tell whether it learns" in healthy.because
    assert healthy.try_next == "train on, and see whether the loss falls"
    assert sick.verdict == "vanishing" and "for want of time the next line is not tried" in sick.because
    assert wrong.verdict == "healthy" and "Dense(1, activation=" in wrong.try_next  # the last layer is sure


# What a careful reader tried


@pytest.mark.parametrize("loss", ["cosine_similarity", lambda y, p: (y - p) ** 2 - 10.0])
def test_a_loss_below_zero_does_not_hide_what_was_not_learned(loss):
    model = vgp.build_mlp(12, activation="sigmoid", seed=1)
    assert vgp.diagnose(model, X, Y, optimizer=keras.optimizers.SGD(0.1), loss=loss).verdict == "vanishing"


def test_the_remedy_for_large_inputs_leaves_a_constant_feature_finite():
    x = np.column_stack([100 * X, np.zeros(len(X), "float32")])
    normal = keras.initializers.RandomNormal(stddev=2.0)
    model = vgp.build_mlp(10, activation="relu", kernel_initializer=normal, input_dim=3, seed=1)
    found = vgp.diagnose(model, x, Y, optimizer=keras.optimizers.SGD(0.1))
    assert found.try_next.startswith("x = ")
    names = {"x": x}
    exec(found.try_next, names)
    assert np.isfinite(names["x"]).all() and names["x"].std(axis=0)[:2] == pytest.approx(1, rel=1e-3)


def test_token_ids_are_not_standardized():
    ids = np.random.default_rng(0).integers(0, 100, size=(60, 5)).astype("float32")
    parts = [layers.Embedding(100, 8), layers.Flatten(), layers.Dense(8, "relu"), layers.Dense(1, "sigmoid")]
    model = sequential(*parts, shape=(5,))
    found = vgp.diagnose(model, ids, np.arange(60.0) % 2, optimizer=keras.optimizers.SGD(1e6))
    assert found.verdict != "healthy" and not found.try_next.startswith("x = ")


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ([layers.DepthwiseConv2D(3, padding="same", activation="sigmoid") for _ in range(10)], "BatchNormalization"),
        (
            [p for _ in range(8) for p in (layers.Conv2D(4, 3, padding="same"), layers.Activation("sigmoid"))],
            'Conv2D(4, (3, 3), kernel_initializer="he_normal"), keras.layers.Activation("relu")',
        ),
    ],
    ids=["depthwise", "activation layers"],
)
def test_the_remedy_fits_the_layer(parts, line):
    images = np.random.default_rng(0).normal(size=(20, 6, 6, 3)).astype("float32")
    model = sequential(*parts, layers.Flatten(), layers.Dense(1, "sigmoid"), shape=(6, 6, 3))
    found = vgp.diagnose(model, images, np.arange(20.0) % 2, optimizer=keras.optimizers.SGD(1e-3))
    assert found.verdict == "vanishing" and line in found.try_next


def test_batch_normalization_that_explodes_is_given_skip_connections():
    model = vgp.build_mlp(40, activation="relu", batch_normalization=True, seed=1)
    found = vgp.diagnose(model, X, Y, optimizer=keras.optimizers.SGD(1e-4))
    assert found.verdict == "exploding" and "Add()" in found.try_next


def test_a_recurrent_layer_that_is_called_twice_is_diagnosed_in_depth_only():
    shared, inputs = layers.SimpleRNN(4, return_sequences=True), keras.Input((6, 4))
    model = keras.Model(inputs, layers.Dense(1, "sigmoid")(layers.Flatten()(shared(shared(inputs)))))
    x = np.random.default_rng(0).normal(size=(30, 6, 4)).astype("float32")
    found = vgp.diagnose(model, x, np.arange(30.0) % 2, optimizer=keras.optimizers.SGD(1e-9))
    assert found.verdict == "healthy" and "every layer gets one" in found.because


def test_steps_that_explode_by_large_targets_are_cured_by_their_scale():
    y = 1e4 * (1 + X[:, :1])
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
    found = vgp.diagnose(model, X, y, optimizer=keras.optimizers.SGD(0.1), loss="mse")
    assert (found.verdict, found.try_next) == ("exploding", "y = (y - y.mean(axis=0)) / (y.std(axis=0) + 1e-7)")
    scaled = (y - y.mean(axis=0)) / (y.std(axis=0) + 1e-7)
    assert vgp.diagnose(model, X, scaled, optimizer=keras.optimizers.SGD(0.1), loss="mse").verdict == "healthy"


def test_clipping_is_part_of_the_optimizer_s_line():
    line = optimizer_line(keras.optimizers.SGD(0.1, global_clipnorm=1e-4), 10, clip=True)
    assert line == "optimizer = keras.optimizers.SGD(1.0, global_clipnorm=0.0001)"


def test_a_gated_net_that_forgets_is_sent_to_an_orthogonal_kernel():
    bits = vgp.make_first_bit()
    model = vgp.build_rnn("gru", seed=0)
    found = vgp.diagnose(model, bits.x_train, bits.y_train, optimizer=keras.optimizers.Adam(1e-4))
    assert found.try_next == 'keras.layers.SimpleRNN(10, recurrent_initializer="orthogonal")'


# Every proposed line can be run


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that Keras cannot find by its name."""

    def __call__(self, step):
        return 0.5 ** keras.ops.cast(step, "float32")

    def get_config(self):
        return {}


class OwnSGD(keras.optimizers.SGD):
    """An optimizer that keras.optimizers does not have."""


OPTIMIZERS = {
    **{name: lambda name=name: getattr(keras.optimizers, name)(1.0) for name in ("Adam", "Lion", "Lamb", "Ftrl")},
    "one": lambda: keras.optimizers.SGD(1.0),
    "settings": lambda: keras.optimizers.SGD(0.3, momentum=0.9, nesterov=True, weight_decay=1e-4),
    "small": lambda: keras.optimizers.RMSprop(3e-7, rho=0.5, centered=True),
    "clipped": lambda: keras.optimizers.Adam(0.1, clipvalue=0.5, use_ema=True, ema_overwrite_frequency=10),
    "schedule": lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)),
    "own schedule": lambda: keras.optimizers.Adam(Halving()),
    "loss scaling": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5)),
    "own": lambda: OwnSGD(0.5),
    "own with a schedule": lambda: OwnSGD(Halving()),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize(("factor", "clip"), [(1.0, False), (0.1, True), (10.0, False)])
def test_the_line_for_an_optimizer_can_be_run_and_keeps_its_settings(make, factor, clip):
    optimizer = make()
    names = {"keras": keras, "optimizer": optimizer}
    exec(optimizer_line(optimizer, factor, clip), names)
    made, inner = names["optimizer"], getattr(optimizer, "inner_optimizer", optimizer)
    expected = float(np.asarray(inner.learning_rate)) * factor
    if made is not optimizer:
        assert float(np.asarray(made.learning_rate)) == pytest.approx(expected, rel=0.01)
    clipping = {"clipnorm", "clipvalue", "global_clipnorm"}
    before, after = inner.get_config(), made.get_config()
    if type(made) is type(inner):
        left_out = {"name", "learning_rate", "loss_scale_factor", *clipping}
        assert {n: v for n, v in before.items() if n not in left_out} == {
            n: v for n, v in after.items() if n not in left_out
        }
    had = any(before[name] for name in clipping)
    assert any(after[name] for name in clipping) == (had or clip)
    made.apply([np.array([0.5], "float32")], [keras.Variable([1.0])])  # Keras takes a step with it


class OwnDense(layers.Dense):
    """A layer that keras.layers does not have."""


class WithoutConfiguration(layers.Layer):
    def __init__(self, function=tf.sigmoid):
        super().__init__()
        self.function = function

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 5), name="kernel")

    def call(self, x):
        return self.function(x @ self.kernel)


SICK = {
    "dense": (lambda: [layers.Dense(5, "sigmoid") for _ in range(12)], (2,), "Dense"),
    "subclass of dense": (lambda: [OwnDense(5, "sigmoid") for _ in range(12)], (2,), "Dense"),
    "no configuration": (lambda: [WithoutConfiguration() for _ in range(12)], (2,), "BatchNormalization"),
    "conv1d": (lambda: [*(layers.Conv1D(3, 2, activation="sigmoid") for _ in range(10)), layers.Flatten()], (20, 1),
               "Conv1D"),
    "normalized": (
        lambda: [layers.BatchNormalization(), *(layers.Dense(5, "sigmoid") for _ in range(12))], (2,), "Add"),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "shape", "kind"), SICK.values(), ids=SICK)
def test_the_line_for_a_layer_can_be_run(parts, shape, kind):
    x = np.random.default_rng(0).normal(size=(30, *shape)).astype("float32")
    model = sequential(*parts(), layers.Dense(1, "sigmoid"), shape=shape)
    found = vgp.diagnose(model, x, np.arange(30.0) % 2, optimizer=keras.optimizers.SGD(1e-3))
    names = {"keras": keras, "h": keras.Input((5,)), "block": layers.Dense(5), "x": x}
    assert found.verdict == "vanishing" and kind in found.try_next
    exec(found.try_next, names)


@pytest.mark.parametrize("cell", [layers.SimpleRNN, layers.LSTM])
@pytest.mark.parametrize("optimizer", [SGD, ADAM])
@pytest.mark.parametrize("start", ["orthogonal", "glorot_uniform"])
def test_the_line_for_a_recurrent_layer_can_be_run(cell, optimizer, start):
    layer = cell(4, recurrent_initializer=start)
    layer.build((None, 5, 1))
    lines = [remedy.line for remedy in _for_recurrent(layer, optimizer)]
    for line in lines:
        exec(line, {"keras": keras})
    assert lines and all("keras." in line for line in lines)


# Other precisions, and what Keras cannot find by name


def test_mixed_precision_gets_the_verdict_of_float32_and_the_optimizer_s_real_step():
    verdicts, weights = [], None
    for policy in ("float32", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        try:
            net = [layers.Dense(8, "tanh", name="hidden"), layers.Dense(1, "sigmoid", name="output")]
            model = compiled(sequential(*net), keras.optimizers.SGD(1.0, momentum=0.9))
        finally:
            keras.config.set_dtype_policy("float32")
        weights = weights or model.get_weights()
        model.set_weights(weights)
        verdicts.append(vgp.diagnose(model, X, Y))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model.fit(X, Y, epochs=2, verbose=0)  # now the optimizer has a state
    assert vgp.diagnose(model, X, Y).verdict == "healthy"
    assert verdicts[0] == verdicts[1] and verdicts[0].verdict == "healthy"


def test_a_schedule_of_one_s_own_is_taken():
    model = compiled(vgp.build_mlp(2, activation="tanh", seed=1), keras.optimizers.Adam(Halving()))
    assert "Adam(1.0)" in vgp.diagnose(model, X, Y).because


def test_a_loss_in_numpy_is_refused_and_not_answered_by_zeros():
    with pytest.raises(ValueError, match=r"no gradient with respect to y_pred.*keras\.ops"):
        vgp.diagnose(vgp.build_mlp(2, seed=1), X, Y, optimizer="sgd", loss=lambda y, p: np.square(y - p).mean(axis=-1))
