"""inspect_layers and its relatives: against back-propagation by hand, differences and automatic differentiation."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import kernels, tape_gradients
from keras import layers

import vgp_lib as vgp
from vgp_lib.engine import _backpropagation
from vgp_lib.engine._backpropagation import Backpropagation, l2_norm
from vgp_lib.layers import LayerReport, first_nonfinite

# inspect_layers against back-propagation by hand

SLOPES = {
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z))) ** 2),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype("float64")),
}
FIELDS = [
    "activation_mean",
    "activation_std",
    "sample_spread",
    "saturated",
    "dead",
    "delta_rms",
    "kernel_gradient_norm",
    "kernel_gradient_rms",
]


def sigmoid(z):
    return 1 / (1 + np.exp(-np.clip(z, -700, 700)))


def summary(a, z_slope, activation, delta):
    """Reduce one dense layer's samples (rows) to the numbers of a report; `a` is its input."""
    gradients = np.einsum("si,sj->sij", a, delta)  # every sample's own part
    return {
        "activation_mean": activation.mean(),
        "activation_std": activation.std(),
        "sample_spread": np.sqrt((activation.std(axis=0) ** 2).mean()),
        "saturated": (z_slope < 0.01).mean(),
        "dead": (activation == 0).all(axis=0).mean(),
        "delta_rms": np.sqrt((delta**2).sum(axis=1).mean()),
        "kernel_gradient_norm": np.linalg.norm(gradients.mean(axis=0)),
        "kernel_gradient_rms": np.sqrt((gradients**2).sum(axis=(1, 2)).mean()),
    }


def backpropagate(model, x, y, activation, residual=False):
    """Back-propagate binary cross-entropy through a net of build_mlp, in float64; return one dict per layer."""
    phi, slope = SLOPES[activation]
    weights = [[w.astype("float64") for w in layer.get_weights()] for layer in model.layers if layer.get_weights()]
    h, stack = x.astype("float64"), []
    for index, (kernel, bias) in enumerate(weights[:-1]):
        z = h @ kernel + bias
        stack.append((h, z))
        h = h + phi(z) if residual and index > 0 else phi(z)
    logit = h @ weights[-1][0] + weights[-1][1]
    delta = sigmoid(logit) - y.reshape(-1, 1)
    table = [summary(h, sigmoid(logit) * (1 - sigmoid(logit)), sigmoid(logit), delta)]
    into = delta @ weights[-1][0].T  # dL/dh, from above
    for index in reversed(range(len(stack))):
        h, z = stack[index]
        delta = into * slope(z)
        table.append(summary(h, slope(z), phi(z), delta))
        into = delta @ weights[index][0].T + (into if residual and index > 0 else 0)
    return table[::-1]


def assert_report(report, table, rtol=1e-4):
    for field in FIELDS:
        expected = [row[field] for row in table]
        np.testing.assert_allclose(getattr(report, field), expected, rtol=rtol, atol=1e-7, err_msg=field)


@pytest.fixture(scope="module")
def batch(moons):
    return moons.x_train[:24], moons.y_train[:24]


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize(("activation", "scale"), [("sigmoid", 2.5), ("tanh", 1.0), ("relu", 0.5)])
def test_report_agrees_with_numpy_back_propagation(batch, activation, scale, residual):
    x, y = batch
    model = vgp.build_mlp(hidden_layers=4, units=8, activation=activation, residual=residual)
    random = np.random.default_rng(5)
    model.set_weights([random.normal(0, scale, w.shape) for w in model.get_weights()])
    model.get_layer("output").set_weights([random.normal(0, 0.1, (8, 1)), np.zeros(1)])
    kernel, bias = model.get_layer("hidden_2").get_weights()
    killing = -100 if activation == "relu" else 0
    model.get_layer("hidden_2").set_weights([kernel, np.where(np.arange(8) == 3, killing, bias)])
    table = backpropagate(model, x, y, activation, residual)
    assert 0 < table[1]["saturated"] < 1
    assert (table[1]["dead"] >= 1 / 8) == (activation == "relu")
    report = vgp.inspect_layers(model, x, y)
    assert_report(report, table)
    assert report.names == ["hidden_1", "hidden_2", "hidden_3", "hidden_4", "output"]
    assert report.gradient_ratio == pytest.approx(table[0]["kernel_gradient_rms"] / table[3]["kernel_gradient_rms"])
    assert report.delta_ratio == pytest.approx(table[0]["delta_rms"] / table[3]["delta_rms"])


def test_report_holds_one_float64_per_layer(batch):
    report = vgp.inspect_layers(vgp.build_mlp(hidden_layers=2), *batch)
    for field in FIELDS:
        assert getattr(report, field).shape == (3,) and getattr(report, field).dtype == np.float64


def test_delta_agrees_with_central_differences(batch):
    x, y = batch
    net = [layers.Dense(4, "tanh", dtype="float64"), layers.Dense(3, "sigmoid", dtype="float64")]
    model = keras.Sequential([keras.Input((2,), dtype="float64"), *net, layers.Dense(1, "sigmoid", dtype="float64")])
    weights = [layer.get_weights() for layer in model.layers]

    def losses(bumped, unit, step):
        """Each sample's loss when z of one unit moves by a step in all of them."""
        h = x.astype("float64")
        for index, ((kernel, bias), phi) in enumerate(zip(weights, (np.tanh, sigmoid, sigmoid), strict=True)):
            z = h @ kernel + bias
            if index == bumped:
                z[:, unit] += step
            h = phi(z)
        return -np.where(y == 1, np.log(h[:, 0]), np.log(1 - h[:, 0]))

    report = vgp.inspect_layers(model, x.astype("float64"), y)
    for index, units in enumerate((4, 3, 1)):
        delta = np.array([(losses(index, j, 1e-5) - losses(index, j, -1e-5)) / 2e-5 for j in range(units)])
        assert report.delta_rms[index] == pytest.approx(np.sqrt((delta**2).sum(axis=0).mean()), rel=1e-8)


def test_weight_times_gradient_is_one_number_along_a_chain_of_single_relus(batch):
    model = vgp.build_mlp(6, units=1, activation="relu", kernel_initializer="random_normal", input_dim=1)
    model.set_weights(
        [np.full((1, 1), 0.5 + index) if w.ndim == 2 else w for index, w in enumerate(model.get_weights())]
    )
    report = vgp.inspect_layers(model, np.abs(batch[0][:, :1]), batch[1])
    products = report.kernel_gradient_norm * [abs(kernel.item()) for kernel in kernels(model)]
    np.testing.assert_allclose(products, products[0], rtol=1e-5)


def test_simple_rnn_agrees_with_back_propagation_through_time():
    x, y = normal(6, 5, 3), np.array([0, 1, 1, 0, 1, 0.0])
    model = sequential(layers.SimpleRNN(4, bias_initializer="normal"), layers.Dense(1, "sigmoid"), shape=(5, 3))
    kernel, recurrent, bias, head, head_bias = (3 * w.astype("float64") for w in model.get_weights())
    model.set_weights([kernel, recurrent, bias, head, head_bias])
    states = [np.zeros((6, 4))]
    for t in range(5):
        states.append(np.tanh(x[:, t] @ kernel + states[-1] @ recurrent + bias))
    into = (sigmoid(states[-1] @ head + head_bias) - y[:, None]) @ head.T
    deltas = []
    for state in reversed(states[1:]):
        deltas.append(into * (1 - state**2))
        into = deltas[-1] @ recurrent.T
    deltas = np.stack(deltas[::-1], axis=1)  # (samples, steps, units)
    gradients = np.einsum("sti,stj->sij", x, deltas)
    report = vgp.inspect_layers(model, x, y)
    slopes = 1 - np.stack(states[1:]) ** 2
    assert 0 < (slopes < 0.01).mean() < 1
    expected = {
        "activation_mean": states[-1].mean(),
        "activation_std": states[-1].std(),
        "sample_spread": np.sqrt((states[-1].std(axis=0) ** 2).mean()),
        "saturated": (slopes < 0.01).mean(),
        "dead": 0,
        "delta_rms": np.sqrt((deltas**2).sum(axis=(1, 2)).mean()),
        "kernel_gradient_norm": np.linalg.norm(gradients.mean(axis=0)),
        "kernel_gradient_rms": np.sqrt((gradients**2).sum(axis=(1, 2)).mean()),
    }
    assert {field: getattr(report, field)[0] for field in FIELDS} == pytest.approx(expected, rel=1e-4)


# inspect_layers against automatic differentiation


def normal(*shape):
    return np.random.default_rng(2).normal(size=shape).astype("float32")


def sequential(*stack, shape, batch=None):
    return keras.Sequential([keras.Input(shape, batch), *stack])


def head():
    return layers.Dense(1, "sigmoid", name="head")


class Scaled(layers.Layer):
    """A custom layer with a kernel and, on request, an activation."""

    def __init__(self, units, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        if activation:
            self.activation = keras.activations.get(activation)

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), initializer="glorot_uniform")

    def call(self, inputs):
        z = 2 * keras.ops.matmul(inputs, self.kernel)
        return self.activation(z) if hasattr(self, "activation") else z


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = head()  # constructed first, called last
        self.blocks = [layers.Dense(4, "tanh"), layers.Dense(3, "relu")]

    def call(self, inputs):
        for block in self.blocks:
            inputs = block(inputs)
        return self.head(inputs)


ARCHITECTURES = {}


def architecture(function):
    ARCHITECTURES[function.__name__] = function
    return function


@architecture
def dense():
    stack = [layers.Dense(5, "tanh"), layers.Dense(4, "sigmoid"), head()]
    return sequential(*stack, shape=(3,)), stack, normal(4, 3)


@architecture
def dense_on_sequences():
    stack = [layers.Dense(4, "tanh"), layers.Dense(3), layers.Flatten(), head()]
    return sequential(*stack, shape=(5, 2)), [stack[0], stack[1], stack[3]], normal(4, 5, 2)


@architecture
def functional_built_in_another_order():
    last, first = head(), layers.Dense(4, "relu")
    left, right = layers.Dense(3, "tanh"), layers.Dense(2, "elu")
    inputs = keras.Input((3,))
    h = first(inputs)
    a = left(h)
    merged = layers.Concatenate()([a, right(a), h])
    return keras.Model(inputs, last(merged)), [first, left, right, last], normal(4, 3)


@architecture
def nested_models():
    stack = [layers.Dense(4, "tanh"), layers.Dense(3, "tanh"), layers.Dense(3, "relu"), head()]
    inner = sequential(stack[1], shape=(4,))
    inputs = keras.Input((4,))
    middle = keras.Model(inputs, layers.Add()([inputs, layers.Dense(4)(inner(inputs))]))
    extra = middle.layers[2]
    return sequential(stack[0], middle, stack[2], stack[3], shape=(3,)), [*stack[:2], extra, *stack[2:]], normal(4, 3)


@architecture
def subclassed():
    model, x = Subclassed(), normal(4, 3)
    model(x)
    return model, [*model.blocks, model.head], x


@architecture
def custom_layers_with_a_kernel():
    stack = [Scaled(4), layers.ReLU(), Scaled(3, "tanh"), head()]
    return sequential(*stack, shape=(3,)), [stack[0], stack[2], stack[3]], normal(4, 3)


@architecture
def shared_layer():
    shared, last = layers.Dense(3, "tanh"), head()
    inputs = keras.Input((3,))
    return keras.Model(inputs, last(shared(shared(inputs)))), [shared, last], normal(4, 3)


@architecture
def separate_activations():
    kinds = [layers.Activation("tanh"), layers.ReLU(), layers.LeakyReLU(0.1), layers.PReLU("ones"), layers.ELU()]
    denses = [layers.Dense(4) for _ in kinds]
    stack = [layer for pair in zip(denses, kinds, strict=True) for layer in pair]
    last = layers.Dense(1)
    model = sequential(*stack, last, layers.Activation("sigmoid"), shape=(3,))
    return model, [*denses, last], normal(4, 3)


@architecture
def activation_layers_inside_dense():
    stack = [layers.Dense(4, layers.LeakyReLU(0.1)), layers.Dense(4, layers.PReLU("ones")), head()]
    return sequential(*stack, shape=(3,)), stack, normal(4, 3)


@architecture
def conv1d():
    stack = [layers.Conv1D(4, 3, 2, "same", activation="tanh"), layers.MaxPooling1D(2), layers.Flatten(), head()]
    return sequential(*stack, shape=(8, 2)), [stack[0], stack[3]], normal(4, 8, 2)


@architecture
def conv2d():
    first, second, last = layers.Conv2D(3, 2, activation="tanh"), layers.Conv2D(2, (1, 3), padding="same"), head()
    stack = [first, layers.BatchNormalization(trainable=False), second, layers.ReLU()]
    model = sequential(*stack, layers.GlobalAveragePooling2D(), last, shape=(5, 4, 2))
    return model, [first, second, last], normal(4, 5, 4, 2)


@architecture
def depthwise_and_transposed_conv2d():
    stack = [layers.DepthwiseConv2D(2, depth_multiplier=2, activation="tanh"), layers.Conv2DTranspose(2, 2), head()]
    model = sequential(*stack[:2], layers.Flatten(), stack[2], shape=(4, 4, 2))
    return model, stack, normal(4, 4, 4, 2)


@architecture
def simple_rnn():
    stack = [layers.SimpleRNN(4, return_sequences=True), layers.SimpleRNN(3, activation="relu"), head()]
    return sequential(*stack, shape=(5, 2)), stack, normal(4, 5, 2)


@architecture
def lstm():
    stack = [layers.LSTM(4, return_sequences=True), layers.LSTM(3), head()]
    return sequential(*stack, shape=(5, 2)), stack, normal(4, 5, 2)


@architecture
def gru():
    stack = [layers.GRU(4, return_sequences=True), layers.GRU(3, reset_after=False, go_backwards=True), head()]
    return sequential(*stack, shape=(5, 2)), stack, normal(4, 5, 2)


@architecture
def masked_lstm():
    stack = [layers.LSTM(4), head()]
    x = normal(4, 5, 2)
    x[1, 3:] = x[2, 1:] = 0
    return sequential(layers.Masking(), *stack, shape=(5, 2)), stack, x


@architecture
def bidirectional():
    both = layers.Bidirectional(layers.GRU(3))
    model = sequential(both, head(), shape=(5, 2))
    return model, [both.forward_layer, both.backward_layer, model.layers[-1]], normal(4, 5, 2)


@architecture
def time_distributed():
    inner, last = layers.Dense(4, "tanh"), head()
    return (
        sequential(layers.TimeDistributed(inner), layers.Flatten(), last, shape=(5, 2)),
        [inner, last],
        normal(4, 5, 2),
    )


@architecture
def attention():
    heads, last = layers.MultiHeadAttention(2, 3), head()
    inputs = keras.Input((5, 2))
    model = keras.Model(inputs, last(layers.Flatten()(heads(inputs, inputs))))
    return model, [heads.query_dense, heads.key_dense, heads.value_dense, heads.output_dense, last], normal(4, 5, 2)


# Here a sample's output depends on the others, or on chance: there is no "one sample at a time".
TOGETHER = {}


def together(function):
    TOGETHER[function.__name__] = function
    return function


@together
def batch_normalization():
    net = vgp.build_mlp(3, units=4, batch_normalization=True, input_dim=3)
    return net, [net.get_layer(name) for name in ("hidden_1", "hidden_2", "hidden_3", "output")], normal(4, 3)


@together
def dropout():
    # inspect_layers forgets the drawn masks, so the tape draws the same ones after it.
    stack = [layers.Dense(8, "tanh"), layers.Dropout(0.5), layers.Dense(8, "tanh"), layers.GaussianNoise(0.5), head()]
    return sequential(*stack, shape=(3,)), stack[::2], normal(4, 3)


Y = np.array([1, 0, 0, 1], dtype="float32")


def kernel_of(layer):
    return (layer.cell if isinstance(layer, layers.RNN) else layer).kernel.value


@pytest.mark.parametrize("build", (ARCHITECTURES | TOGETHER).values(), ids=ARCHITECTURES | TOGETHER)
def test_kernel_gradient_norm_is_that_of_automatic_differentiation(build):
    model, kernel_layers, x = build()
    report = vgp.inspect_layers(model, x, Y)
    tape = tape_gradients(model, [kernel_of(layer) for layer in kernel_layers], x, Y)
    assert report.names == [layer.name for layer in kernel_layers]
    np.testing.assert_allclose(report.kernel_gradient_norm, [np.linalg.norm(g) for g in tape], rtol=1e-4)


@pytest.mark.parametrize("build", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_rms_is_that_of_one_sample_at_a_time(build):
    model, kernel_layers, x = build()
    report = vgp.inspect_layers(model, x[:2], Y[:2])
    samples = (x[:1], Y[:1]), (x[1:2], Y[1:2])
    singles = [vgp.inspect_layers(model, *sample) for sample in samples]
    variables = [kernel_of(layer) for layer in kernel_layers]
    tapes = [[np.linalg.norm(g) for g in tape_gradients(model, variables, *sample)] for sample in samples]

    def rms(rows):
        return np.sqrt(np.square(rows).mean(axis=0))

    np.testing.assert_allclose(report.kernel_gradient_rms, rms(tapes), rtol=1e-4)
    np.testing.assert_allclose(report.delta_rms, rms([single.delta_rms for single in singles]), rtol=1e-4)
    means = np.mean([single.activation_mean for single in singles], axis=0)
    np.testing.assert_allclose(report.activation_mean, means, rtol=1e-4, atol=1e-6)


WITH_IDENTITY = {
    "dense": (lambda: layers.Dense(6, "tanh"), (6,)),
    "dense on sequences": (lambda: layers.Dense(6, "tanh"), (4, 6)),
    "dense, separate activation": (lambda: sequential(layers.Dense(6), layers.ReLU(), shape=(6,)), (6,)),
    "conv1d": (lambda: layers.Conv1D(6, 1, activation="tanh"), (4, 6)),
    "conv2d": (lambda: layers.Conv2D(6, 1, activation="tanh"), (2, 2, 6)),
    "simple rnn": (lambda: layers.SimpleRNN(6), (4, 6)),
    "simple rnn, all steps": (lambda: layers.SimpleRNN(6, return_sequences=True), (4, 6)),
    "lstm": (lambda: layers.LSTM(2), (4, 8)),
    "gru": (lambda: layers.GRU(2), (4, 6)),
    "gru, reset before": (lambda: layers.GRU(2, reset_after=False), (4, 6)),
    "time distributed": (lambda: layers.TimeDistributed(layers.Dense(6, "tanh")), (4, 6)),
}


@pytest.mark.parametrize(("make", "shape"), WITH_IDENTITY.values(), ids=WITH_IDENTITY)
def test_delta_is_the_input_gradient_where_the_kernel_is_the_identity(make, shape):
    layer, x = make(), normal(4, *shape)
    model = sequential(layer, layers.Flatten(), head(), shape=shape)
    first, *others = layer.get_weights()
    layer.set_weights([np.eye(shape[-1]).reshape(first.shape), *others])
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = tf.reduce_sum(keras.losses.binary_crossentropy(Y[:, None], model(inputs, training=True)))
    norms = np.linalg.norm(np.asarray(tape.gradient(value, inputs)).reshape(4, -1), axis=1)
    assert vgp.inspect_layers(model, x, Y).delta_rms[0] == pytest.approx(np.sqrt((norms**2).mean()), rel=1e-4)


# Activations


def leaky(z):
    return keras.activations.leaky_relu(z, 0.3)


SEPARATE = {
    "Activation": ("tanh", lambda: layers.Activation("tanh")),
    "ReLU": ("relu", layers.ReLU),
    "LeakyReLU": (leaky, lambda: layers.LeakyReLU(0.3)),
    "PReLU": (leaky, lambda: layers.PReLU(keras.initializers.Constant(0.3))),
    "ELU": ("elu", layers.ELU),
    "Softmax": ("softmax", layers.Softmax),
}


def two_dense(inside, after):
    """Two hidden layers and an output, with the same weights at each call."""
    keras.utils.set_random_seed(1)
    stack = [
        layers.Dense(4, inside(), bias_initializer="normal"),
        *after(),
        layers.Dense(4, inside()),
        *after(),
        head(),
    ]
    return sequential(*stack, shape=(3,))


def assert_same_numbers(one, other):
    for field in FIELDS:
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=1e-5, err_msg=field)


@pytest.mark.parametrize(("activation", "layer"), SEPARATE.values(), ids=SEPARATE)
def test_separate_activation_layer_is_reported_as_the_dense_layers_own(activation, layer):
    x = 8 * normal(4, 3)
    own = vgp.inspect_layers(two_dense(lambda: activation, lambda: []), x, Y)
    assert_same_numbers(vgp.inspect_layers(two_dense(lambda: None, lambda: [layer()]), x, Y), own)


@pytest.mark.parametrize(("activation", "layer"), [SEPARATE["LeakyReLU"], SEPARATE["ReLU"]], ids=["LeakyReLU", "ReLU"])
def test_activation_layer_given_to_dense_is_reported_as_the_dense_layers_own(activation, layer):
    own = vgp.inspect_layers(two_dense(lambda: activation, lambda: []), normal(4, 3), Y)
    assert_same_numbers(vgp.inspect_layers(two_dense(layer, lambda: []), normal(4, 3), Y), own)


def test_activations_of_parallel_branches_go_to_their_own_layers():
    left, right = layers.Dense(4, name="left"), layers.Dense(4, name="right")
    inputs, x = keras.Input((3,)), normal(4, 3)
    merged = layers.Add()([layers.Activation("sigmoid")(left(inputs)), layers.ReLU()(right(inputs))])
    report = vgp.inspect_layers(keras.Model(inputs, head()(merged)), x, Y)
    expected = {"left": sigmoid(np.asarray(left(x))).mean(), "right": np.maximum(right(x), 0).mean()}
    assert dict(zip(report.names[:2], report.activation_mean[:2], strict=True)) == pytest.approx(expected, rel=1e-5)


def test_activation_after_batch_normalization_is_that_of_the_batch():
    model, x = vgp.build_mlp(2, units=4, activation="relu", batch_normalization=True, seed=1), normal(16, 2)
    z = x.astype("float64") @ model.get_layer("hidden_1").get_weights()[0]
    normalized = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-3)
    report = vgp.inspect_layers(model, x, np.arange(16) % 2)
    assert report.activation_mean[0] == pytest.approx(np.maximum(normalized, 0).mean(), rel=1e-4)
    assert report.activation_std[0] == pytest.approx(np.maximum(normalized, 0).std(), rel=1e-4)
    assert report.saturated[0] == pytest.approx((normalized <= 0).mean())


def test_saturation_is_not_defined_for_softmax():
    model = sequential(layers.Dense(4, "tanh"), layers.Dense(3, "softmax"), shape=(3,))
    report = vgp.inspect_layers(model, normal(4, 3), np.array([0, 2, 1, 0]), "sparse_categorical_crossentropy")
    assert np.isnan(report.saturated).tolist() == [False, True]


def test_saturation_asks_how_steep_not_whether_up_or_down():
    up, down = (two_dense(lambda sign=sign: lambda z: sign * tf.tanh(z), lambda: []) for sign in (1, -1))
    x = 4 * normal(4, 3)
    share = vgp.inspect_layers(up, x, Y).saturated[0]
    assert 0 < share < 1 and vgp.inspect_layers(down, x, Y).saturated[0] == share


def test_dead_units_give_zero_for_all_samples():
    model = sequential(layers.Dense(4, "relu", name="half"), head(), shape=(1,))
    model.layers[0].set_weights([np.array([[1.0, 1, 1, 1]]), np.array([0.0, -2.5, -4, -5])])
    report = vgp.inspect_layers(model, np.array([[1.0], [2], [3]]), np.array([0, 1, 1]))
    assert report.dead.tolist() == [0.5, 0]
    assert report.saturated[0] == pytest.approx(8 / 12)


# Norms that neither underflow nor overflow


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e-22, 1.0, 1e170, 1e300])
def test_l2_norm_at_any_scale(scale):
    assert l2_norm([3 * scale, -4 * scale, 0]) == pytest.approx(5 * scale, rel=1e-14, abs=0)
    assert l2_norm(np.full((3, 3), scale)) == pytest.approx(3 * scale, rel=1e-14, abs=0)


@pytest.mark.parametrize(
    ("values", "norm"), [([0.0, 0.0], 0), ([], 0), ([1.0, math.inf], math.inf), ([-math.inf], math.inf)]
)
def test_l2_norm_at_its_limits(values, norm):
    assert l2_norm(values) == norm


def test_l2_norm_of_nan_is_nan():
    assert math.isnan(l2_norm([1.0, math.nan]))


def test_sixty_sigmoid_layers_still_have_a_gradient(batch):
    model = vgp.build_mlp(hidden_layers=60, activation="sigmoid", seed=1)
    table = backpropagate(model, *batch, "sigmoid")
    expected = np.array([row["kernel_gradient_norm"] for row in table])
    seen = expected > 1e-30  # float32 itself ends at 1e-38, and a delta is smaller than its norm
    assert (expected[seen] < 1e-24).sum() >= 5  # the squares of these are 0 in float32
    report = vgp.inspect_layers(model, *batch)
    for field in ("delta_rms", "kernel_gradient_norm", "kernel_gradient_rms"):
        expected = np.array([row[field] for row in table])
        np.testing.assert_allclose(getattr(report, field)[seen], expected[seen], rtol=1e-3, err_msg=field)


def test_exploding_gradients_are_measured_beyond_the_square_root_of_float32(batch):
    x, y = batch
    wide = keras.initializers.RandomNormal(stddev=2.0)
    model = vgp.build_mlp(38, activation="relu", kernel_initializer=wide, output_activation="linear", seed=1)
    table = backpropagate(model, x, y, "relu")
    assert 1e20 < min(row["kernel_gradient_rms"] for row in table) < 1e35
    report = vgp.inspect_layers(model, x, y, keras.losses.BinaryCrossentropy(from_logits=True))
    for field in ("delta_rms", "kernel_gradient_norm", "kernel_gradient_rms"):
        np.testing.assert_allclose(getattr(report, field), [row[field] for row in table], rtol=1e-3, err_msg=field)


def test_overflown_net_is_reported_as_such_without_warnings(batch):
    model = vgp.build_mlp(4, activation="relu", kernel_initializer=keras.initializers.Constant(1e15))
    report = vgp.inspect_layers(model, *batch, loss="mse")
    assert not np.isfinite(report.activation_mean).all()
    assert "layer" in repr(report)


# Losses

FORMS = {
    "short name": "bce",
    "class name": "BinaryCrossentropy",
    "object": keras.losses.BinaryCrossentropy(),
    "class": keras.losses.BinaryCrossentropy,
    "function": keras.losses.binary_crossentropy,
    "own function": lambda y, p: -(y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p)),
    "not reduced": keras.losses.BinaryCrossentropy(reduction="none"),
    "summed": keras.losses.BinaryCrossentropy(reduction="sum"),
}


@pytest.mark.parametrize("loss", FORMS.values(), ids=FORMS)
def test_a_loss_in_any_form_is_the_same_mean_over_the_samples(batch, loss):
    model = vgp.build_mlp(3, activation="tanh", seed=1)
    assert_same_numbers(vgp.inspect_layers(model, *batch, loss), vgp.inspect_layers(model, *batch))


def test_mean_squared_error_against_its_derivative(batch):
    x, y = batch
    model = vgp.build_mlp(2, activation="tanh", output_activation="linear", seed=1)
    error = np.asarray(model(x))[:, 0] - y
    delta_rms = vgp.inspect_layers(model, x, y, "mse").delta_rms[-1]
    assert delta_rms == pytest.approx(np.sqrt(((2 * error) ** 2).mean()), rel=1e-5)


def test_mean_squared_error_of_many_outputs_is_their_mean():
    x, y = normal(4, 3), normal(4, 5)
    model = sequential(layers.Dense(5), shape=(3,))
    delta = 2 / 5 * (np.asarray(model(x)) - y)
    expected = np.sqrt((delta**2).sum(axis=1).mean())
    assert vgp.inspect_layers(model, x, y, "mse").delta_rms[0] == pytest.approx(expected, rel=1e-5)


def three_classes(activation):
    keras.utils.set_random_seed(3)
    return sequential(layers.Dense(5, "tanh"), layers.Dense(3, activation), shape=(3,))


CATEGORICAL = {
    "categorical": ("softmax", "categorical_crossentropy", False),
    "sparse": ("softmax", "sparse_categorical_crossentropy", True),
    "sparse object": ("softmax", keras.losses.SparseCategoricalCrossentropy(), True),
    "logits": (None, keras.losses.CategoricalCrossentropy(from_logits=True), False),
    "sparse logits": (None, keras.losses.SparseCategoricalCrossentropy(from_logits=True), True),
}


@pytest.mark.parametrize(("activation", "loss", "sparse"), CATEGORICAL.values(), ids=CATEGORICAL)
@pytest.mark.parametrize("column", [False, True])
def test_categorical_losses_have_the_delta_p_minus_y(activation, loss, sparse, column):
    x, labels = normal(4, 3), np.array([0, 2, 1, 2])
    one_hot = np.eye(3)[labels]
    delta = np.asarray(three_classes("softmax")(x)) - one_hot
    y = (labels[:, None] if column else labels) if sparse else one_hot
    report = vgp.inspect_layers(three_classes(activation), x, y, loss)
    assert report.delta_rms[-1] == pytest.approx(np.sqrt((delta**2).sum(axis=1).mean()), rel=1e-4)


def test_logits_and_probabilities_give_the_same_deltas(batch):
    probabilities = vgp.build_mlp(3, activation="tanh", seed=1)
    logits = vgp.build_mlp(3, activation="tanh", output_activation="linear", seed=1)
    one = vgp.inspect_layers(probabilities, *batch)
    other = vgp.inspect_layers(logits, *batch, keras.losses.BinaryCrossentropy(from_logits=True))
    for field in ("delta_rms", "kernel_gradient_norm", "kernel_gradient_rms"):
        np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=1e-4)


@pytest.mark.parametrize("loss", ["binary_crossentropy", "mse", keras.losses.Huber(), lambda y, p: tf.abs(y - p)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_targets_may_be_a_row_or_a_column_of_any_number_type(batch, loss, dtype):
    x, y = batch
    model = vgp.build_mlp(2, activation="tanh", seed=1)
    expected = vgp.inspect_layers(model, x, y, loss)
    assert_same_numbers(vgp.inspect_layers(model, x, y.astype(dtype), loss), expected)
    assert_same_numbers(vgp.inspect_layers(model, x, y.astype(dtype)[:, None], loss), expected)


def test_lists_and_tensors_serve_as_data(batch):
    x, y = batch
    model = vgp.build_mlp(2, seed=1)
    expected = vgp.inspect_layers(model, x, y)
    assert_same_numbers(vgp.inspect_layers(model, x.tolist(), y.tolist()), expected)
    assert_same_numbers(vgp.inspect_layers(model, tf.constant(x), tf.constant(y)), expected)


# The model is left as it was


class Counting(layers.Layer):
    """A layer with a kernel that counts its calls, as a step counter or a spectral normalization would."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3), initializer="ones")
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.count.assign(self.count + 1)
        return keras.ops.matmul(inputs, self.kernel)


class Breaking(layers.Layer):
    def call(self, inputs, training=False):
        if training:
            raise RuntimeError("broken layer")
        return inputs


def stateful_model(*more):
    return sequential(
        layers.LSTM(4, dropout=0.3, recurrent_dropout=0.3, return_sequences=True),
        layers.GaussianNoise(0.1),
        layers.Conv1D(3, 2, activation="relu"),
        layers.Bidirectional(layers.SimpleRNN(3)),
        layers.Dense(4),
        layers.BatchNormalization(),
        layers.Activation("tanh"),
        layers.Dropout(0.5),
        *more,
        head(),
        shape=(5, 2),
    )


def parts(model):
    """Every layer, with the cells and layers inside recurrent ones."""
    found = []
    for layer in model.layers:
        inside = [layer.forward_layer, layer.backward_layer] if isinstance(layer, layers.Bidirectional) else [layer]
        found += [layer, *inside, *(each.cell for each in inside if isinstance(each, layers.RNN))]
    return found


def state_of(model):
    values = [variable.numpy().copy() for variable in model.variables]
    attributes = [(list(map(str, sorted(vars(part)))), id(vars(part).get("activation"))) for part in parts(model)]
    rates = [vars(part).get("dropout") for part in parts(model)]
    return values, attributes, rates


def assert_same_state(one, other):
    for before, after in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(before, after)
    assert one[1:] == other[1:]


def test_a_training_pass_does_change_the_state_that_is_compared_here():
    model = stateful_model()
    before = state_of(model)[0]
    model(normal(4, 5, 2), training=True)
    changed = [not np.array_equal(old, new) for old, new in zip(before, state_of(model)[0], strict=True)]
    names = {variable.path.split("/")[-1] for variable, moved in zip(model.variables, changed, strict=True) if moved}
    assert names == {"moving_mean", "moving_variance", "seed_generator_state"}


def test_model_is_left_untouched():
    model, x = stateful_model(), normal(4, 5, 2)
    prediction = np.asarray(model(x))  # first, since Keras's LSTM draws its dropout masks even here
    before = state_of(model)
    vgp.inspect_layers(model, x, Y)
    assert_same_state(before, state_of(model))
    np.testing.assert_array_equal(model(x), prediction)


PARTS = {
    "convolutions": (
        [layers.Conv2D(3, 3, activation="tanh"), layers.MaxPooling2D(), layers.Conv2D(4, 2), layers.ReLU(),
         layers.Flatten(), layers.Dense(5, "relu"), layers.Dense(1, "sigmoid")], (8, 8, 2), "mse"),
    "recurrent": ([layers.LSTM(3, return_sequences=True), layers.SimpleRNN(4), layers.Dense(3, "softmax")], (6, 2),
                  "sparse_categorical_crossentropy"),
    "positions": (
        [layers.Dense(40, "relu"), layers.LayerNormalization(), layers.Flatten(), layers.Dense(1)], (5, 3), "mse"),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "shape", "loss"), PARTS.values(), ids=PARTS)
def test_what_is_measured_part_by_part_gives_the_same_numbers(monkeypatch, parts, shape, loss):
    model, x, y = sequential(*parts, shape=shape), normal(11, *shape), np.arange(11) % 3 % 2
    model.compile("sgd", lambda y, answer: keras.ops.mean(answer, axis=-1))
    model.fit(x, y, verbose=0)  # what they leave behind in a model does not keep its samples together
    whole = vgp.inspect_layers(model, x, y, loss)
    sizes, measure = [], Backpropagation._measure
    monkeypatch.setattr(
        Backpropagation, "_measure", lambda run, *args: sizes.append(run.samples) or measure(run, *args)
    )
    monkeypatch.setattr(_backpropagation, "_BYTES", 2000)  # less than three samples of each take
    found = vgp.inspect_layers(model, x, y, loss)
    assert sizes[0] == 1 < len(sizes[1:]) and sum(sizes[1:]) == 11
    assert_same_numbers(whole, found)


class AwayFromTheFirst(layers.Layer):
    def call(self, inputs):
        return inputs - inputs[:1]


TOGETHER = {
    "batch normalization": (layers.BatchNormalization, "mse"),
    "layer of one's own": (AwayFromTheFirst, "mse"),
    "Lambda": (lambda: layers.Lambda(lambda h: h - keras.ops.mean(h, axis=0)), "mse"),
    "loss of the whole batch": (lambda: layers.Activation("tanh"), "dice"),
    "loss object of the whole batch": (lambda: layers.Activation("tanh"), keras.losses.Tversky()),
}


@pytest.mark.parametrize(("part", "loss"), TOGETHER.values(), ids=TOGETHER)
def test_samples_that_may_act_on_each_other_are_measured_together(monkeypatch, part, loss):
    model, x = sequential(layers.Dense(4, "tanh"), part(), layers.Dense(1, "sigmoid"), shape=(3, 2)), normal(8, 3, 2)
    y = np.abs(x[:, :, :1]) % 1
    whole = vgp.inspect_layers(model, x, y, loss)
    monkeypatch.setattr(_backpropagation, "_BYTES", 1)
    assert_same_numbers(whole, vgp.inspect_layers(model, x, y, loss))


def test_each_part_of_the_samples_gets_a_dropout_of_its_own(monkeypatch):
    model = sequential(layers.Dense(20, "tanh"), layers.Dropout(0.5), layers.Flatten(), layers.Dense(1), shape=(3, 2))
    x = np.ones((6, 3, 2))  # equal samples: with one mask for all, no part of the gradient would cancel
    monkeypatch.setattr(_backpropagation, "_BYTES", 1)
    found = vgp.inspect_layers(model, x, np.ones(6), "mse")
    assert (found.kernel_gradient_norm < 0.99 * found.kernel_gradient_rms).all()


def test_layers_with_weights_but_no_kernel_are_named():
    parts = [
        layers.Embedding(9, 4),
        layers.SpectralNormalization(layers.Conv1D(4, 2)),
        layers.SeparableConv1D(4, 3),
        layers.BatchNormalization(),
        layers.Bidirectional(layers.GRU(3)),
        head(),
    ]
    found = vgp.inspect_layers(sequential(*parts, shape=(12,)), np.arange(48).reshape(4, 12) % 9, Y)
    assert len(found.names) == 4 and found.not_measured == [parts[0].name, parts[2].name]
    assert repr(found).endswith(
        f"not measured, for their weights are no single kernel: {parts[0].name}, {parts[2].name}"
    )


def raising_loss(y_true, y_pred):
    raise RuntimeError("broken loss")


@pytest.mark.parametrize(
    ("more", "y", "loss", "error"),
    [
        ([], Y, raising_loss, "broken loss"),
        ([Breaking()], Y, "mse", "broken layer"),
        ([], np.ones((4, 3)), "mse", "needs them equal"),
        ([], 2 * Y, "binary_crossentropy", "relabel"),
    ],
    ids=["loss", "layer", "shape of y", "labels"],
)
def test_model_is_left_untouched_when_the_call_fails(more, y, loss, error):
    model, x = stateful_model(*more), normal(4, 5, 2)
    prediction = np.asarray(model(x))  # first, since Keras's LSTM draws its dropout masks even here
    before = state_of(model)
    with pytest.raises((RuntimeError, ValueError), match=error):
        vgp.inspect_layers(model, x, y, loss)
    assert_same_state(before, state_of(model))
    np.testing.assert_array_equal(model(x), prediction)


def test_state_of_a_custom_layer_with_a_kernel_is_left_untouched():
    model = sequential(Counting(), head(), shape=(2,))
    vgp.inspect_layers(model, normal(4, 2), Y)
    assert float(model.layers[0].count.value) == 0


def test_two_inspections_see_the_same_dropout():
    model, x = sequential(layers.Dense(50, "tanh"), layers.Dropout(0.5), head(), shape=(2,)), normal(4, 2)
    assert_same_numbers(vgp.inspect_layers(model, x, Y), vgp.inspect_layers(model, x, Y))


@pytest.mark.parametrize("layer", [layers.SimpleRNN, layers.LSTM, layers.GRU])
def test_input_dropout_of_recurrent_layers_is_off(layer):
    def report(rate):
        keras.utils.set_random_seed(1)
        return vgp.inspect_layers(sequential(layer(4, dropout=rate), head(), shape=(5, 2)), normal(4, 5, 2), Y)

    assert_same_numbers(report(0.9), report(0))


def test_training_goes_on_as_if_nothing_had_been_inspected(batch):
    x, y = batch

    def train(inspect):
        keras.utils.set_random_seed(1)
        model = sequential(
            layers.Dense(4, "tanh"), layers.Dropout(0.5), layers.BatchNormalization(), head(), shape=(2,)
        )
        model.compile("sgd", "binary_crossentropy", run_eagerly=True)
        for _ in range(2):
            if inspect:
                vgp.inspect_layers(model, x, y)
            model.train_on_batch(x, y)
        return model.get_weights()

    for plain, inspected in zip(train(False), train(True), strict=True):
        np.testing.assert_array_equal(plain, inspected)


# The report


def test_repr_has_a_line_for_each_layer_and_the_ratios(batch):
    report = vgp.inspect_layers(vgp.build_mlp(3, activation="tanh", seed=1), *batch)
    lines = repr(report).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == report.names
    for line, norm, rms in zip(lines[1:-1], report.kernel_gradient_norm, report.kernel_gradient_rms, strict=True):
        assert line.split()[-2:] == [f"{norm:.1e}", f"{rms:.1e}"]
    assert f"{report.gradient_ratio:.1e}" in lines[-1] and f"{report.delta_ratio:.1e}" in lines[-1]


def report_of(kernel_gradient_rms, delta_rms):
    size = len(delta_rms)
    values = {field: np.zeros(size) for field in FIELDS}
    values |= {"kernel_gradient_rms": np.array(kernel_gradient_rms), "delta_rms": np.array(delta_rms)}
    return LayerReport(names=[f"layer_{i}" for i in range(size)], **values)


def test_ratios_are_first_hidden_over_last_hidden():
    report = report_of([2.0, 3.0, 8.0, 100.0], [1.0, 7.0, 5.0, 100.0])
    assert (report.gradient_ratio, report.delta_ratio) == (0.25, 0.2)


def test_ratio_of_one_hidden_layer_is_one():
    report = report_of([2.0, 100.0], [3.0, 100.0])
    assert (report.gradient_ratio, report.delta_ratio) == (1, 1)


def test_ratios_over_zero_come_without_a_warning():
    report = report_of([2.0, 0.0, 1.0], [0.0, 0.0, 1.0])
    assert report.gradient_ratio == math.inf and math.isnan(report.delta_ratio)


def test_ratios_without_hidden_layer_are_nan():
    report = vgp.inspect_layers(sequential(head(), shape=(3,)), normal(4, 3), Y)
    assert math.isnan(report.gradient_ratio) and math.isnan(report.delta_ratio)
    assert "head" in repr(report)


# Bad input


@pytest.fixture(scope="module")
def net():
    return vgp.build_mlp(2, units=3, seed=1)


@pytest.mark.parametrize(
    "model", ["model", None, layers.Dense(1), vgp.build_mlp], ids=["text", "None", "layer", "function"]
)
def test_what_is_not_a_model_is_refused(model):
    with pytest.raises(TypeError, match=r"model is a \w+; give a keras\.Model"):
        vgp.inspect_layers(model, normal(4, 2), Y)


@pytest.mark.parametrize("make", [lambda: keras.Sequential([head()]), Subclassed], ids=["sequential", "subclassed"])
def test_unbuilt_model_is_refused(make):
    with pytest.raises(ValueError, match=r"is not built; begin it with keras\.Input"):
        vgp.inspect_layers(make(), normal(4, 2), Y)


def test_model_without_a_kernel_is_refused():
    with pytest.raises(ValueError, match="has no layer with a kernel; give one"):
        vgp.inspect_layers(sequential(layers.Flatten(), layers.BatchNormalization(), shape=(2,)), normal(4, 2), Y)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("index", [0, 1], ids=["kernel", "bias"])
def test_weights_that_are_not_finite_are_refused_naming_the_layer(value, index):
    model = vgp.build_mlp(3, units=2)
    weights = model.get_layer("hidden_2").get_weights()
    weights[index].flat[-1] = value
    model.get_layer("hidden_2").set_weights(weights)
    with pytest.raises(ValueError, match=r"'hidden_2'.*nan or infinite.*smaller learning rate"):
        vgp.inspect_layers(model, normal(4, 2), Y)


@pytest.mark.parametrize("index", [0, 1, 2], ids=["kernel", "recurrent kernel", "bias"])
def test_recurrent_weights_that_are_not_finite_are_refused_naming_the_layer(index):
    model = sequential(layers.LSTM(2, name="memory"), head(), shape=(5, 2))
    weights = model.layers[0].get_weights()
    weights[index].flat[0] = math.nan
    model.layers[0].set_weights(weights)
    with pytest.raises(ValueError, match=r"'memory'.*nan or infinite"):
        vgp.inspect_layers(model, normal(4, 5, 2), Y)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.RNN(layers.StackedRNNCells([layers.SimpleRNNCell(2), layers.LSTMCell(2)])),
        lambda: layers.RNN(layers.GRUCell(2)),
        lambda: layers.Reshape((5, 2, 1)),
    ],
    ids=["stacked cells", "cell", "ConvLSTM"],
)
def test_other_recurrent_layers_are_named_and_the_rest_is_measured(layer):
    more = [layers.ConvLSTM1D(2, 1), layers.Flatten()]
    first = layer()
    stack = [first, *(more if isinstance(first, layers.Reshape) else [])]
    model, x = sequential(*stack, layers.Dense(3, "tanh", name="dense"), head(), shape=(5, 2)), normal(4, 5, 2)
    found = vgp.inspect_layers(model, x, Y)
    other = next(part for part in stack if isinstance(part, layers.RNN))
    assert found.names == ["dense", model.layers[-1].name] and found.not_measured == [other.name]
    (gradient,) = tape_gradients(model, [model.get_layer("dense").kernel], x, Y)
    assert found.kernel_gradient_norm[0] == pytest.approx(np.linalg.norm(gradient), rel=1e-4)


def test_a_stateful_layer_is_measured_as_one_that_begins_anew_and_keeps_its_state():
    def model(stateful):
        keras.utils.set_random_seed(1)
        return sequential(layers.LSTM(3, stateful=stateful), head(), shape=(5, 2), batch=4)

    x, ran = normal(4, 5, 2), model(True)
    ran(x)
    states = [state.numpy() for state in ran.layers[0].states]
    assert np.abs(states[0]).max() > 0
    assert_same_numbers(vgp.inspect_layers(ran, x, Y), vgp.inspect_layers(model(False), x, Y))
    vgp.diagnose(ran, x, Y, optimizer="sgd")
    for ours, theirs in zip(ran.layers[0].states, states, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs)


@pytest.mark.parametrize("samples", [3, 5, 1])
def test_x_and_y_of_different_lengths_are_refused(net, samples):
    with pytest.raises(ValueError, match=rf"x has 4 samples and y has {samples}; give one target per sample"):
        vgp.inspect_layers(net, normal(4, 2), np.ones(samples))


@pytest.mark.parametrize("label", [2, 1.5, -1])
@pytest.mark.parametrize(
    "loss",
    [
        "binary_crossentropy",
        "bce",
        keras.losses.BinaryCrossentropy(),
        keras.losses.BinaryCrossentropy(name="yes_or_no"),
        keras.losses.binary_crossentropy,
    ],
    ids=["name", "short name", "object", "object with its own name", "function"],
)
def test_labels_other_than_0_and_1_are_refused(net, label, loss):
    with pytest.raises(ValueError, match=rf"y holds {label}.*takes labels 0 and 1, or probabilities .*; relabel y"):
        vgp.inspect_layers(net, normal(4, 2), np.array([0, 1, label, 1]), loss)


@pytest.mark.parametrize("loss", ["mse", "binary_crossentropy", keras.losses.Huber(), keras.losses.mean_absolute_error])
@pytest.mark.parametrize("shape", [(4, 2), (4, 1, 2), (4, 4)])
def test_targets_of_another_shape_than_the_predictions_are_refused(net, loss, shape):
    with pytest.raises(ValueError, match=r"y has shape .*, the model gives \(samples, 1\); .* needs them equal"):
        vgp.inspect_layers(net, normal(4, 2), np.ones(shape), loss)


@pytest.mark.parametrize(
    ("shape", "loss"),
    [
        ((4, 5), "categorical_crossentropy"),  # of which the axis of the classes is the one that is left
        ((4, 5), "kl_divergence"),
        ((4, 5), "mse"),
        ((4, 5, 1), "mse"),
        ((4, 5, 1, 1), "binary_crossentropy"),
    ],
)
def test_ranks_are_made_equal_as_keras_does(shape, loss):
    model = sequential(layers.Dense(1, "sigmoid"), shape=(5, 2))
    x, y = normal(4, 5, 2), np.eye(5)[[0, 2, 1, 4]].reshape(shape)
    model.compile(loss=loss)
    ours = float(Backpropagation(model, x, y, loss).loss)
    assert ours == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-5)


def test_labels_under_a_loss_for_one_hot_targets_get_the_loss_that_takes_them():
    model = sequential(layers.Dense(3, "softmax"), shape=(2,))
    with pytest.raises(ValueError, match=r"y has shape .*, or take sparse_categorical_crossentropy for labels"):
        vgp.inspect_layers(model, normal(4, 2), np.arange(4) % 3, "categorical_crossentropy")


@pytest.mark.parametrize(
    "y",
    [[0, 1, 2, 3], [0, 1, 2, -1], [0, 1, 2, 0.5], np.eye(4)],
    ids=["too large", "negative", "fraction", "one-hot"],
)
def test_sparse_labels_must_be_class_numbers(y):
    with pytest.raises(ValueError, match="one label from 0 to 2 per prediction"):
        vgp.inspect_layers(three_classes("softmax"), normal(4, 3), np.array(y), "sparse_categorical_crossentropy")


@pytest.mark.parametrize("loss", ["mean_square_error", "", 3, {"no": "loss"}], ids=str)
def test_unknown_losses_are_refused(net, loss):
    with pytest.raises((ValueError, TypeError), match=r"loss is .*give a "):
        vgp.inspect_layers(net, normal(4, 2), Y, loss)


def test_no_loss_is_refused(net):
    with pytest.raises(TypeError, match="loss is None; give a Keras name"):
        vgp.inspect_layers(net, normal(4, 2), Y, None)


@pytest.mark.parametrize("name", ["x", "y"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_data_that_is_not_finite_is_refused(net, name, value):
    data = {"x": normal(4, 2), "y": Y.copy()}
    data[name].flat[-1] = value
    with pytest.raises(ValueError, match=f"{name} holds values that are nan or infinite; remove or replace"):
        vgp.inspect_layers(net, **data)


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        ({"x": np.empty((0, 2))}, ValueError, r"x has shape \(0, 2\); give at least one sample"),
        ({"y": np.empty(0)}, ValueError, r"y has shape \(0,\); give at least one sample"),
        ({"x": 1.0}, ValueError, r"x has shape \(\); give at least one sample"),
        ({"y": 1.0}, ValueError, r"y has shape \(\); give at least one sample"),
        ({"x": np.full((4, 2), "1")}, TypeError, "x has dtype <U1; give one array of numbers"),
        ({"x": "data"}, TypeError, "x has dtype <U4; give one array of numbers"),
        ({"y": np.array(["a", "b", "a", "b"])}, TypeError, "y has dtype <U1; give one array of numbers"),
        ({"y": None}, TypeError, "y has dtype object; give one array of numbers"),
        ({"x": [[1.0, 2.0], [3.0]]}, (ValueError, TypeError), "x .*give one array of numbers"),
    ],
    ids=["empty x", "empty y", "scalar x", "scalar y", "text x", "string x", "text y", "no y", "ragged x"],
)
def test_data_that_is_no_batch_of_numbers_is_refused(net, data, error, text):
    with pytest.raises(error, match=text):
        vgp.inspect_layers(net, **({"x": normal(4, 2), "y": Y} | data))


def test_x_with_the_wrong_number_of_features_is_refused(net):
    with pytest.raises(ValueError, match=r"\(4, 3\)"):
        vgp.inspect_layers(net, normal(4, 3), Y)


def test_model_with_two_outputs_is_refused():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, [layers.Dense(1)(inputs), layers.Dense(1)(inputs)])
    with pytest.raises(ValueError, match="has 2 outputs; give a model with one"):
        vgp.inspect_layers(model, normal(4, 2), Y)


def test_layer_that_never_applies_its_activation_is_measured_at_its_output():
    class Unused(Scaled):
        def call(self, inputs):
            return keras.ops.matmul(inputs, self.kernel)

    model = sequential(Unused(3, "relu", name="unused"), head(), shape=(2,))
    report = vgp.inspect_layers(model, normal(4, 2), Y)
    assert report.names[0] == "unused"
    assert report.saturated[0] == 0
    assert report.delta_rms[0] > 0


def test_probabilities_outside_0_to_1_are_refused_since_keras_would_cut_them_off_and_with_them_the_gradient():
    model = sequential(keras.layers.Dense(1, kernel_initializer="ones", bias_initializer="ones"), shape=(2,))
    x, y = np.ones((4, 2), "float32"), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"outside 0 to 1.*sigmoid.*from_logits=True"):
        vgp.inspect_layers(model, x, y)
    report = vgp.inspect_layers(model, x, y, keras.losses.BinaryCrossentropy(from_logits=True))
    assert report.delta_rms[0] > 0


# The gradient against the time lag


def lag_by_differences(model, x, y, step=1e-3):
    """Central differences: shift the projection W x_t by way of inputs that hold it, for an identity kernel."""

    def losses(inputs):
        p = np.asarray(model(inputs), "float64")[:, 0]
        return -(y * np.log(p) + (1 - y) * np.log(1 - p))

    square = np.zeros(x.shape[:2])
    for t in range(x.shape[1]):
        for j in range(x.shape[2]):
            shift = np.zeros_like(x)
            shift[:, t, j] = step
            square[:, t] += ((losses(x + shift) - losses(x - shift)) / (2 * step)) ** 2
    return np.sqrt(square.mean(axis=0))[::-1]


@pytest.mark.parametrize(("cell", "gates"), [("simple_rnn", 1), ("lstm", 4), ("gru", 3)])
@pytest.mark.parametrize("steps", [1, 4])
def test_lag_gradient_agrees_with_central_differences(cell, gates, steps):
    # An identity kernel makes the inputs the projection themselves, and the derivative one with respect to x.
    model = vgp.build_rnn(cell, units=2, input_dim=2 * gates, kernel_initializer="identity", seed=1)
    model.get_layer("output").set_weights([normal(2, 1), np.zeros(1)])
    x, y = normal(5, steps, 2 * gates), np.array([0, 1, 1, 0, 1])
    measured = vgp.gradient_by_lag(model, x, y)
    assert measured.shape == (steps,) and measured.dtype == np.float64
    np.testing.assert_allclose(measured, lag_by_differences(model, x, y), rtol=2e-2, atol=1e-4)


def test_lag_gradient_of_a_linear_chain_is_a_power():
    power = keras.initializers.Constant(0.5)
    model = vgp.build_rnn(units=1, activation="linear", recurrent_initializer=power, seed=1)
    lags = vgp.gradient_by_lag(model, normal(6, 9, 1), np.array([0, 1, 1, 0, 1, 0]))
    np.testing.assert_allclose(lags / lags[0], 0.5 ** np.arange(9), rtol=1e-5)


@pytest.mark.parametrize("gain", [0.5, 1.0, 3.0])
def test_lag_gradient_stays_below_the_power_of_the_largest_singular_value(gain):
    model = vgp.build_rnn(recurrent_initializer=keras.initializers.Orthogonal(gain=gain), seed=2)
    lags = vgp.gradient_by_lag(model, normal(8, 12, 1), np.arange(8) % 2)
    assert (lags <= lags[0] * gain ** np.arange(12) * 1.0001).all()
    assert lags[-1] > 0


def test_lag_gradients_make_up_the_delta_of_the_report():
    model = sequential(layers.LSTM(4, return_sequences=True), layers.GRU(3), head(), shape=(6, 2))
    x, y = normal(5, 6, 2), np.array([0, 1, 1, 0, 1])
    lags = vgp.gradient_by_lag(model, x, y)
    assert np.sqrt((lags**2).sum()) == pytest.approx(vgp.inspect_layers(model, x, y).delta_rms[0])


def test_lag_is_counted_from_the_step_that_is_computed_last():
    def model(backwards):
        return sequential(layers.SimpleRNN(3, go_backwards=backwards, name="r"), head(), shape=(5, 2))

    one, other = model(False), model(True)
    other.set_weights(one.get_weights())
    x, y = normal(4, 5, 2), np.array([0, 1, 1, 0])
    lags = vgp.gradient_by_lag(one, x, y)
    assert lags[0] > 2 * lags[-1] or lags[-1] > 2 * lags[0]
    np.testing.assert_allclose(vgp.gradient_by_lag(other, x[:, ::-1], y), lags, rtol=1e-5)


def test_lag_gradient_of_a_faded_net_is_not_zero():
    model = vgp.build_rnn(recurrent_initializer=keras.initializers.RandomNormal(stddev=0.001), seed=1)
    lags = vgp.gradient_by_lag(model, normal(4, 12, 1), np.array([0, 1, 1, 0]))
    assert 0 < lags[-1] < 1e-25


def test_lag_gradient_needs_one_recurrent_layer_called_once(batch):
    with pytest.raises(ValueError, match="no recurrent layer; give one with SimpleRNN"):
        vgp.gradient_by_lag(vgp.build_mlp(1), *batch)
    inputs, shared = keras.Input((4, 2)), layers.SimpleRNN(2, name="shared")
    twice = keras.Model(inputs, head()(layers.Concatenate()([shared(inputs), shared(2 * inputs)])))
    with pytest.raises(ValueError, match="'shared' is called 2 times"):
        vgp.gradient_by_lag(twice, normal(3, 4, 2), np.array([0, 1, 0]))


# Where a net leaves the finite numbers


def chain(*weights, activation="linear"):
    """One unit a layer, the given weights, no biases; the last one is the output."""
    model = sequential(
        *[layers.Dense(1, activation, use_bias=False, name=f"d{i}") for i in range(len(weights))], shape=(1,)
    )
    model.set_weights([np.full((1, 1), weight) for weight in weights])
    return model


@pytest.mark.parametrize(
    ("weights", "x", "found"),
    [
        ((1.0, 1.0, 1.0), 1.0, None),
        ((1e20, 1e15, 1e20), 1.0, ("d2", "output")),
        ((1e20, 1e20, 1e-40), 1.0, ("d1", "output")),
        ((1.0, 1.0, 1e25), 1.0, (None, "loss")),  # its square is beyond float32
        ((1e-25, 1e25, 1e15), 1.0, ("d0", "delta")),
        ((1e-20, 1.0, 1e10), 1e20, ("d0", "kernel gradient")),
    ],
)
def test_the_first_number_that_is_not_finite_is_found_in_the_order_of_computation(weights, x, found):
    model = chain(*weights)
    assert first_nonfinite(model, [[x], [-x]], [0.0, 0.0], "mse") == found


def test_minus_infinity_behind_a_relu_is_no_failure_but_it_is_one_at_the_end():
    data = [[1e10], [1e10]], [0.0, 0.0], "mse"
    assert first_nonfinite(chain(-1e30, 1.0, activation="relu"), *data) is None
    assert first_nonfinite(chain(1.0, -1e30, activation="relu"), *data) == ("d1", "output")


def test_huge_activations_are_printed_short(batch):
    model = vgp.build_mlp(2, activation="relu", kernel_initializer=keras.initializers.Constant(1e9))
    lines = repr(vgp.inspect_layers(model, *batch)).splitlines()
    assert max(map(len, lines)) < 90 and "e+1" in lines[2]


# The first step


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "RMSprop"])
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
def test_update_ratios_are_those_of_one_step_of_fit(moons, optimizer, residual):
    model = vgp.build_mlp(3, activation="tanh", residual=residual, seed=1)
    model.get_layer("hidden_2").kernel.regularizer = keras.regularizers.L2(0.5)  # fit counts the penalty, too
    recipe = getattr(keras.optimizers, optimizer)(0.01)
    ratios = vgp.update_ratios(model, moons.x_train, moons.y_train, recipe)
    old = kernels(model)
    model.compile(getattr(keras.optimizers, optimizer)(0.01), "binary_crossentropy")
    model.fit(moons.x_train, moons.y_train, batch_size=200, verbose=0)
    expected = [np.abs(b - a).mean() / np.abs(a).mean() for a, b in zip(old, kernels(model), strict=True)]
    np.testing.assert_allclose(ratios, expected, rtol=1e-3)
    assert not recipe.built


def test_update_ratios_of_nested_and_frozen_kernels_follow_the_forward_pass():
    inner = keras.Sequential([layers.Dense(4, "tanh", trainable=False), layers.Dense(3, kernel_initializer="zeros")])
    model = sequential(inner, head(), shape=(3,))
    ratios = vgp.update_ratios(model, normal(4, 3), Y, "sgd")
    assert np.isnan(ratios[0]) and np.isinf(ratios[1])  # frozen; and it moves away from 0
    assert ratios[2] == 0  # its inputs are all 0


def test_update_ratios_clip_by_the_norm_of_all_gradients_as_fit_does(moons):
    model, clipped = vgp.build_mlp(2, seed=1), keras.optimizers.SGD(1.0, global_clipnorm=1e-3)
    before = [weight.copy() for weight in model.get_weights()]
    ratios = vgp.update_ratios(model, moons.x_train, moons.y_train, clipped)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    old = kernels(model)
    model.compile(clipped, "binary_crossentropy")
    model.train_on_batch(moons.x_train, moons.y_train)
    expected = [np.abs(b - a).mean() / np.abs(a).mean() for a, b in zip(old, kernels(model), strict=True)]
    np.testing.assert_allclose(ratios, expected, rtol=1e-3)


def test_update_ratios_obey_constraints_as_fit_does(moons):
    model = vgp.build_mlp(2, seed=1)
    model.get_layer("hidden_1").kernel.constraint = keras.constraints.MaxNorm(0.1)
    ratios = vgp.update_ratios(model, moons.x_train, moons.y_train, "sgd")
    old = kernels(model)
    model.compile("sgd", "binary_crossentropy")
    model.train_on_batch(moons.x_train, moons.y_train)
    expected = [np.abs(b - a).mean() / np.abs(a).mean() for a, b in zip(old, kernels(model), strict=True)]
    np.testing.assert_allclose(ratios, expected, rtol=1e-3)
    assert ratios[0] > 0.5
