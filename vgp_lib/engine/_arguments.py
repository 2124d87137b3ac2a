"""Checks of arguments that several modules share: each returns what was given in one form, or says what to give."""

from collections.abc import Iterator
from numbers import Integral, Real

import keras
import numpy as np
import tensorflow as tf
from keras import losses

from vgp_lib.engine import _keras


def integer(name, value, at_least=0, at_most=2**63 - 1):
    """Return an argument as an int; raise `TypeError` or `ValueError` if it is none, too small or too large."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} is {value!r}; give an integer of at least {at_least}")
    if not at_least <= value <= at_most:
        most = f" and at most {at_most}" if value > at_most else ""
        raise ValueError(f"{name} is {value}; give an integer of at least {at_least}{most}")
    return int(value)


def number(name, value, positive=False):
    """Return an argument as a finite float; raise `TypeError` or `ValueError` if it is none, or too small."""
    wanted = "a positive number" if positive else "a number of at least 0"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}; give {wanted}")
    if not 0 <= value < np.inf or (positive and value == 0):
        raise ValueError(f"{name} is {value}; give {wanted}")
    return abs(float(value))  # abs: -0.0 is at least 0, and others refuse it


def flag(name, value):
    """Return an argument as a bool; raise `TypeError` if it is none."""
    if not isinstance(value, (bool, np.bool)):
        raise TypeError(f"{name} is {value!r}; give True or False")
    return bool(value)


def one_array(name, values):
    """Return an argument as an array; raise `ValueError` if its parts have different shapes."""
    try:
        return np.asarray(values)
    except ValueError:
        advice = "give one array of numbers, such as layer.get_weights()[0]"
        raise ValueError(f"{name} holds parts of different shapes; {advice}") from None


def batch(x, y):
    """Return inputs and targets as arrays of finite numbers with the same number of samples."""
    x, y = one_array("x", x), one_array("y", y)
    for name, values in {"x": x, "y": y}.items():
        if values.dtype.kind not in "biufV":  # V: bfloat16
            message = f"{name} has dtype {values.dtype}; give one array of numbers, samples along the first axis"
            if values.dtype.kind in "OUS" and values.size > 1:
                message += f": {name}.astype('float32'), or for names np.unique({name}, return_inverse=True)[1]"
            raise TypeError(message)
        if values.size == 0 or values.ndim == 0:
            raise ValueError(f"{name} has shape {values.shape}; give at least one sample, along the first axis")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds values that are nan or infinite; remove or replace those samples first")
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} samples and y has {len(y)}; give one target per sample")
    return x, y


def some_samples(x, y, at_least):
    """Return x and y as arrays: of what `fit` takes, lists of one array and data sets too, of which some batches."""
    if isinstance(x, (tf.data.Dataset, keras.utils.PyDataset)):
        if y is not None:
            raise ValueError(f"x is a {type(x).__name__}, which holds the targets too; leave y out")
        return _first_batches(x, at_least)
    if isinstance(x, Iterator):
        message = "to read it would use up a batch of yours; take one yourself, x, y = next(generator), and give that"
        raise TypeError(f"x is a {type(x).__name__}: {message}")
    if y is None:
        raise ValueError("y is None; give the targets, one per sample")
    return batch(alone(x), alone(y))


def alone(values):
    """Take the one array out of a list, tuple or dict of one, as `fit` does."""
    parts = list(values.values()) if isinstance(values, dict) else values
    one = isinstance(parts, (list, tuple)) and len(parts) == 1
    return (
        parts[0] if one and (hasattr(parts[0], "shape") or callable(parts[0]) or isinstance(parts[0], str)) else values
    )


def _first_batches(batches, at_least):
    found, count = [], 0
    number = range(len(batches)) if isinstance(batches, keras.utils.PyDataset) else None
    for part in batches if number is None else map(batches.__getitem__, number):
        if not isinstance(part, tuple) or len(part) < 2:
            raise ValueError(
                "The data set gives no pairs (x, y); give one such as from_tensor_slices((x, y)).batch(32)"
            )
        found.append([alone(one) for one in part[:2]])
        count += len(found[-1][0])
        if count >= at_least:
            break
    if not found:
        raise ValueError("The data set is empty; give one with at least one batch")
    return batch(*(np.concatenate([one[index] for one in found]) for index in range(2)))


def optimizer(identifier):
    """Return a Keras optimizer, given by itself or by its name."""
    advice = "give a Keras optimizer such as keras.optimizers.SGD(0.1), or its name"
    if not isinstance(identifier, (str, keras.optimizers.Optimizer)):
        raise TypeError(f"optimizer is {identifier!r}; {advice}")
    try:
        return keras.optimizers.get(identifier)
    except ValueError:
        raise ValueError(f"optimizer is {identifier!r}, which Keras does not know; {advice}") from None


def loss_and_targets(loss, y, prediction):
    """Return what `fit` would take: a loss of (y_true, y_pred), one value per sample (and time step), and y for it."""
    if not tf.is_tensor(prediction):
        raise TypeError(f"The model gives a {type(prediction).__name__}, not one tensor; give a model with one output")
    check_mask(prediction)
    function = _resolve(loss)
    name = getattr(function, "__name__", None) or getattr(function, "name", "")
    rank = len(prediction.shape)
    y, prediction, squeezes = _same_rank(y, prediction)
    if function is losses.binary_crossentropy or isinstance(function, losses.BinaryCrossentropy):
        _check_binary(function, name, y, prediction)
    ignored = getattr(function, "ignore_class", None)
    if function is losses.sparse_categorical_crossentropy or isinstance(function, losses.SparseCategoricalCrossentropy):
        classes = prediction.shape[-1]
        labels = y if ignored is None else y[y != ignored]
        if y.size != np.prod(prediction.shape[:-1]) or not np.isin(labels, np.arange(classes)).all():
            message = f"y must hold one label from 0 to {classes - 1} per prediction; its shape is {_any_samples(y)}"
            one_hot = y.shape == tuple(prediction.shape)
            more = "; for one-hot targets take categorical_crossentropy" if one_hot else ""
            raise ValueError(f"{message}, its values run from {y.min():.3g} to {y.max():.3g}{more}")
    elif _keras.is_keras(function) and y.shape != tuple(prediction.shape):
        message = f"y has shape {_any_samples(y)}, the model gives {_any_samples(prediction)}; {name} needs them equal"
        labels = y.size == len(y) and name.startswith("categorical") and not np.mod(y, 1).any()
        more = ", or take sparse_categorical_crossentropy for labels" if labels else ""
        flat = "; keras.layers.Flatten() before the last layer gives one answer per sample" if rank > 2 > y.ndim else ""
        raise ValueError(message + more + flat)
    y = tf.cast(y, prediction.dtype)
    call = function.call if isinstance(function, losses.Loss) else function
    if ignored is not None:
        call = _over_the_labelled(call)
    if not _keras.is_keras(function):
        _check_gradient(call, loss, y, prediction)
    return (lambda y, answer: call(y, answer[..., 0])) if squeezes else call, y


def _same_rank(y, prediction):
    """Give y and a prediction one rank, as Keras does, and tell whether the prediction's last axis went for it."""
    rank = len(prediction.shape)
    if y.ndim == rank + 1 and y.shape[-1] == 1 and rank > 1:
        return y[..., 0], prediction, False
    if y.ndim != rank - 1 or prediction.shape[-1] != 1:
        return y, prediction, False
    return (y[:, None], prediction, False) if y.ndim == 1 else (y, prediction[..., 0], True)


def _any_samples(values):
    """Write a shape without the number of samples, of which some may have been chosen."""
    return "(samples,)" if len(values.shape) == 1 else f"(samples, {', '.join(map(str, values.shape[1:]))})"


def check_mask(prediction):
    """Raise `ValueError` if a mask comes with a model's answer."""
    if _keras.mask_of(prediction) is not None:
        message = "A mask reaches the output of the model. fit weighs the loss by it, vgp_lib does not; "
        raise ValueError(message + "end the model with a layer that answers once per sample")


def _resolve(loss):
    try:
        function = losses.get(loss)
    except ValueError:
        raise ValueError(f"loss is {loss!r}, which Keras does not know; give a name such as 'mse'") from None
    if not callable(function):
        raise TypeError(f"loss is {loss!r}; give a Keras name, a keras.losses.Loss or a function of (y_true, y_pred)")
    return function


def _check_binary(function, name, y, prediction):
    outside = y[(y < 0) | (y > 1)]
    if outside.size:
        message = f"y holds {outside.flat[0]}, but {name} takes labels 0 and 1, or probabilities between them; "
        raise ValueError(message + "relabel y, or choose another loss")
    if not getattr(function, "from_logits", False) and tf.reduce_any((prediction < 0) | (prediction > 1)):
        message = f"The model gives values outside 0 to 1, which {name} cuts off; end it with a sigmoid, or give "
        raise ValueError(message + "keras.losses.BinaryCrossentropy(from_logits=True)")


def check_reduction(loss):
    """Raise `ValueError` if a loss is a sum over the batch, where steps are to be those of `fit`: we take the mean."""
    if getattr(loss, "reduction", None) == "sum":
        raise ValueError(f"loss is a sum over the batch, {type(loss).__name__}(reduction='sum'); leave reduction out")


def _over_the_labelled(function):
    """Scale a loss so that its mean over all predictions is that over those with a label, as `fit` takes it."""

    def scaled(y, prediction):
        values = function(y, prediction)
        labelled = tf.cast(_keras.mask_of(values), values.dtype)
        return values * tf.math.divide_no_nan(tf.cast(tf.size(values), values.dtype), tf.reduce_sum(labelled))

    return scaled


def _check_gradient(function, loss, y, prediction):
    """Call a loss of the caller's own once: it must give numbers, and TensorFlow must be able to differentiate it."""
    advice = "give a function of (y_true, y_pred) that returns one value per sample, or a Keras name such as 'mse'"
    try:
        with tf.GradientTape() as tape:
            tape.watch(prediction)
            value = function(y, prediction)
            total = tf.reduce_mean(0.0 if value is None else value)
        gradient = tape.gradient(total, prediction)
    except Exception as error:  # whatever a function of the caller's own may raise
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        raise ValueError(f"The loss {loss!r} cannot be evaluated ({reason}); {advice}") from error
    if value is None:
        raise ValueError(f"The loss {loss!r} returns None; {advice}")
    if gradient is None:
        message = f"The loss {loss!r} has no gradient with respect to y_pred: TensorFlow cannot differentiate NumPy; "
        raise ValueError(message + "write it with keras.ops or TensorFlow's functions")
