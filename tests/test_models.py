import itertools

import keras
import numpy as np
import pytest

import vgp_lib as vgp

X = np.random.default_rng(0).normal(size=(7, 2)).astype("float32")
PHI = {
    "linear": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
}


def layer_names(model):
    return [layer.name for layer in model.layers]


def dense_layers(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]


def kernels(model):
    return [layer.get_weights()[0] for layer in dense_layers(model)]


def give_random_weights(model, seed=1):
    """Also biases and moving averages, which begin as 0 and 1 and would hide a missing term."""
    random = np.random.default_rng(seed)
    model.set_weights(
        [random.uniform(0.2, 1, w.shape) * random.choice([-0.5, 1.0], w.shape) for w in model.get_weights()]
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            *others, variance = layer.get_weights()
            layer.set_weights([*others, np.abs(variance)])


def numpy_forward(model, x, hidden_layers, phi, output=PHI["sigmoid"], batch_normalization=False, residual=False):
    """Compute what build_mlp promises, from the weights alone."""
    h = x.astype("float64")
    for index in range(1, hidden_layers + 1):
        weights = model.get_layer(f"hidden_{index}").get_weights()
        z = h @ weights[0] + (0 if batch_normalization else weights[1])
        if batch_normalization:
            normalization = model.get_layer(f"hidden_{index}_normalization")
            gamma, beta, mean, variance = normalization.get_weights()
            z = gamma * (z - mean) / np.sqrt(variance + normalization.epsilon) + beta
        h = h + phi(z) if residual and index > 1 else phi(z)
    kernel, bias = model.get_layer("output").get_weights()
    return output(h @ kernel + bias)


# Structure


@pytest.mark.parametrize("depth", [1, 3])
def test_plain_net_is_dense_layers_only(depth):
    model = vgp.build_mlp(hidden_layers=depth, units=4, input_dim=5, activation="tanh")
    assert layer_names(model) == ["input", *(f"hidden_{i}" for i in range(1, depth + 1)), "output"]
    assert [kernel.shape for kernel in kernels(model)] == [(5, 4), *[(4, 4)] * (depth - 1), (4, 1)]
    assert [layer.activation.__name__ for layer in dense_layers(model)] == ["tanh"] * depth + ["sigmoid"]


def test_defaults_are_the_net_of_the_course():
    model = vgp.build_mlp()
    assert [kernel.shape for kernel in kernels(model)] == [(2, 10), *[(10, 10)] * 9, (10, 1)]
    assert {layer.activation.__name__ for layer in dense_layers(model)} == {"sigmoid"}
    limits = np.sqrt(6 / (10 + np.array([2, *[10] * 9, 1])))
    assert all(0.8 * a < np.abs(kernel).max() <= a for kernel, a in zip(kernels(model)[:-1], limits[:-1], strict=True))


def test_batch_normalization_stands_between_dense_without_bias_and_activation():
    model = vgp.build_mlp(hidden_layers=2, batch_normalization=True, activation="relu")
    block = ["hidden_{}", "hidden_{}_normalization", "hidden_{}_activation"]
    assert layer_names(model) == ["input", *(name.format(i) for i in (1, 2) for name in block), "output"]
    assert [layer.use_bias for layer in dense_layers(model)] == [False, False, True]
    assert [layer.activation.__name__ for layer in dense_layers(model)] == ["linear", "linear", "sigmoid"]


def test_residual_net_adds_from_the_second_hidden_layer_on():
    model = vgp.build_mlp(hidden_layers=4, residual=True)
    adds = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert adds == ["hidden_2_add", "hidden_3_add", "hidden_4_add"]


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("batch_normalization", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_output_is_that_of_a_numpy_forward_pass(activation, batch_normalization, residual):
    options = {"batch_normalization": batch_normalization, "residual": residual}
    model = vgp.build_mlp(hidden_layers=3, units=4, activation=activation, **options)
    give_random_weights(model)
    expected = numpy_forward(model, X, 3, PHI[activation], **options)
    np.testing.assert_allclose(model(X, training=False), expected, rtol=1e-5)


def test_output_activation_is_that_of_the_output_unit_alone():
    model = vgp.build_mlp(hidden_layers=2, activation="tanh", output_activation="linear")
    give_random_weights(model)
    np.testing.assert_allclose(model(X), numpy_forward(model, X, 2, np.tanh, PHI["linear"]), rtol=1e-5)


def test_model_is_built_but_not_compiled():
    model = vgp.build_mlp(hidden_layers=1)
    assert model.built and not model.compiled
    assert model.input_shape == (None, 2) and model.output_shape == (None, 1)


def test_numpy_integers_are_integers():
    two = np.int64(2)
    model = vgp.build_mlp(hidden_layers=two, units=two, input_dim=two, seed=two)
    assert [kernel.shape for kernel in kernels(model)] == [(2, 2), (2, 2), (2, 1)]


# Initial weights

INITIALIZERS = {
    "name": "glorot_uniform",
    "object": keras.initializers.HeNormal(),
    "object with a scale": keras.initializers.RandomNormal(stddev=2.0),
    "orthogonal": "orthogonal",
}


@pytest.mark.parametrize("initializer", INITIALIZERS.values(), ids=INITIALIZERS)
@pytest.mark.parametrize("seed", [None, 3])
def test_layers_never_share_weights(initializer, seed):
    hidden = kernels(vgp.build_mlp(hidden_layers=5, kernel_initializer=initializer, seed=seed))[1:-1]
    assert not any(np.array_equal(one, other) for one, other in itertools.combinations(hidden, 2))


@pytest.mark.parametrize("initializer", INITIALIZERS.values(), ids=INITIALIZERS)
def test_a_seed_fixes_the_weights_whatever_the_global_seed(initializer):
    def weights(seed, global_seed):
        keras.utils.set_random_seed(global_seed)
        return kernels(vgp.build_mlp(hidden_layers=3, kernel_initializer=initializer, seed=seed))

    for one, same, other in zip(weights(7, 0), weights(7, 1), weights(8, 0), strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)


@pytest.mark.parametrize("initializer", INITIALIZERS.values(), ids=INITIALIZERS)
def test_without_seed_the_weights_follow_the_global_seed(initializer):
    def weights(global_seed):
        keras.utils.set_random_seed(global_seed)
        return kernels(vgp.build_mlp(hidden_layers=3, kernel_initializer=initializer))

    for one, same, other in zip(weights(5), weights(5), weights(6), strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)


def test_without_seed_two_nets_differ():
    one, other = (kernels(vgp.build_mlp(hidden_layers=2)) for _ in range(2))
    assert not any(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_initializer_is_that_of_every_kernel_and_of_no_bias():
    model = vgp.build_mlp(hidden_layers=3, kernel_initializer=keras.initializers.Constant(0.25))
    for layer in dense_layers(model):
        kernel, bias = layer.get_weights()
        assert (kernel == 0.25).all() and (bias == 0).all()


def test_initializer_object_keeps_its_settings():
    normal = keras.initializers.RandomNormal(mean=1.0, stddev=0.01)
    assert all(0.9 < kernel.mean() < 1.1 for kernel in kernels(vgp.build_mlp(kernel_initializer=normal, seed=1)))


def test_initializer_may_be_a_function():
    def ramp(shape, dtype=None):
        return np.arange(np.prod(shape)).reshape(shape)

    for kernel in kernels(vgp.build_mlp(hidden_layers=2, units=3, kernel_initializer=ramp)):
        np.testing.assert_array_equal(kernel.ravel(), np.arange(kernel.size))


def test_initializer_with_its_own_seed_is_refused():
    with pytest.raises(ValueError, match=r"own seed, 11.*pass seed=… to build_mlp"):
        vgp.build_mlp(kernel_initializer=keras.initializers.HeNormal(seed=11))


# Activations


@pytest.mark.parametrize("batch_normalization", [False, True])
def test_activation_as_name_function_and_layer_is_the_same_net(batch_normalization):
    choices = ["leaky_relu", keras.activations.leaky_relu, keras.layers.LeakyReLU(negative_slope=0.2)]
    name, function, layer = (
        np.asarray(vgp.build_mlp(3, activation=choice, batch_normalization=batch_normalization, seed=1)(X))
        for choice in choices
    )
    np.testing.assert_array_equal(name, function)
    np.testing.assert_allclose(name, layer, rtol=1e-6)


def test_activation_layer_keeps_its_settings():
    slope = keras.layers.LeakyReLU(negative_slope=0.05)
    model = vgp.build_mlp(2, activation=slope)
    give_random_weights(model)
    expected = numpy_forward(model, X, 2, lambda z: np.where(z > 0, z, 0.05 * z))
    np.testing.assert_allclose(model(X), expected, rtol=1e-5)


def test_every_hidden_layer_has_its_own_prelu_weights():
    prelu = keras.layers.PReLU(alpha_initializer="ones")
    model = vgp.build_mlp(hidden_layers=3, units=4, activation=prelu)
    copies = [layer for layer in model.layers if isinstance(layer, keras.layers.PReLU)]
    assert [layer.name for layer in copies] == [f"hidden_{i}_activation" for i in (1, 2, 3)]
    assert prelu not in copies and not prelu.built
    copies[0].set_weights([np.zeros(4)])
    assert [float(layer.get_weights()[0].sum()) for layer in copies] == [0, 4, 4]


def test_activation_layer_object_serves_many_models():
    leaky = keras.layers.LeakyReLU(negative_slope=0.1)
    one, other = (vgp.build_mlp(2, activation=leaky, seed=4)(X) for _ in range(2))
    np.testing.assert_array_equal(one, other)


# Bad input


@pytest.mark.parametrize("argument", ["hidden_layers", "units", "input_dim"])
@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), (2.0, TypeError), ("2", TypeError), (None, TypeError), (True, TypeError)],
)
def test_sizes_must_be_positive_integers(argument, value, error):
    with pytest.raises(error, match=rf"{argument} is {value!r}; give an integer of at least 1"):
        vgp.build_mlp(**{argument: value})


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError), (True, TypeError)])
def test_seed_must_be_an_integer_of_at_least_zero(value, error):
    with pytest.raises(error, match=rf"seed is {value!r}; give an integer of at least 0"):
        vgp.build_mlp(seed=value)


@pytest.mark.parametrize(
    ("argument", "name", "meant"),
    [
        ("activation", "relo", "relu"),
        ("activation", "Sigmoid", "sigmoid"),
        ("output_activation", "sigmoyd", "sigmoid"),
        ("kernel_initializer", "he_norml", "he_normal"),
        ("kernel_initializer", "glorot-uniform", "glorot_uniform"),
    ],
)
def test_misspelt_names_get_a_suggestion(argument, name, meant):
    with pytest.raises(ValueError, match=rf"{argument} is '{name}'.*did you mean '{meant}'\?.*Known are \[.*'{meant}'"):
        vgp.build_mlp(**{argument: name})


@pytest.mark.parametrize("argument", ["activation", "output_activation", "kernel_initializer"])
@pytest.mark.parametrize("name", ["", "qqqqqqqq", "get", "serialize"])
def test_unknown_names_list_the_known_ones(argument, name):
    with pytest.raises(ValueError, match=rf"{argument} is '{name}'.*Known are \["):
        vgp.build_mlp(**{argument: name})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("activation", keras.layers.LeakyReLU),
        ("output_activation", keras.layers.ReLU),
        ("kernel_initializer", keras.initializers.HeNormal),
    ],
)
def test_a_class_in_place_of_an_instance_is_refused(argument, value):
    with pytest.raises(TypeError, match=rf"{argument} is the class {value.__name__}; give an instance"):
        vgp.build_mlp(**{argument: value})


@pytest.mark.parametrize("argument", ["activation", "output_activation", "kernel_initializer"])
@pytest.mark.parametrize("value", [None, 3, ["relu"], {"class_name": "ReLU"}], ids=str)
def test_what_is_neither_name_nor_object_nor_function_is_refused(argument, value):
    with pytest.raises(TypeError, match=rf"{argument} is .*; give a Keras name, a Keras object or a function"):
        vgp.build_mlp(**{argument: value})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("activation", keras.initializers.HeNormal()),
        ("output_activation", keras.initializers.HeNormal()),
        ("kernel_initializer", keras.activations.relu),
        ("kernel_initializer", keras.layers.ReLU()),
    ],
    ids=["initializer as activation", "initializer as output", "activation as initializer", "layer as initializer"],
)
def test_activation_and_initializer_in_each_others_place_are_refused(argument, value):
    with pytest.raises((TypeError, ValueError), match=argument):
        vgp.build_mlp(hidden_layers=1, **{argument: value})


@pytest.mark.parametrize("name", ["batch_normalization", "residual"])
@pytest.mark.parametrize("value", ["False", 1, None])
def test_what_is_neither_true_nor_false_is_refused(name, value):
    with pytest.raises(TypeError, match=f"{name} is .*give True or False"):
        vgp.build_mlp(**{name: value})


def test_a_layer_as_output_activation_is_refused():
    with pytest.raises(TypeError, match="output_activation is the layer"):
        vgp.build_mlp(output_activation=keras.layers.PReLU())


# Recurrent nets

SEQUENCES = np.random.default_rng(1).normal(size=(6, 5, 2)).astype("float32")
CELLS = {"simple_rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


@pytest.mark.parametrize("cell", CELLS)
def test_rnn_is_one_recurrent_layer_and_one_output(cell):
    model = vgp.build_rnn(cell, units=4, input_dim=2)
    assert layer_names(model) == ["input", "recurrent", "output"]
    assert type(model.get_layer("recurrent")) is CELLS[cell]
    assert model.output_shape == (None, 1) and not model.compiled


def test_rnn_defaults_are_those_of_keras():
    keras.utils.set_random_seed(3)
    recurrent = keras.layers.SimpleRNN(10).get_config()
    ours = vgp.build_rnn().get_layer("recurrent").get_config()
    assert {k: v for k, v in ours.items() if k != "name"} == {k: v for k, v in recurrent.items() if k != "name"}


@pytest.mark.parametrize("steps", [1, 5])
def test_simple_rnn_is_that_of_a_numpy_loop(steps):
    model = vgp.build_rnn(units=4, input_dim=2, activation="relu", output_activation="linear")
    give_random_weights(model)
    kernel, recurrent, bias, head, head_bias = model.get_weights()
    h = np.zeros((6, 4))
    for t in range(steps):
        h = np.maximum(SEQUENCES[:, t] @ kernel + h @ recurrent + bias, 0)
    np.testing.assert_allclose(model(SEQUENCES[:, :steps]), h @ head + head_bias, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_rnn_seed_fixes_the_weights_and_gives_no_two_alike(cell):
    def weights(seed, global_seed):
        keras.utils.set_random_seed(global_seed)
        options = {"kernel_initializer": "orthogonal", "units": 4, "input_dim": 4}
        return [
            w for w in vgp.build_rnn(cell, seed=seed, **options).get_weights() if w.shape[:1] == (4,) and w.ndim == 2
        ]

    one, same, other = weights(7, 0), weights(7, 1), weights(8, 0)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(one[0], one[1])


def test_rnn_initializers_go_to_their_kernels():
    options = {"kernel_initializer": keras.initializers.Constant(0.5)}
    model = vgp.build_rnn(recurrent_initializer=keras.initializers.Orthogonal(gain=3.0), **options)
    kernel, recurrent, bias, head, _ = model.get_weights()
    assert (kernel == 0.5).all() and (head == 0.5).all() and not bias.any()
    np.testing.assert_allclose(np.linalg.svd(recurrent, compute_uv=False), np.full(10, 3.0), rtol=1e-5)


@pytest.mark.parametrize("cell", ["SimpleRNN", "rnn", None, keras.layers.LSTM], ids=str)
def test_unknown_cells_are_refused(cell):
    with pytest.raises(ValueError, match=r"cell is .*give one of \['simple_rnn', 'lstm', 'gru'\]"):
        vgp.build_rnn(cell)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("units", 0, ValueError),
        ("input_dim", 1.0, TypeError),
        ("seed", -1, ValueError),
        ("activation", "tanhh", ValueError),
        ("output_activation", None, TypeError),
        ("activation", keras.layers.ReLU(), TypeError),
        ("output_activation", keras.layers.ReLU(), TypeError),
        ("kernel_initializer", "tanh", ValueError),
        ("recurrent_initializer", keras.initializers.Orthogonal, TypeError),
    ],
)
def test_rnn_refuses_bad_arguments_naming_them(argument, value, error):
    with pytest.raises(error, match=argument):
        vgp.build_rnn(**{argument: value})


def test_rnn_initializer_with_its_own_seed_is_refused():
    with pytest.raises(ValueError, match=r"recurrent_initializer carries its own seed, 11.*build_rnn"):
        vgp.build_rnn(recurrent_initializer=keras.initializers.Orthogonal(seed=11))
