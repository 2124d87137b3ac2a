"""Every touch of Keras's and TensorFlow's inside, by what it does: these turn red if the inside changes."""

import logging
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from vgp_lib.engine import _keras


def nested():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(8, name="d2"), layers.Dense(5, name="d3")], name="inner")
    inputs = keras.Input((2,))
    h = inner(layers.Dense(4, name="d1")(inputs))
    left, right = layers.Dense(3, name="d4")(h), layers.Dense(3, name="d5")(h)
    return keras.Model(inputs, layers.Dense(1, "sigmoid", name="d6")(layers.Add()([left, right])))


class Backwards(keras.Model):
    """Constructed last to first, called first to last; one attribute holds a list of layers."""

    def __init__(self):
        super().__init__()
        self.head = layers.Dense(1, "sigmoid", name="head")
        self.blocks = [layers.Dense(4, name="second"), layers.Dense(4, name="first")]

    def call(self, x):
        return self.head(self.blocks[0](self.blocks[1](x)))


def built(model, width=2):
    model(np.zeros((1, width), "float32"))
    return model


def names(found):
    return [layer.name for layer in found]


# Layers and their order


def test_all_layers_are_listed_once_parents_first_in_the_order_in_which_they_were_added():
    model = nested()
    found = names(_keras.all_layers(model))
    assert len(found) == len(set(found)) and found[0] == model.name
    assert [name for name in found if name in {"inner", *(f"d{i}" for i in range(1, 7))}] == [
        *("d1", "inner", "d2", "d3", "d4", "d5", "d6")
    ]


def test_kernel_layers_of_a_nested_model_follow_the_forward_pass():
    assert names(_keras.kernel_layers(nested())) == [f"d{i}" for i in range(1, 7)]


@pytest.mark.parametrize("x", [None, np.zeros((3, 2), "float32")], ids=["by shape", "by data"])
def test_kernel_layers_of_a_subclassed_model_follow_the_forward_pass(x):
    assert names(_keras.kernel_layers(built(Backwards()), x)) == ["first", "second", "head"]


def test_kernel_layers_inside_a_custom_block_follow_the_forward_pass():
    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.last, self.first = layers.Dense(2, name="last"), layers.Dense(3, name="begin")

        def call(self, x):
            return self.last(self.first(x))

    model = keras.Sequential([keras.Input((2,)), Block(), layers.Dense(1, name="head")])
    assert names(_keras.kernel_layers(model)) == ["begin", "last", "head"]


def test_attention_and_wrappers_are_listed_in_the_order_of_their_call():
    inputs, heads = keras.Input((5, 2)), layers.MultiHeadAttention(2, 3)
    h = layers.Bidirectional(layers.LSTM(3, name="lstm"))(heads(inputs, inputs))
    model = keras.Model(inputs, layers.SpectralNormalization(layers.Dense(1, name="head"))(h))
    expected = ["query", "key", "value", "attention_output", "forward_lstm", "backward_lstm", "head"]
    assert names(_keras.kernel_layers(model)) == expected


def test_two_inputs_are_refused():
    inputs = keras.Input((2,)), keras.Input((2,))
    model = keras.Model(inputs, layers.Dense(1)(layers.Add()(inputs)))
    with pytest.raises(ValueError, match="has 2 inputs; give a model with one"):
        _keras.kernel_layers(model)


# The twin


def state(model):
    return [{name: id(value) for name, value in vars(layer).items()} for layer in _keras.all_layers(model)]


@pytest.mark.parametrize("make", [nested, lambda: built(Backwards())], ids=["nested", "subclassed"])
def test_a_twin_computes_the_same_from_the_same_variables_and_has_layers_of_its_own(make):
    model, x = make(), np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    double, originals = _keras.twin(model)
    np.testing.assert_array_equal(double(x), model(x))
    pairs = list(zip(_keras.all_layers(double), _keras.all_layers(model), strict=True))
    assert all(ours is not theirs and originals[id(ours)] is theirs for ours, theirs in pairs)
    assert all(one is other for one, other in zip(double.variables, model.variables, strict=True))


def test_what_is_replaced_on_a_twin_leaves_the_model_alone():
    model, x = nested(), np.ones((3, 2), "float32")
    expected, before = np.asarray(model(x)), state(model)
    double, _ = _keras.twin(model)
    for layer in _keras.all_layers(double):
        if isinstance(layer, layers.Dense):
            _keras.override(layer, activation=tf.zeros_like)
    assert not np.asarray(double(x)).any()
    assert state(model) == before
    np.testing.assert_array_equal(model(x), expected)


def test_a_bound_method_of_a_layer_belongs_to_its_twin():
    class Own(layers.Layer):
        def __init__(self):
            super().__init__()
            self.factor, self.shape_it = 2.0, self.times

        def times(self, x):
            return self.factor * x

        def call(self, x):
            return self.shape_it(x)

    model = keras.Sequential([keras.Input((2,)), Own(), layers.Dense(1, kernel_initializer="ones")])
    double, _ = _keras.twin(model)
    (own,) = [layer for layer in _keras.all_layers(double) if isinstance(layer, Own)]
    _keras.override(own, factor=-5.0)
    assert float(double(np.ones((1, 2)))[0, 0]) == -10 and float(model(np.ones((1, 2)))[0, 0]) == 4


def test_two_hundred_layers_need_no_deep_recursion():
    model = keras.Sequential([keras.Input((2,)), *(layers.Dense(2) for _ in range(200))])
    double, _ = _keras.twin(model)
    assert len(_keras.kernel_layers(double)) == 200


def test_a_layer_that_does_not_let_an_attribute_be_replaced_is_told():
    layer = layers.Dense(2)
    layer.build((None, 2))
    with pytest.raises(RuntimeError, match=r"does not let vgp_lib replace Dense\.kernel"):
        _keras.override(layer, kernel=tf.zeros((2, 2)))  # a property of Dense, whose value comes from elsewhere


def test_a_twin_in_float32_sees_gradients_that_float16_would_lose():
    model = keras.Sequential(
        [keras.Input((2,)), layers.Dense(3, dtype="mixed_float16"), layers.Dense(1, dtype="mixed_float16")]
    )
    double, _ = _keras.twin(model, in_float32=True)
    x = np.full((1, 2), 1e-6, "float32")
    plain = keras.Sequential([keras.Input((2,)), layers.Dense(3), layers.Dense(1)])
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(double(x), plain(x), rtol=1e-6)
    assert model(x).dtype == "float16" and double(x).dtype == "float32"


# Masks, optimizers, seeds


def test_a_mask_is_seen_on_what_carries_one():
    ids = np.array([[1, 0]])
    assert _keras.mask_of(layers.Embedding(3, 2, mask_zero=True)(ids)).numpy().tolist() == [[True, False]]
    assert _keras.mask_of(layers.Embedding(3, 2)(ids)) is None


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that Keras cannot find by its name."""

    def __call__(self, step):
        return 0.1 * 0.5 ** tf.cast(step, "float32")

    def get_config(self):
        return {}


def test_a_copied_optimizer_has_the_settings_and_a_foreign_schedule_but_no_state_and_no_loss_scaling():
    original = keras.optimizers.SGD(Halving(), momentum=0.9, clipnorm=1.0, loss_scale_factor=1024.0)
    original.build([keras.Variable(1.0)])
    copied = _keras.copy_optimizer(original, clipnorm=None)
    assert (copied.momentum, copied.clipnorm, copied.loss_scale_factor, copied.built) == (0.9, None, None, False)
    assert isinstance(_keras.schedule_of(copied), Halving) and float(copied.learning_rate) == pytest.approx(0.1)
    assert _keras.schedule_of(keras.optimizers.SGD(0.1)) is None
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01))
    assert type(_keras.copy_optimizer(scaled)) is keras.optimizers.Adam


def test_the_state_of_an_optimizer_belongs_to_the_model_that_it_has_trained():
    model, other = built(Backwards()), built(Backwards())
    optimizer = keras.optimizers.Adam()
    assert not _keras.has_trained(optimizer, model)
    optimizer.build(model.trainable_variables)
    assert _keras.has_trained(optimizer, model) and not _keras.has_trained(optimizer, other)


def test_exclusion_from_weight_decay_is_seen():
    by_name, by_variable = (keras.optimizers.AdamW() for _ in range(2))
    by_name.exclude_from_weight_decay(var_names=["bias"])
    by_variable.exclude_from_weight_decay(var_list=[keras.Variable(1.0)])
    assert _keras.excludes_from_weight_decay(by_name) and _keras.excludes_from_weight_decay(by_variable)
    assert not _keras.excludes_from_weight_decay(keras.optimizers.AdamW())


@pytest.mark.parametrize("kind", ["GlorotUniform", "HeNormal", "TruncatedNormal", "Orthogonal"])
def test_a_traced_seed_draws_what_the_integer_draws(kind):
    traced, seed = getattr(keras.initializers, kind)(), 123456789

    @tf.function
    def draw(state):
        traced.seed = _keras.TracedSeed(state)
        return traced((4, 3))

    expected = getattr(keras.initializers, kind)(seed=seed)((4, 3))
    np.testing.assert_array_equal(draw(tf.constant(seed, "int64")), expected)


def test_is_keras_tells_keras_s_own_from_others():
    mine = type("Mine", (layers.Dense,), {})
    own = (keras.activations.relu, layers.Dense, keras.losses.Huber(), layers.Dense.call, keras.optimizers.SGD)
    assert all(_keras.is_keras(thing) for thing in own)
    assert not any(_keras.is_keras(thing) for thing in (np.tanh, mine, lambda y, p: y, tf.tanh))


# TensorFlow


def test_a_function_is_bound_to_other_variables_from_two_threads():
    ours = tf.Variable(1.0)
    theirs = [tf.Variable(10.0), tf.Variable(20.0)]
    function = tf.function(lambda x: ours.assign_add(x), autograph=False).get_concrete_function(tf.constant(0.0))
    bound = [_keras.bound(function, [ours], [variable]) for variable in theirs]
    threads = [threading.Thread(target=lambda f=f: [f(tf.constant(1.0)) for _ in range(100)]) for f in bound]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [float(variable) for variable in (ours, *theirs)] == [1, 110, 120]


def test_advice_to_retrace_less_is_left_out_while_the_course_traces_and_only_then(caplog):
    logger = logging.getLogger("tensorflow")
    with caplog.at_level("WARNING", logger="tensorflow"):
        logger.propagate, before = True, logger.propagate
        try:
            with _keras.quiet_tracing():
                logger.warning("5 calls triggered tf.function retracing")
                logger.warning("something else")
                logger.error("retracing failed")
            logger.warning("your own function is retracing")
        finally:
            logger.propagate = before
    assert [record.getMessage() for record in caplog.records] == [
        "something else",
        "retracing failed",
        "your own function is retracing",
    ]


OPTIMIZERS = {
    name: kind
    for name, kind in vars(keras.optimizers).items()
    if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer)
}


@pytest.mark.parametrize("name", sorted({*OPTIMIZERS} - {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}))
def test_an_optimizer_that_updates_plainly_takes_the_same_steps(name):
    gradients, pairs = [np.array([[0.5, -2.0], [1.0, 0.1]], "float32"), np.array([3.0], "float32")], []
    for plain in (True, False):
        optimizer = OPTIMIZERS[name](0.1, weight_decay=0.01, global_clipnorm=1.0)
        weights = [keras.Variable([[1.0, 2.0], [0.5, -1.0]]), keras.Variable([-1.0])]
        optimizer.build(weights)
        if plain:
            _keras.update_plainly(optimizer)
            assert _keras.is_keras(optimizer._backend_update_step) == (name == "Nadam")
        for _ in range(3):
            optimizer.apply(gradients, weights)
        pairs.append([weight.numpy() for weight in weights])
    for ours, theirs in zip(*pairs, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
