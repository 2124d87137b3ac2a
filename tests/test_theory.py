import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import polygamma

import vgp_lib as vgp
from vgp_lib.engine.theory import critical_scale, elementwise, kernel_variance, moments, predict_profile

GRID = np.concatenate([np.linspace(-8, 8, 161) + 0.013, [0.0, -30.0, 30.0]])
EXACT = ["linear", "relu", "leaky_relu", "elu", "selu", "sigmoid", "tanh", "silu", "swish", "gelu"]
EPSILON = keras.layers.BatchNormalization().epsilon


def expectations(activation, q):
    """E[φ], E[φ²], E[φ'²] at one variance."""
    return [float(moment[0]) for moment in moments(elementwise(activation), np.array([q]))]


def fixed_point(activation, sigma_w2, layers=3000):
    """Iterate the variance map to q* and χ."""
    q = 1.0
    for _ in range(layers):
        q = sigma_w2 * expectations(activation, q)[1]
    return q, sigma_w2 * expectations(activation, q)[2]


def draw_kernels(initializer, shape, random):
    variance = kernel_variance(initializer, *shape[1:])
    if initializer == "orthogonal":
        q, r = np.linalg.qr(random.normal(size=(shape[0], max(shape[1:]), min(shape[1:]))))
        q = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
        return q if shape[1] >= shape[2] else q.transpose(0, 2, 1)
    if str(initializer).endswith("_uniform"):
        return random.uniform(-1, 1, shape) * np.sqrt(3 * variance)
    return random.normal(size=shape) * np.sqrt(variance)


def measure(activation, initializer, widths, x, nets, batch_normalization=False, residual=False, seed=0):
    """Backpropagate through many random nets at once, in NumPy alone, from one output unit with delta ±1.

    Returns the mean over samples of ‖δ‖² and ‖∂L/∂W‖²: arrays (nets, layers), and of φ²: (layers,).
    """
    random, phi = np.random.default_rng(seed), elementwise(activation)
    layers = len(widths) - 1
    sizes = [*widths, 1]
    kernels = [draw_kernels(initializer, (nets, *sizes[i : i + 2]), random) for i in range(layers + 1)]
    h, inputs, normalized, spreads, second = np.broadcast_to(x, (nets, *x.shape)), [], [], [], []
    for i in range(layers):
        inputs.append(h)
        z = h @ kernels[i]
        if batch_normalization:
            spreads.append(np.sqrt(z.var(axis=1, keepdims=True) + EPSILON))
            z = (z - z.mean(axis=1, keepdims=True)) / spreads[-1]
        normalized.append(z)
        activations = phi.value(z)
        second.append(np.square(activations).mean())
        h = h + activations if residual and i > 0 else activations
    signs = random.choice([-1.0, 1.0], (1, len(x), 1))
    gradient = signs * kernels[-1].transpose(0, 2, 1)
    deltas, kernel_gradients = [], []
    for i in reversed(range(layers)):
        z = normalized[i]
        delta = gradient * phi.slope(z)
        if batch_normalization:
            along = (delta * z).mean(axis=1, keepdims=True)
            delta = (delta - delta.mean(axis=1, keepdims=True) - z * along) / spreads[i]
        square = np.square(delta).sum(axis=-1)
        deltas.insert(0, square.mean(axis=1))
        kernel_gradients.insert(0, (square * np.square(inputs[i]).sum(axis=-1)).mean(axis=1))
        through = delta @ kernels[i].transpose(0, 2, 1)
        gradient = gradient + through if residual and i > 0 else through
    return np.transpose(deltas), np.transpose(kernel_gradients), np.array(second)


def rms_ratio(squares):
    first, *_, last = squares.mean(axis=0)
    return math.sqrt(first / last)


# Activations


def value_and_slope(activation, z):
    """φ and φ' by Keras's own code and TensorFlow's derivative."""
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = activation(z)
    return value.numpy(), tape.gradient(value, z, unconnected_gradients="zero").numpy()


@pytest.mark.parametrize("name", EXACT)
def test_activation_and_slope_are_those_of_keras(name):
    phi, (value, slope) = elementwise(name), value_and_slope(keras.activations.get(name), tf.constant(GRID, "float64"))
    tolerance = 1e-7 if name in ("gelu", "leaky_relu") else 1e-12  # Keras rounds their constants to float32
    np.testing.assert_allclose(phi.value(GRID), value, rtol=tolerance, atol=tolerance)
    smooth = GRID != 0 if name == "selu" else slice(None)  # there Keras's slope depends on its way to compute
    np.testing.assert_allclose(phi.slope(GRID)[smooth], slope[smooth], rtol=tolerance, atol=tolerance)
    assert elementwise(keras.activations.get(name)) is phi


@pytest.mark.parametrize(
    "layer",
    [
        *[keras.layers.ReLU(), keras.layers.ReLU(negative_slope=0.3), keras.layers.ELU(0.7)],
        *[keras.layers.LeakyReLU(), keras.layers.LeakyReLU(0.1), keras.layers.Activation("tanh")],
    ],
    ids=lambda layer: layer.name,
)
def test_activation_layers(layer):
    z = GRID[GRID != 0]
    phi, (value, slope) = elementwise(layer), value_and_slope(layer, tf.constant(z, "float32"))
    np.testing.assert_allclose(phi.value(z), value, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(phi.slope(z), slope, atol=1e-5)


@pytest.mark.parametrize("name", ["relu", "selu", "sigmoid", "tanh", "gelu", "hard_tanh", "softplus"])
def test_moments_equal_a_fine_sum(name):
    """Its cells end at the kinks: z is 0 or ±1 at a multiple of 1e-4 in u. The last two are differentiated."""
    u = (np.arange(-120_000, 120_000) + 0.5) * 1e-4
    weight, phi = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi) * 1e-4, elementwise(name)
    for q in (1e-4, 0.25, 4.0, 400.0):
        z = np.sqrt(q) * u
        expected = [weight @ f for f in (phi.value(z), phi.value(z) ** 2, phi.slope(z) ** 2)]
        np.testing.assert_allclose(expectations(name, q), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    ("function", "exact", "tolerance"),
    [
        (lambda z: np.tanh(z), "tanh", 1e-8),
        (lambda z: z * (z > 0), "relu", 1e-4),
        (lambda z: keras.ops.sigmoid(keras.ops.cast(z, "float32")), "sigmoid", 1e-4),
        (tf.nn.leaky_relu, "leaky_relu", 1e-4),
    ],
)
def test_own_functions(function, exact, tolerance):
    np.testing.assert_allclose(expectations(function, 1.3), expectations(exact, 1.3), rtol=tolerance)


# Initializers

INITIALIZERS = [
    *["glorot_uniform", "he_normal", "lecun_uniform", "orthogonal", "random_normal", "random_uniform", "HeNormal"],
    *["truncated_normal", "variance_scaling", "normal", keras.initializers.HeUniform()],
    keras.initializers.RandomNormal(stddev=2.0),
    keras.initializers.TruncatedNormal(stddev=0.3),
    keras.initializers.RandomUniform(-0.4, 0.4),
    keras.initializers.Orthogonal(gain=1.7),
    keras.initializers.VarianceScaling(3.0, "fan_out", "untruncated_normal"),
    keras.initializers.VarianceScaling(3.0, "fan_avg", "truncated_normal"),
]


@pytest.mark.parametrize(
    "initializer", INITIALIZERS, ids=lambda given: given if isinstance(given, str) else type(given).__name__
)
def test_kernel_variance_is_that_of_draws(initializer):
    for shape in ((150, 450), (350, 100)):
        kernel = keras.ops.convert_to_numpy(keras.initializers.get(initializer)(shape)).astype("float64")
        assert kernel_variance(initializer, *shape) == pytest.approx(np.square(kernel).mean(), rel=0.03)


# Published constants


@pytest.mark.parametrize(
    ("activation", "sigma_w2", "q", "chi"),
    [
        ("sigmoid", 1, 0.26469, 0.05572),
        ("sigmoid", 2, 0.5553, 0.10098),
        ("tanh", 2, 0.61797, 1.10553),
        ("selu", 1, 1.0, 1.0716),
    ],
)
def test_fixed_points(activation, sigma_w2, q, chi):
    found_q, found_chi = fixed_point(activation, sigma_w2, layers=300)
    assert found_q == pytest.approx(q, abs=1e-5 if q != 0.5553 else 1e-4)
    assert found_chi == pytest.approx(chi, abs=1e-5 if chi != 1.0716 else 1e-4)


def test_factors_per_layer_and_power_laws():
    assert math.sqrt(fixed_point("sigmoid", 1, 50)[1]) == pytest.approx(0.2361, abs=5e-5)
    assert math.sqrt(fixed_point("sigmoid", 2, 50)[1]) == pytest.approx(0.3178, abs=5e-5)
    q, chi = fixed_point("tanh", 1, 3000)
    assert q == pytest.approx(1 / 6000, rel=0.01)
    assert chi == pytest.approx(1 - 1 / 3000, abs=1e-5)
    for q in (1e-8, 0.5, 1.0, 1e5):
        assert expectations("relu", q)[1:] == pytest.approx([q / 2, 0.5], rel=1e-9)
        assert expectations(keras.layers.LeakyReLU(0.3), q)[2] == pytest.approx((1 + 0.09) / 2, rel=1e-9)
    assert fixed_point("selu", 2, 60)[0] > 1e3
    assert [fixed_point("gelu", s, 300)[1] for s in (1, 2)] == pytest.approx([0.25, 0.5], abs=1e-4)
    assert kernel_variance("truncated_normal", 2, 2) == pytest.approx((0.8796 * 0.05) ** 2, rel=1e-4)


def test_critical_scales():
    sigmoid = critical_scale("sigmoid")
    assert sigmoid.sigma_w == pytest.approx(10.149, abs=5e-4)
    assert sigmoid.sigma_w**2 == pytest.approx(103.0, abs=0.05)
    assert sigmoid.q == pytest.approx(45.62, abs=5e-3)
    assert critical_scale("tanh") == pytest.approx((1.0, 0.0), abs=1e-6)
    assert critical_scale("relu").sigma_w == pytest.approx(math.sqrt(2), rel=1e-9)
    assert critical_scale("leaky_relu").sigma_w == pytest.approx(math.sqrt(2 / 1.04), rel=1e-9)
    for activation in ("sigmoid", "hard_sigmoid"):  # at the scale that it names, χ is 1 and q a fixed point
        sigma_w, q = critical_scale(activation)
        assert [sigma_w**2 * moment for moment in expectations(activation, q)[1:]] == pytest.approx([q, 1])


@pytest.mark.parametrize(
    ("activation", "k", "c_w", "c_b"),
    [("gelu", (3 + math.sqrt(17)) / 2, 1.98305826, 0.17292239), ("silu", 14.32017, 1.98800468, None)],
)
def test_half_stable_criticality(activation, k, c_w, c_b):
    """Roberts, Yaida & Hanin, The Principles of Deep Learning Theory, chapter 5: parallel and perpendicular χ are 1."""
    _, second, slope = expectations(activation, k)
    assert 1 / slope == pytest.approx(c_w, abs=6e-9 if c_b else 2e-8)
    h = 1e-4 * k
    parallel = c_w * (expectations(activation, k + h)[1] - expectations(activation, k - h)[1]) / (2 * h)
    assert parallel == pytest.approx(1, abs=1e-7)
    if c_b:
        assert k - c_w * second == pytest.approx(c_b, abs=2e-8)


def test_the_critical_sigmoid_net_neither_vanishes_nor_explodes(moons):
    scale = critical_scale("sigmoid").sigma_w ** 2
    normal = keras.initializers.VarianceScaling(scale, "fan_in")
    profile = predict_profile("sigmoid", normal, [2, *[50] * 80], moons.x_train[::5])
    np.testing.assert_allclose(profile.chi[40:-1], 1, atol=1e-3)


# Profiles: shape of the answer


def test_profile_is_relative_to_the_last_hidden_layer(moons):
    profile = predict_profile("tanh", "he_normal", [2, 30, 20, 10], moons.x_train)
    for values in (profile.delta_rms, profile.kernel_gradient_rms, profile.chi, profile.activation_second_moment):
        assert values.shape == (3,) and values.dtype == "float64"
    for name in ("delta", "kernel_gradient"):
        values, band = getattr(profile, f"{name}_rms"), getattr(profile.band, f"{name}_rms")
        assert values[-1] == 1
        assert getattr(profile, f"{name}_ratio") == values[0]
        np.testing.assert_allclose(band[:, -1], 1)
        assert getattr(profile.band, f"{name}_ratio") == (band[0, 0], band[1, 0])
        assert (band[0] <= band[1]).all()
    np.testing.assert_allclose(np.prod(profile.chi[:-1]), profile.delta_ratio**2)
    assert "kernel gradient, first hidden / last hidden layer" in repr(profile)


def test_unequal_widths_and_many_samples():
    x = np.random.default_rng(1).normal(size=(300, 3))
    widths = [3, 80, 40, 160]
    deltas, kernel_gradients, second = measure("tanh", "glorot_normal", widths, x, nets=60)
    profile = predict_profile("tanh", "glorot_normal", widths, x)
    assert profile.delta_ratio == pytest.approx(rms_ratio(deltas), rel=0.05)
    assert profile.kernel_gradient_ratio == pytest.approx(rms_ratio(kernel_gradients), rel=0.05)
    np.testing.assert_allclose(profile.activation_second_moment, second, rtol=0.08)


@pytest.mark.parametrize("residual", [False, True])
def test_the_scale_of_the_inputs_does_not_matter_to_relu(moons, residual):
    x, widths = moons.x_train[::10].astype("float64"), [2, *[10] * 4]
    usual, *others = (predict_profile("relu", "he_normal", widths, s * x, residual=residual) for s in (1, 1e-99, 1e99))
    for profile in others:
        np.testing.assert_allclose(profile.delta_rms, usual.delta_rms)
        np.testing.assert_allclose(profile.kernel_gradient_rms, usual.kernel_gradient_rms)
        np.testing.assert_allclose(profile.band.kernel_gradient_rms, usual.band.kernel_gradient_rms, rtol=1e-6)


def test_very_deep_net_does_not_underflow(moons):
    profile = predict_profile("sigmoid", "glorot_uniform", [2, *[10] * 300], moons.x_train[:4])
    assert math.log(profile.delta_rms[100]) == pytest.approx(199 * math.log(0.23605), rel=1e-3)


# Profiles against measurement

PAIRS = [
    *[("sigmoid", "glorot_uniform"), ("relu", "he_normal"), ("tanh", "he_uniform"), ("tanh", "orthogonal")],
    *[("selu", "lecun_normal"), ("leaky_relu", "he_uniform"), ("softsign", "he_normal"), ("tanh", "random_normal")],
]


@pytest.mark.parametrize(("activation", "initializer"), PAIRS)
def test_ratios_of_twelve_layers(moons, activation, initializer):
    x = moons.x_train[::20].astype("float64")
    many = (2, 40) if initializer == "orthogonal" else (150, 400)  # orthogonal nets hardly differ
    for units, nets in zip((100, 10), many, strict=True):
        profile = predict_profile(activation, initializer, [2, *[units] * 12], x)
        deltas, kernel_gradients, _ = measure(activation, initializer, [2, *[units] * 12], x, nets)
        for name, measured in (("delta_ratio", deltas), ("kernel_gradient_ratio", kernel_gradients)):
            low, high = getattr(profile.band, name)
            if units == 100:
                assert getattr(profile, name) == pytest.approx(rms_ratio(measured), rel=0.1), name
            else:
                assert low < rms_ratio(measured) < high, name


@pytest.mark.parametrize(
    ("activation", "initializer", "measured"),
    [
        ("sigmoid", "glorot_uniform", 5.28e-7),
        ("selu", "lecun_normal", 1.412),
        ("tanh", keras.initializers.RandomNormal(stddev=1.0), 4275),
        ("tanh", "glorot_uniform", 0.956),
    ],
)
def test_kernel_gradient_of_layer_2_over_layer_12(moons, activation, initializer, measured):
    """Measured once with Keras on the moons, root mean square over many draws of 100 units."""
    profile = predict_profile(activation, initializer, [2, *[100] * 12], moons.x_train)
    assert profile.kernel_gradient_rms[1] == pytest.approx(measured, rel=0.06)


# Batch normalization and residual blocks


@pytest.mark.parametrize(
    ("activation", "published"), [("relu", math.pi / (math.pi - 1)), ("sigmoid", 1.034), ("tanh", 1.1775)]
)
def test_growth_under_batch_normalization(activation, published):
    """Yang et al. 2019. The samples point in many directions; Keras's epsilon costs sigmoid 2 %."""
    mean, second, slope = expectations(activation, 1.0)
    assert slope / (second - mean**2) == pytest.approx(published, abs=5e-4)
    x = np.random.default_rng(3).normal(size=(300, 100))
    widths = [100, *[100] * 6]
    profile = predict_profile(activation, "glorot_normal", widths, x, batch_normalization=True)
    deltas, kernel_gradients, second = measure(activation, "glorot_normal", widths, x, 20, batch_normalization=True)
    growth = deltas.mean(axis=0)[:-1] / deltas.mean(axis=0)[1:]
    np.testing.assert_allclose(profile.chi[1:-1], published, rtol=0.025)
    np.testing.assert_allclose(growth[1:], profile.chi[1:-1], rtol=0.1)
    assert profile.delta_ratio == pytest.approx(rms_ratio(deltas), rel=0.1)
    assert profile.kernel_gradient_ratio == pytest.approx(rms_ratio(kernel_gradients), rel=0.1)
    np.testing.assert_allclose(profile.activation_second_moment, second, rtol=0.02)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_growth_of_residual_blocks(moons, activation):
    x = moons.x_train[::10].astype("float64")
    widths = [2, *[100] * 6]
    profile = predict_profile(activation, "he_normal", widths, x, residual=True)
    deltas, kernel_gradients, second = measure(activation, "he_normal", widths, x, 200, residual=True)
    growth = deltas.mean(axis=0)[:-1] / deltas.mean(axis=0)[1:]
    if activation == "relu":
        np.testing.assert_allclose(profile.chi[:-1], 2, rtol=1e-9)
    np.testing.assert_allclose(growth, profile.chi[:-1], rtol=0.1)
    np.testing.assert_allclose(profile.activation_second_moment, second, rtol=0.1)
    assert profile.delta_ratio == pytest.approx(rms_ratio(deltas), rel=0.12)
    assert profile.kernel_gradient_ratio == pytest.approx(rms_ratio(kernel_gradients), rel=0.12)


# The band


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
@pytest.mark.parametrize("units", [10, 50])
def test_band_holds_80_percent_of_single_nets(moons, activation, units):
    x = moons.x_train[::10].astype("float64")
    initializer = {"sigmoid": "glorot_uniform", "relu": "he_normal"}[activation]
    widths = [2, *[units] * 12]
    band = predict_profile(activation, initializer, widths, x).band
    deltas, kernel_gradients, _ = measure(activation, initializer, widths, x, 400, seed=5)
    for squares, (low, high) in ((deltas, band.delta_ratio), (kernel_gradients, band.kernel_gradient_ratio)):
        ratios = np.sqrt(squares[:, 0] / squares[:, -1])
        measured_low, measured_high = np.quantile(ratios, [0.1, 0.9])
        relative_width = math.log(high / low) / math.log(measured_high / measured_low)
        if units == 50:
            assert 0.85 < relative_width < 1.15
            assert (low, high) == pytest.approx((measured_low, measured_high), rel=0.2)
        else:  # the depth exceeds the width: far from first order in 1/n
            assert 0.75 < relative_width < 1.35
            assert (low, high) == pytest.approx((measured_low, measured_high), rel=0.7)
            assert 0.7 < np.mean((low < ratios) & (ratios < high)) < 0.9


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "linear"])
def test_band_of_residual_nets(moons, activation):
    x, widths = moons.x_train[::10].astype("float64"), [2, *[40] * 12]
    band = predict_profile(activation, "glorot_normal", widths, x, residual=True).band
    deltas, kernel_gradients, _ = measure(activation, "glorot_normal", widths, x, 400, residual=True, seed=5)
    for squares, (low, high) in ((deltas, band.delta_ratio), (kernel_gradients, band.kernel_gradient_ratio)):
        measured_low, measured_high = np.sqrt(np.quantile(squares[:, 0] / squares[:, -1], [0.1, 0.9]))
        assert 0.8 < math.log(high / low) / math.log(measured_high / measured_low) < 1.35
        assert (low, high) == pytest.approx((measured_low, measured_high), rel=0.25)


def test_orthogonal_kernels_stray_less(moons):
    for initializer, narrow in (("orthogonal", True), ("lecun_normal", False)):
        low, high = predict_profile("tanh", initializer, [2, *[10] * 12], moons.x_train).band.delta_ratio
        assert (high / low < 2) is narrow
    low, high = predict_profile("linear", "orthogonal", [2, *[10] * 12], moons.x_train).band.delta_ratio
    assert low == pytest.approx(1) and high == pytest.approx(1)


def test_band_of_linear_nets_is_that_of_chi_square_factors(moons):
    """For linear nets every layer multiplies ‖δ‖² by χ²_n/n, whose logarithm has the variance ψ'(n/2)."""
    low, high = predict_profile("linear", "lecun_normal", [2, 50, 50, 50, 50], moons.x_train).band.delta_ratio
    spread = math.sqrt(3 * polygamma(1, 25))
    assert math.log(high**2) == pytest.approx(-(spread**2) / 2 + 1.28155 * spread, rel=1e-4)
    assert math.log(low**2) == pytest.approx(-(spread**2) / 2 - 1.28155 * spread, rel=1e-4)


# The library's own nets


@pytest.mark.parametrize(
    ("activation", "options", "nets"),
    [
        ("tanh", {}, 1),
        (keras.layers.LeakyReLU(0.3), {}, 4),
        ("tanh", {"residual": True}, 4),
        ("sigmoid", {"batch_normalization": True}, 2),
    ],
)
def test_agreement_with_inspect_layers(moons, activation, options, nets):
    """Orthogonal nets hardly differ, so a few are enough."""
    x, y = moons.x_train, moons.y_train
    if options.get("batch_normalization"):
        x = np.random.default_rng(0).normal(size=(200, 60)).astype("float32")
    orthogonal = keras.initializers.Orthogonal(1.3)
    profile = predict_profile(activation, orthogonal, [x.shape[1], *[100] * 5], x, **options)
    nets = [
        vgp.build_mlp(5, 100, activation, orthogonal, input_dim=x.shape[1], seed=seed, **options)
        for seed in range(nets)
    ]
    reports = [vgp.inspect_layers(net, x, y) for net in nets]
    for name in ("delta_rms", "kernel_gradient_rms"):
        measured = np.sqrt(np.mean([np.square(getattr(report, name)[:-1]) for report in reports], axis=0))
        np.testing.assert_allclose(getattr(profile, name), measured / measured[-1], rtol=0.12, err_msg=name)
    if not options.get("batch_normalization"):  # there, what inspect_layers calls activation is that of the Dense layer
        second = np.mean([report.activation_mean[:-1] ** 2 + report.activation_std[:-1] ** 2 for report in reports], 0)
        np.testing.assert_allclose(profile.activation_second_moment, second, rtol=0.2)


# Bad input

HUGE = keras.initializers.RandomNormal(stddev=1e20)
GOOD = {"activation": "tanh", "kernel_initializer": "he_normal", "widths": [2, 5, 5], "x": np.ones((3, 2))}


@pytest.mark.parametrize(
    "activation",
    [
        *["softmax", "log_softmax", "glu", "sparsemax", keras.layers.Activation("softmax")],
        *[np.sum, lambda z: z - z.mean(axis=-1, keepdims=True)],
    ],
)
def test_activations_that_are_not_elementwise(activation):
    with pytest.raises(ValueError, match="not elementwise"):
        predict_profile(**{**GOOD, "activation": activation})


class Doubled(keras.initializers.HeNormal):
    def __call__(self, shape, dtype=None):
        return 2 * super().__call__(shape, dtype)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"activation": "rleu"}, ValueError, "'rleu'.*Keras does not know.*'relu'"),
        ({"activation": "threshold"}, TypeError, "threshold.*takes no array"),
        ({"activation": math.tanh}, TypeError, r"takes no array; give one that does: np\.tanh"),
        ({"activation": lambda z: 1 if z > 0 else 0}, TypeError, "takes no array"),
        ({"activation": keras.layers.Dropout(0.1)}, TypeError, "Dropout.*give a name"),
        ({"activation": keras.layers.ReLU(6.0)}, TypeError, "a ReLU, LeakyReLU"),
        ({"activation": keras.layers.ReLU}, TypeError, "give a name"),
        ({"activation": 3}, TypeError, "give a name"),
        ({"activation": np.sign}, ValueError, "dead for all samples.*another activation"),
        ({"kernel_initializer": "zeros"}, ValueError, "not random"),
        ({"kernel_initializer": "ones"}, ValueError, "not random"),
        ({"kernel_initializer": "identity"}, ValueError, "not random"),
        ({"kernel_initializer": keras.initializers.Constant(0.3)}, ValueError, "not random"),
        ({"kernel_initializer": keras.initializers.RandomNormal(mean=0.1)}, ValueError, "mean 0.1"),
        ({"kernel_initializer": keras.initializers.RandomUniform(0, 1)}, ValueError, "mean 0.5"),
        ({"kernel_initializer": keras.initializers.RandomNormal(stddev=0.0)}, ValueError, "not random"),
        ({"kernel_initializer": "he"}, ValueError, "'he'.*Keras does not know.*he_normal"),
        ({"kernel_initializer": lambda shape, dtype=None: np.ones(shape)}, TypeError, "VarianceScaling"),
        ({"kernel_initializer": keras.initializers.HeNormal}, TypeError, "VarianceScaling"),
        ({"kernel_initializer": None}, TypeError, "VarianceScaling"),
        ({"kernel_initializer": Doubled()}, TypeError, "variance is unknown"),
        ({"widths": 5}, ValueError, "widths is 5"),
        ({"widths": "25"}, TypeError, "widths"),
        ({"widths": [2, 5.0]}, TypeError, "widths"),
        ({"widths": [2, True]}, TypeError, "widths"),
        ({"widths": [2]}, ValueError, "widths"),
        ({"widths": [2, 0]}, ValueError, "widths"),
        ({"widths": [2, 2**70]}, ValueError, r"widths\[1\].*at most"),
        ({"widths": [2, 5, 6], "residual": True}, ValueError, "one width"),
        ({"residual": 1}, TypeError, "True or False"),
        ({"batch_normalization": "yes"}, TypeError, "True or False"),
        ({"x": np.ones((3, 4))}, ValueError, r"\(samples, 2\)"),
        ({"x": np.ones(2)}, ValueError, r"\(samples, 2\)"),
        ({"x": np.ones((0, 2))}, ValueError, "at least one sample"),
        ({"x": [["a", "b"]]}, TypeError, "numbers"),
        ({"x": [[1, 2], [3]]}, ValueError, "numbers"),
        ({"x": np.zeros((3, 2)), "activation": "relu"}, ValueError, "inputs up to 0 .*dead for all samples"),
        ({"x": np.full((3, 2), 1e200)}, ValueError, r"inputs up to 1e\+200 .*range of float64"),
        ({"widths": [2, *[5] * 9], "activation": "relu", "kernel_initializer": HUGE}, ValueError, "fewer layers"),
        ({"x": np.full((3, 2), np.nan)}, ValueError, "nan"),
        ({"x": np.ones((1, 2)), "batch_normalization": True}, ValueError, "one sample"),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        predict_profile(**{**GOOD, **change})


def test_an_initializer_of_other_axes():
    initializer = keras.initializers.HeNormal()
    initializer.input_axes = [1]  # as in HeNormal(input_axes=[1]), which older versions of Keras do not know
    with pytest.raises(TypeError, match="variance is unknown"):
        kernel_variance(initializer, 3, 5)


def test_no_critical_scale():
    with pytest.raises(ValueError, match="critical at no scale"):
        critical_scale("softplus")


def test_a_function_with_a_kink_at_zero_is_as_critical_as_relu():
    """However small z is, the central difference must not smear the kink."""
    assert critical_scale(lambda z: np.maximum(z, 0)) == pytest.approx((math.sqrt(2), 1.0), rel=1e-9)


@pytest.mark.parametrize("name", ["hard_tanh", "relu6", "tanh"])
def test_an_activation_that_is_critical_only_at_zero_says_so(name):
    assert critical_scale(name) == pytest.approx((math.sqrt(2) if name == "relu6" else 1.0, 0.0), abs=1e-9)
