"""The last layer, the loss and the targets: what cannot work is said before any step, with the line that can."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import vgp_lib as vgp
from vgp_lib.engine import _head

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 4)).astype("float32")
LABELS = (X[:, 0] > 0).astype("float32")
CLASSES = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
VALUES = 100 * X[:, 0] + 300
CROSS, CATEGORICAL, SPARSE = "binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"
SIGMOID = f'keras.layers.Dense(1, activation="sigmoid")  # the last layer, with loss="{CROSS}"'
LINEAR = 'keras.layers.Dense(1)  # the last layer, with loss="mean_squared_error"'
THREE = f'keras.layers.Dense(3, activation="softmax")  # the last layer, with loss="{SPARSE}"'
ONE_HOT = f'keras.layers.Dense(3, activation="softmax")  # the last layer, with loss="{CATEGORICAL}"'

pytestmark = pytest.mark.usefixtures("without_trials")


def net(*head, loss="mse", x=X):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input(x.shape[1:]), layers.Dense(8, "relu"), *head])
    model.compile(keras.optimizers.Adam(0.01), loss=loss)
    return model


WRONG = {
    "softmax over one unit": ([layers.Dense(1, "softmax")], "mse", LABELS, "same answer", SIGMOID),
    "softmax layer over one unit": ([layers.Dense(1), layers.Softmax()], CROSS, LABELS, "same answer", SIGMOID),
    "softmax as activation layer": (
        [layers.Dense(1), layers.Activation("softmax")], CROSS, LABELS, "same answer", SIGMOID),
    "softmax over one unit, values": ([layers.Dense(1, "softmax")], "poisson", VALUES, "same answer", LINEAR),
    "one unit, categorical": ([layers.Dense(1, "sigmoid")], CATEGORICAL, LABELS, "whatever the net answers", SIGMOID),
    "sigmoid on large targets": ([layers.Dense(1, "sigmoid")], "mse", VALUES, "in [0, 1] only", LINEAR),
    "tanh on large targets": ([layers.Dense(1, "tanh")], "mae", VALUES, "in [-1, 1] only",
                              LINEAR.replace("squared", "absolute")),
    "relu on both signs": ([layers.Dense(1, "relu")], "mse", X[:, 0], "in [0, ∞) only", LINEAR),
    "relu layer on both signs": ([layers.Dense(1), layers.ReLU()], "mse", X[:, 0], "in [0, ∞) only", LINEAR),
    "softmax, sums": ([layers.Dense(2, "softmax")], "mse", np.abs(X[:, :2] % 1), "sum to 1",
                      LINEAR.replace("(1)", "(2)")),
    "logits": ([layers.Dense(1)], CROSS, LABELS, "activation linear", SIGMOID),
    "relu for a probability": ([layers.Dense(1, "relu")], CROSS, LABELS, "activation relu", SIGMOID),
    "logits of classes": ([layers.Dense(3)], SPARSE, CLASSES, "sum to 1", THREE),
    "sigmoids of classes": ([layers.Dense(3, "sigmoid")], CATEGORICAL, np.eye(3)[CLASSES], "sum to 1", ONE_HOT),
    "classes under a sigmoid": ([layers.Dense(1, "sigmoid")], CROSS, CLASSES, "from 0 to 2", THREE),
    "labels -1 and 1": ([layers.Dense(1, "sigmoid")], CROSS, 2 * LABELS - 1, "from -1 to 1",
                        "y = (y + 1) / 2  # labels 0 and 1"),
    "values under a sigmoid": ([layers.Dense(1, "sigmoid")], CROSS, X[:, 0], "takes targets from 0 to 1", LINEAR),
    "counts below 0": ([layers.Dense(1, "softplus")], "poisson", X[:, 0], "takes counts", LINEAR),
    "two answers for one": ([layers.Dense(2, "sigmoid")], "mse", LABELS, "1 target and 2 answers", SIGMOID),
}  # fmt: skip


@pytest.mark.parametrize(("head", "loss", "y", "words", "line"), WRONG.values(), ids=WRONG)
def test_a_head_that_cannot_work_is_named_with_the_line_that_can(head, loss, y, words, line):
    model = net(*head, loss=loss)
    weights, config = model.get_weights(), model.get_config()
    found = vgp.diagnose(model, X, y)
    assert found.verdict == "healthy" and found.layer is None
    assert words in found.because and "Not the gradient" in found.because and found.try_next.startswith(line)
    exec(found.try_next.partition("; then ")[0], {"keras": keras, "y": y})
    assert model.get_config() == config
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def embedded(tokens, dim=10):
    model = keras.Sequential(
        [keras.Input(tokens.shape[1:]), layers.Embedding(dim, 3), layers.Flatten(), layers.Dense(1, "sigmoid")]
    )
    model.compile("adam", CROSS)
    return model


UNUSABLE = {
    "fractions as tokens": (embedded, X, "takes whole numbers, the tokens", "keras.layers.Reshape((4, 1))"),
    "tokens too large": (
        embedded,
        np.full((60, 4), 12),
        "knows tokens from 0 to 9, and x holds 12 to 12",
        "keras.layers.Embedding(13, 3)",
    ),
    "tokens below 0": (
        embedded,
        np.arange(240).reshape(60, 4) % 5 - 2,
        "x holds -2 to 2",
        "keras.layers.Embedding(5, 3)  # and x = x - x.min()",
    ),
    "samples all alike": (
        lambda x: net(layers.Dense(1, "sigmoid"), loss=CROSS),
        np.ones((60, 4)),
        "All samples in x are alike",
        "x.std(axis=0)",
    ),
}


@pytest.mark.parametrize(("make", "x", "words", "line"), UNUSABLE.values(), ids=UNUSABLE)
def test_inputs_from_which_nothing_can_be_learned_are_named(make, x, words, line):
    found = vgp.diagnose(make(x), x, LABELS)
    assert found.verdict == "healthy" and found.because.startswith("Not the gradient: ") and words in found.because
    assert found.try_next.startswith(line)
    exec(found.try_next, {"keras": keras, "np": np, "x": x})


def test_small_integers_do_not_overflow():
    tokens = np.linspace(-100, 100, 240).astype("int8").reshape(60, 4)
    assert vgp.diagnose(embedded(tokens), tokens, LABELS).try_next.startswith("keras.layers.Embedding(201, 3)")


def test_an_embedding_of_positions_does_not_get_the_tokens():
    class WithPositions(keras.Model):
        def __init__(self):
            super().__init__()
            self.positions, self.tokens, self.last = layers.Embedding(4, 3), layers.Embedding(100, 3), layers.Dense(1)

        def call(self, x):
            return self.last(keras.ops.mean(self.positions(keras.ops.arange(4)) + self.tokens(x), axis=1))

    x = np.arange(240).reshape(60, 4) % 100
    model = WithPositions()
    model(x[:1])
    assert "knows tokens" not in vgp.diagnose(model, x, LABELS, optimizer="adam", loss="mse").because


SEQUENCES = np.random.default_rng(1).normal(size=(40, 3, 2))


@pytest.mark.parametrize(
    ("last", "loss", "words"),
    [
        (layers.Dense(1, "softmax"), CROSS, "same answer"),
        (layers.Dense(1, "relu"), CROSS, "activation relu"),
        (layers.Dense(1, "sigmoid"), CATEGORICAL, "sum to 1"),
    ],
    ids=["softmax", "relu", "classes over time"],
)
def test_one_answer_for_each_time_step_keeps_its_one_unit(last, loss, words):
    model = keras.Sequential([keras.Input((3, 2)), layers.Dense(4, "tanh"), last])
    model.compile("adam", loss)
    found = vgp.diagnose(model, SEQUENCES, (SEQUENCES[..., 0] > 0).astype(float))
    assert words in found.because and found.try_next.startswith(SIGMOID)


def test_the_state_of_a_subclassed_model_stays_as_it_was():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.memory, self.last = layers.LSTM(3, stateful=True), layers.Dense(1, "sigmoid")

        def call(self, x):
            return self.last(self.memory(x))

    model = Own()
    model(SEQUENCES)
    states = [state.numpy() for state in model.memory.states]
    vgp.diagnose(model, SEQUENCES, SEQUENCES[:, 0, 0] > 0, optimizer="adam", loss=CROSS)
    for ours, theirs in zip(model.memory.states, states, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs)


def test_the_layer_in_place_of_an_embedding_hands_the_numbers_on():
    line = vgp.diagnose(embedded(X), X, LABELS).try_next
    np.testing.assert_array_equal(eval(line, {"keras": keras})(X), X[..., None])


RIGHT = {
    "sigmoid": ([layers.Dense(1, "sigmoid")], CROSS, LABELS),
    "sigmoid of soft labels": ([layers.Dense(1, "sigmoid")], CROSS, 0.1 + 0.8 * LABELS),
    "sigmoid layer": ([layers.Dense(1), layers.Activation("sigmoid")], CROSS, LABELS),
    "logits": ([layers.Dense(1)], keras.losses.BinaryCrossentropy(from_logits=True), LABELS),
    "softmax": ([layers.Dense(3, "softmax")], SPARSE, CLASSES),
    "logits of classes": ([layers.Dense(3)], keras.losses.SparseCategoricalCrossentropy(from_logits=True), CLASSES),
    "softmax, one-hot": ([layers.Dense(3, "softmax")], CATEGORICAL, np.eye(3)[CLASSES]),
    "softmax, one-hot, squares": ([layers.Dense(3, "softmax")], "mse", np.eye(3)[CLASSES]),
    "linear": ([layers.Dense(1)], "mse", VALUES),
    "tanh within reach": ([layers.Dense(1, "tanh")], "mse", 2 * LABELS - 1),
    "relu on one sign": ([layers.Dense(1, "relu")], "mse", np.abs(X[:, 0])),
    "one target in thirty out of reach": ([layers.Dense(1, "sigmoid")], "mse", np.where(np.arange(60) < 2, 9, LABELS)),
    "scaled after the sigmoid": ([layers.Dense(1, "sigmoid"), layers.Rescaling(1000)], "mse", VALUES),
    "unknown activation": ([layers.Dense(1, lambda z: 500 * tf.sigmoid(z))], "mse", VALUES),
    "counts": ([layers.Dense(1, "softplus")], "poisson", np.round(np.abs(X[:, 0]))),
    "a loss of one's own": ([layers.Dense(1, "sigmoid")], lambda y, p: (y - p) ** 2, VALUES),
}


@pytest.mark.parametrize(("head", "loss", "y"), RIGHT.values(), ids=RIGHT)
def test_a_head_that_can_work_is_left_alone(head, loss, y):
    assert _head.check_head(net(*head, loss=loss), X, np.asarray(y), loss) is None


def test_a_vanishing_gradient_does_not_hide_behind_the_head():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), *[layers.Dense(8, "sigmoid") for _ in range(10)], layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), loss=CROSS)
    found = vgp.diagnose(model, X, LABELS)
    assert found.verdict == "vanishing" and found.layer == model.layers[0].name
    assert "First of all: binary_crossentropy takes probabilities" in found.because
    assert found.try_next.startswith(f"{SIGMOID}; then keras.layers.Dense(8, activation=")


def test_the_repaired_copy_keeps_the_other_weights_and_answers_as_the_line_says():
    model = net(layers.Dense(3), layers.Activation("relu"), loss=SPARSE)
    head = _head.check_head(model, X, CLASSES, SPARSE)
    repaired, y, loss = _head.repair(model, head, CLASSES, SPARSE)
    np.testing.assert_array_equal(repaired.layers[0].kernel, model.layers[0].kernel)
    np.testing.assert_allclose(repaired(X).numpy().sum(axis=1), 1, rtol=1e-5)
    assert repaired.output_shape == (None, 3) and loss == SPARSE and y is CLASSES
    assert type(repaired.layers[-1]) is layers.Identity


def test_labels_may_be_truth_values():
    model = net(layers.Dense(1, "sigmoid"), loss=CROSS)
    assert vgp.diagnose(model, X, LABELS == 1) == vgp.diagnose(model, X, LABELS)


def test_targets_that_are_all_equal_are_named():
    found = vgp.diagnose(net(layers.Dense(1)), X, np.full(60, 3.0))
    assert found.verdict == "healthy" and "all targets are 3" in found.because
    exec(found.try_next, {"np": np, "y": LABELS})


# What fit takes


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return X[20 * index : 20 * index + 20], LABELS[20 * index : 20 * index + 20]


@pytest.mark.parametrize(
    "data",
    [
        lambda: ([X], [LABELS]),
        lambda: (tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(16),),
        lambda: (Batches(),),
        lambda: (tf.constant(X), LABELS.tolist()),
    ],
    ids=["lists of one", "tf.data", "PyDataset", "tensor and list"],
)
def test_what_fit_takes_gets_the_same_diagnosis(data):
    model = net(layers.Dense(1, "sigmoid"), loss=["binary_crossentropy"])
    assert vgp.diagnose(model, *data()) == vgp.diagnose(model, X, LABELS)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (lambda: (tf.data.Dataset.from_tensor_slices(X).batch(4),), ValueError, "no pairs"),
        (lambda: (tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(4), LABELS), ValueError, "leave y out"),
        (lambda: (tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(4).take(0),), ValueError, "is empty"),
        (lambda: ((pair for pair in [(X, LABELS)]),), TypeError, r"x, y = next\(generator\)"),
        (lambda: (X,), ValueError, "y is None"),
        (lambda: (X, LABELS.astype(str)), TypeError, r"y\.astype\('float32'\)"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(data, error, message):
    with pytest.raises(error, match=message):
        vgp.diagnose(net(layers.Dense(1, "sigmoid"), loss=CROSS), *data())
