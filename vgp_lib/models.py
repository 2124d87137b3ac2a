"""The Keras models of the course."""

import difflib
import inspect

import keras
import numpy as np

from vgp_lib.data import integer

_CELLS = {"simple_rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


def build_mlp(
    hidden_layers=10,
    units=10,
    activation="sigmoid",
    kernel_initializer="glorot_uniform",
    batch_normalization=False,
    residual=False,
    output_activation="sigmoid",
    input_dim=2,
    seed=None,
) -> keras.Model:
    """Build an uncompiled multilayer perceptron with one output, layers named hidden_1, hidden_2, …, output.

    Args:
        hidden_layers: number of hidden Dense layers, at least 1.
        units: width of each hidden layer, at least 1.
        activation: of the hidden layers: a Keras name, a function, or a layer such as `keras.layers.LeakyReLU(0.1)`,
            of which every hidden layer gets its own copy.
        kernel_initializer: of every Dense layer, output included: a Keras name, object or function. Every layer gets
            its own copy: Keras gives layers that share one initializer object identical weights.
        batch_normalization: put BatchNormalization between Dense and activation, and leave out the bias, which the
            normalization would subtract again (Ioffe & Szegedy 2015, section 3.2).
        residual: from the second hidden layer on, add the layer's input to its output: h + φ(W h + b), one layer a
            block (after He et al. 2015, equation 1).
        output_activation: of the output unit.
        input_dim: number of input features.
        seed: integer that fixes the initial weights; None leaves them to `keras.utils.set_random_seed`.

    Raises `ValueError` or `TypeError` if an argument is out of range or unknown to Keras.
    """
    hidden_layers = integer("hidden_layers", hidden_layers, at_least=1)
    units = integer("units", units, at_least=1)
    input_dim = integer("input_dim", input_dim, at_least=1)
    seed = None if seed is None else integer("seed", seed, at_least=0)
    for name, value in {"batch_normalization": batch_normalization, "residual": residual}.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} is {value!r}; give True or False")
    if isinstance(output_activation, keras.layers.Layer):
        raise TypeError(f"output_activation is the layer {output_activation.name!r}; give a Keras name or a function")
    activation = _resolve(keras.activations, "activation", activation)
    output_activation = _resolve(keras.activations, "output_activation", output_activation)
    initializer = _resolve(keras.initializers, "kernel_initializer", kernel_initializer)
    seeds = np.random.SeedSequence(seed).generate_state(hidden_layers + 1) if seed is not None else None

    def dense(index, units, activation, name, use_bias=True):
        kernel = _copy_initializer(initializer, None if seeds is None else int(seeds[index]))
        return keras.layers.Dense(units, activation, use_bias=use_bias, kernel_initializer=kernel, name=name)

    inputs = h = keras.Input((input_dim,), name="input")
    for index in range(hidden_layers):
        name, block_input = f"hidden_{index + 1}", h
        separate = batch_normalization or isinstance(activation, keras.layers.Layer)
        h = dense(index, units, None if separate else activation, name, use_bias=not batch_normalization)(h)
        if batch_normalization:
            h = keras.layers.BatchNormalization(name=f"{name}_normalization")(h)
        if separate:
            h = _activation_layer(activation, f"{name}_activation")(h)
        if residual and index > 0:
            h = keras.layers.Add(name=f"{name}_add")([block_input, h])
    outputs = dense(hidden_layers, 1, output_activation, "output")(h)
    return keras.Model(inputs, outputs, name="mlp")


def build_rnn(
    cell="simple_rnn",
    units=10,
    activation="tanh",
    kernel_initializer="glorot_uniform",
    recurrent_initializer="orthogonal",
    output_activation="sigmoid",
    input_dim=1,
    seed=None,
) -> keras.Model:
    """Build an uncompiled recurrent network with one output after the last time step; layers named recurrent, output.

    It takes sequences of any length, arrays of shape (samples, time steps, input_dim).

    Args:
        cell: of the recurrent layer: "simple_rnn", "lstm" or "gru".
        units: width of the recurrent layer, at least 1.
        activation: of the recurrent layer (in LSTM and GRU not of the gates): a Keras name or a function.
        kernel_initializer: of the kernels that act on the inputs and on the recurrent layer's output: a Keras name,
            object or function; each layer gets its own copy.
        recurrent_initializer: of the recurrent kernel, of shape (units, units) times the number of gates.
        output_activation: of the output unit: a Keras name or a function.
        input_dim: number of features of a time step.
        seed: integer that fixes the initial weights; None leaves them to `keras.utils.set_random_seed`.

    Raises `ValueError` or `TypeError` if an argument is out of range or unknown to Keras.
    """
    if not isinstance(cell, str) or cell not in _CELLS:
        raise ValueError(f"cell is {cell!r}; give one of {list(_CELLS)}")
    units = integer("units", units, at_least=1)
    input_dim = integer("input_dim", input_dim, at_least=1)
    seed = None if seed is None else integer("seed", seed, at_least=0)
    activations = {"activation": activation, "output_activation": output_activation}
    for name, value in activations.items():
        if isinstance(value, keras.layers.Layer):
            raise TypeError(f"{name} is the layer {value.name!r}; give a Keras name or a function")
        activations[name] = _resolve(keras.activations, name, value)
    kernel = _resolve(keras.initializers, "kernel_initializer", kernel_initializer)
    recurrent = _resolve(keras.initializers, "recurrent_initializer", recurrent_initializer)
    seeds = [None] * 3 if seed is None else [int(s) for s in np.random.SeedSequence(seed).generate_state(3)]

    inputs = keras.Input((None, input_dim), name="input")
    h = _CELLS[cell](
        units,
        activations["activation"],
        kernel_initializer=_copy_initializer(kernel, seeds[0], function="build_rnn"),
        recurrent_initializer=_copy_initializer(recurrent, seeds[1], "recurrent_initializer", "build_rnn"),
        name="recurrent",
    )(inputs)
    last = _copy_initializer(kernel, seeds[2], function="build_rnn")
    outputs = keras.layers.Dense(1, activations["output_activation"], kernel_initializer=last, name="output")(h)
    return keras.Model(inputs, outputs, name="rnn")


def _resolve(module, argument, identifier):
    """Turn a Keras name into the Keras object; unknown names raise a ValueError that lists the known ones."""
    if isinstance(identifier, str):
        try:
            return module.get(identifier)
        except ValueError:
            known = {name for name, value in vars(module).items() if name.islower() and callable(value)}
            known = sorted(known - {"get", "serialize", "deserialize"})
            near = [f"did you mean {name!r}? " for name in difflib.get_close_matches(identifier.lower(), known, n=1)]
            message = f"{argument} is {identifier!r}, which Keras does not know; {''.join(near)}Known are {known}"
            raise ValueError(message) from None
    if inspect.isclass(identifier):
        raise TypeError(f"{argument} is the class {identifier.__name__}; give an instance: {identifier.__name__}()")
    if module is keras.activations:
        mistaken = isinstance(identifier, keras.initializers.Initializer)
    else:
        mistaken = isinstance(identifier, keras.layers.Layer) or identifier in vars(keras.activations).values()
    if not callable(identifier) or mistaken:
        raise TypeError(f"{argument} is {identifier!r}; give a Keras name, a Keras object or a function")
    return identifier


def _copy_initializer(initializer, seed, argument="kernel_initializer", function="build_mlp"):
    """Make a fresh copy, so that no two layers draw the same weights."""
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    config = initializer.get_config()
    if config.get("seed") is not None:
        raise ValueError(
            f"{argument} carries its own seed, {config['seed']}, which would give layers of the same shape "
            f"identical weights; leave the seed out of the initializer and pass seed=… to {function}"
        )
    if "seed" in config:
        config["seed"] = seed
    return type(initializer).from_config(config)


def _activation_layer(activation, name):
    if not isinstance(activation, keras.layers.Layer):
        return keras.layers.Activation(activation, name=name)
    return type(activation).from_config({**activation.get_config(), "name": name})
