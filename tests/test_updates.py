"""From weights to gradients: against a plain loop, and against one step of Keras's own fit."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import kernels, tape_gradients
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import vgp_lib as vgp

# From weights to gradients

NUMBERS = st.floats(-1e6, 1e6, width=32)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)
PAIRS = st.tuples(st.sampled_from(["float32", "float64"]), SHAPES).flatmap(
    lambda kind: st.tuples(*[hnp.arrays(*kind, elements=NUMBERS)] * 2)
)
RATES = st.floats(2**-20, 1e3)


@given(PAIRS, RATES)
def test_gradient_is_what_a_plain_loop_computes(pair, rate):
    old, new = pair
    gradient = vgp.gradient_from_update(old, new, rate)
    expected = [(float(a) - float(b)) / rate for a, b in zip(old.ravel(), new.ravel(), strict=True)]
    assert np.ravel(gradient).tolist() == expected


@given(PAIRS, RATES)
def test_a_step_along_the_gradient_leads_to_the_new_weights(pair, rate):
    old, new = (array.astype("float64") for array in pair)
    back = old - rate * vgp.gradient_from_update(*pair, rate)
    assert (np.abs(back - new) <= 1e-15 * (np.abs(old) + np.abs(new))).all()


@given(PAIRS, RATES)
def test_gradient_points_against_the_step_and_turns_with_it(pair, rate):
    old, new = pair
    gradient = vgp.gradient_from_update(old, new, rate)
    np.testing.assert_array_equal(np.sign(gradient), np.sign(old.astype("float64") - new))
    np.testing.assert_array_equal(vgp.gradient_from_update(new, old, rate), -gradient)


@given(PAIRS, RATES)
def test_twice_the_learning_rate_means_half_the_gradient(pair, rate):
    np.testing.assert_array_equal(vgp.gradient_from_update(*pair, 2 * rate), vgp.gradient_from_update(*pair, rate) / 2)


@given(PAIRS)
def test_percent_change_is_what_a_plain_loop_computes(pair):
    def change(a, b):
        return abs(100 * (a - b) / a) if a else math.nan

    expected = [change(float(a), float(b)) for a, b in zip(*(array.ravel() for array in pair), strict=True)]
    np.testing.assert_allclose(np.ravel(vgp.percent_change(*pair)), expected, rtol=1e-14, atol=0)


@given(PAIRS)
def test_percent_change_is_nan_exactly_where_the_old_weight_is_zero(pair):
    np.testing.assert_array_equal(np.isnan(vgp.percent_change(*pair)), pair[0] == 0)


@given(PAIRS, st.sampled_from([-4.0, -1.0, 0.5, 8.0]))
def test_percent_change_has_no_unit(pair, factor):
    scaled = [array.astype("float64") * factor for array in pair]
    np.testing.assert_array_equal(vgp.percent_change(*scaled), vgp.percent_change(*pair))


@given(PAIRS)
def test_unmoved_weights_give_exactly_zero(pair):
    old, _ = pair
    assert not vgp.gradient_from_update(old, old, 0.1).any()
    np.testing.assert_array_equal(vgp.percent_change(old, old), np.where(old == 0, np.nan, 0))


@given(PAIRS)
def test_shape_is_kept_and_the_result_is_float64(pair):
    for result in (vgp.gradient_from_update(*pair, 0.1), vgp.percent_change(*pair)):
        assert result.shape == pair[0].shape and result.dtype == np.float64


def test_float32_weights_are_subtracted_without_rounding():
    old, new = np.float32([1.0]), np.float32([1e-9])
    assert vgp.gradient_from_update(old, new, 1.0)[0] == 1.0 - float(np.float32(1e-9)) != 1.0


def test_what_float64_cannot_hold_is_infinite_without_a_warning():
    old, new = np.array([1e308, 1e-308]), np.array([-1e308, 1e308])
    np.testing.assert_array_equal(vgp.gradient_from_update(old, new, 0.1), [np.inf, -np.inf])
    np.testing.assert_array_equal(vgp.percent_change(old, new), [np.inf, np.inf])


@pytest.mark.parametrize(
    "rate",
    [np.float32(0.5), np.array(0.5), np.array([0.5]), tf.constant(0.5), keras.optimizers.SGD(0.5).learning_rate],
    ids=["float32", "array", "array of one", "tensor", "optimizer"],
)
def test_learning_rate_may_be_what_an_optimizer_holds(rate):
    assert vgp.gradient_from_update([1.0], [0.0], rate).tolist() == [2.0]


@pytest.mark.parametrize("make", [list, np.array, tf.constant, keras.Variable])
def test_weights_may_be_lists_arrays_tensors_and_variables(make):
    old, new = make([2.0, 4.0]), make([1.0, 5.0])
    assert vgp.gradient_from_update(old, new, 0.5).tolist() == [2.0, -2.0]
    assert vgp.percent_change(old, new).tolist() == [50.0, 25.0]


@pytest.mark.parametrize(
    ("rate", "error"),
    [
        *((rate, ValueError) for rate in (0, 0.0, -0.1, math.nan, math.inf, np.float32(0), tf.constant(-1.0))),
        *((rate, TypeError) for rate in (True, np.True_, "0.1", None, 0.1j, [0.1, 0.2], keras.optimizers.SGD())),
        (keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9), TypeError),
    ],
    ids=lambda given: str(given).partition(" object")[0],
)
def test_bad_learning_rate_is_refused(rate, error):
    with pytest.raises(error, match=r"learning_rate is .*give a positive number, such as 0\.1"):
        vgp.gradient_from_update(np.ones(2), np.zeros(2), rate)


MEASURES = {
    "gradient": lambda old, new: vgp.gradient_from_update(old, new, 0.1),
    "percent": vgp.percent_change,
}
measures = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


@measures
@pytest.mark.parametrize(
    ("bad", "error", "fix"),
    [
        (np.array([1.0, math.nan]), ValueError, "nan or infinite.*smaller learning rate"),
        (np.array([math.inf, -math.inf]), ValueError, "nan or infinite.*smaller learning rate"),
        (np.array([1, 2]), TypeError, r"int64 numbers.*astype\('float32'\)"),
        (np.array([True, False]), TypeError, r"bool numbers.*astype\('float32'\)"),
        (np.array(["a", "b"]), TypeError, r"layer\.get_weights\(\)\[0\]"),
        (None, TypeError, r"layer\.get_weights\(\)\[0\]"),
        (np.array([]), ValueError, r"empty, shape \(0,\).*at least one weight"),
        (np.ones((2, 0)), ValueError, r"empty, shape \(2, 0\).*at least one weight"),
        ([np.ones((2, 3)), np.ones(3)], (TypeError, ValueError), r"layer\.get_weights\(\)\[0\]"),
    ],
    ids=["nan", "inf", "integers", "booleans", "text", "None", "empty", "empty 2-D", "kernel and bias"],
)
@pytest.mark.parametrize("place", ["old", "new"])
def test_bad_weights_are_refused_naming_them_and_the_fix(measure, bad, error, fix, place):
    weights = {"old": np.ones(2), "new": np.ones(2)} | {place: bad}
    with pytest.raises(error, match=f"{place} (is|holds) .*{fix}"):
        measure(**weights)


@measures
@pytest.mark.parametrize("shape", [(3,), (2, 1), (1,), ()])
def test_weights_of_different_shapes_are_refused(measure, shape):
    with pytest.raises(ValueError, match=r"old has shape \(2,\), new has shape .*; give one layer's weights"):
        measure(np.ones(2), np.ones(shape))


@given(st.floats(-300, 300))
def test_power_of_ten_is_the_nearest_on_a_log_scale(exponent):
    nearest = float(vgp.power_of_ten(10**exponent))
    assert abs(math.log10(nearest) - exponent) <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (1, "1e0"),
        (1.2e-7, "1e-7"),
        (np.float32(8e-8), "1e-7"),
        (math.inf, "inf"),
    ],
)
def test_power_of_ten_in_words(value, text):
    assert vgp.power_of_ten(value) == text


# One step of fit


def fit_one_step(model, data, learning_rate):
    """Return the kernels before and after, and the gradient that automatic differentiation gives before."""
    old = kernels(model)
    tape = tape_gradients(model, [layer.kernel.value for layer in model.layers[1:]], data.x_train, data.y_train)
    model.compile(keras.optimizers.SGD(learning_rate), "binary_crossentropy")
    model.fit(data.x_train, data.y_train, batch_size=len(data.x_train), epochs=1, verbose=0)
    return old, kernels(model), tape


def test_update_of_one_sgd_step_is_the_gradient_up_to_the_rounding_of_the_weights(moons):
    rate = 0.125  # a power of two, so that the product with the gradient adds no rounding
    model = vgp.build_mlp(hidden_layers=2, activation="tanh", seed=1)
    for old, new, gradient in zip(*fit_one_step(model, moons, rate), strict=True):
        ulp = np.spacing(np.maximum(np.abs(old), np.abs(new))).astype("float64")
        error = np.abs(vgp.gradient_from_update(old, new, rate) - gradient)
        assert (error <= ulp / (2 * rate) + 1e-5 * np.abs(gradient).max()).all()
        assert np.linalg.norm(error) < 1e-3 * np.linalg.norm(gradient)


def test_update_of_a_vanished_layer_is_exactly_zero_though_its_gradient_is_not(moons):
    old, new, tape = fit_one_step(vgp.build_mlp(hidden_layers=10, activation="sigmoid", seed=2), moons, 0.1)
    assert not vgp.gradient_from_update(old[0], new[0], 0.1).any()
    assert 0 < np.linalg.norm(tape[0]) < 1e-6
    assert vgp.gradient_from_update(old[-1], new[-1], 0.1).any()


def inner_products(weights, gradients):
    return np.array([np.sum(w.astype("float64") * g) for w, g in zip(weights, gradients, strict=True)])


def test_kernel_times_gradient_is_one_number_in_all_layers_of_a_relu_net(moons):
    model = vgp.build_mlp(hidden_layers=5, activation="relu", kernel_initializer="he_normal", seed=3)  # biases are 0
    old, new, tape = fit_one_step(model, moons, 0.125)
    updates = [vgp.gradient_from_update(a, b, 0.125) for a, b in zip(old, new, strict=True)]
    for gradients in (tape, updates):
        products = inner_products(old, gradients)
        assert np.abs(products).min() > 1e-3
        np.testing.assert_allclose(products, products[0], rtol=1e-3)
    faulty = inner_products(old, [*updates[:2], 1.01 * updates[2], *updates[3:]])
    assert not np.allclose(faulty, faulty[0], rtol=1e-3)
