"""The Keras models of the course."""

import difflib
import inspect

import keras
import numpy as np

from vgp_lib.engine._arguments import flag, integer

_LARGEST = 10_000  # layers, units or inputs: beyond, a slip is more likely than a wish, and the memory ends
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
    hidden_layers = integer("hidden_layers", hidden_layers, at_least=1, at_most=_LARGEST)
    units = integer("units", units, at_least=1, at_most=_LARGEST)
    input_dim = integer("input_dim", input_dim, at_least=1, at_most=_LARGEST)
    batch_normalization, residual = flag("batch_normalization", batch_normalization), flag("residual", residual)
    activation = _resolve(keras.activations, "activation", activation, layers=True)
    output_activation = _resolve(keras.activations, "output_activation", output_activation)
    kernels = _initializers("build_mlp", "kernel_initializer", kernel_initializer, _seeds(seed, hidden_layers + 1))

    inputs = h = keras.Input((input_dim,), name="input")
    for index in range(hidden_layers):
        block = _block(h, units, activation, next(kernels), batch_normalization, f"hidden_{index + 1}")
        h = keras.layers.Add(name=f"hidden_{index + 1}_add")([h, block]) if residual and index > 0 else block
    outputs = keras.layers.Dense(1, output_activation, kernel_initializer=next(kernels), name="output")(h)
    return keras.Model(inputs, outputs, name="mlp")


def _block(h, units, activation, kernel, batch_normalization, name):
    """One hidden layer: Dense, and where asked for, its normalization and an activation layer of its own."""
    given = isinstance(activation, keras.layers.Layer)
    own = None if batch_normalization or given else activation
    h = keras.layers.Dense(units, own, use_bias=not batch_normalization, kernel_initializer=kernel, name=name)(h)
    if batch_normalization:
        h = keras.layers.BatchNormalization(name=f"{name}_normalization")(h)
    if given:
        return type(activation).from_config(activation.get_config() | {"name": f"{name}_activation"})(h)
    return keras.layers.Activation(activation, name=f"{name}_activation")(h) if batch_normalization else h


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
    units = integer("units", units, at_least=1, at_most=_LARGEST)
    input_dim = integer("input_dim", input_dim, at_least=1, at_most=_LARGEST)
    activation = _resolve(keras.activations, "activation", activation)
    output_activation = _resolve(keras.activations, "output_activation", output_activation)
    first, middle, last = _seeds(seed, 3)
    kernels = _initializers("build_rnn", "kernel_initializer", kernel_initializer, [first, last])
    recurrent = _initializers("build_rnn", "recurrent_initializer", recurrent_initializer, [middle])

    inputs = keras.Input((None, input_dim), name="input")
    own = {"kernel_initializer": next(kernels), "recurrent_initializer": next(recurrent)}
    h = _CELLS[cell](units, activation, name="recurrent", **own)(inputs)
    outputs = keras.layers.Dense(1, output_activation, kernel_initializer=next(kernels), name="output")(h)
    return keras.Model(inputs, outputs, name="rnn")


def _seeds(seed, count):
    """One seed for each kernel, in the order of the layers; `train` draws by the same rule."""
    if seed is None:
        return [None] * count
    return [int(state) for state in np.random.SeedSequence(integer("seed", seed)).generate_state(count)]


def _resolve(module, argument, identifier, layers=False):
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
    layer = isinstance(identifier, keras.layers.Layer)
    if module is keras.activations:
        if layer and not layers:
            raise TypeError(f"{argument} is the layer {identifier.name!r}; give a Keras name or a function")
        mistaken = isinstance(identifier, keras.initializers.Initializer)
    else:
        mistaken = layer or getattr(keras.activations, getattr(identifier, "__name__", ""), None) is identifier
    if not callable(identifier) or mistaken:
        raise TypeError(f"{argument} is {identifier!r}; give a Keras name, a Keras object or a function")
    return identifier


def _initializers(function, argument, identifier, seeds):
    """Yield a fresh initializer for each seed, so that no two layers draw the same weights."""
    initializer = _resolve(keras.initializers, argument, identifier)
    if not isinstance(initializer, keras.initializers.Initializer):
        return iter([initializer] * len(seeds))
    config = initializer.get_config()
    if config.get("seed") is not None:
        raise ValueError(
            f"{argument} carries its own seed, {config['seed']}, which would give layers of the same shape "
            f"identical weights; leave the seed out of the initializer and pass seed=… to {function}"
        )
    return (type(initializer).from_config({**config, "seed": seed} if "seed" in config else config) for seed in seeds)
