"""From a weight update to the gradient: the formula of the course."""

import numpy as np

from vgp_lib.engine._arguments import one_array


def gradient_from_update(old, new, learning_rate):
    """Derive the gradient from a weight update: (old - new) / learning_rate, in float64.

    This is the gradient for exactly one step of plain SGD. After several steps it is a sum of their gradients. After a
    step of Adam, RMSprop or SGD with momentum it is not a gradient at all, since those rescale or accumulate it. And it
    cannot see below the rounding of the weights: where |gradient| < ulp(weight) / (2 learning_rate) it returns 0. For
    float32 weights between 0.5 and 1 and learning rate 0.1 that floor is 3e-7.

    Args:
        old, new: floating-point weights before and after the step, arrays of one shape.
        learning_rate: the step size, positive; a number or an optimizer's `learning_rate`.

    Raises `ValueError` or `TypeError` if an array is empty, not floating-point or not finite, if the shapes differ, or
    if the learning rate is not a positive number.
    """
    old, new = _weight_pair(old, new)
    learning_rate = _learning_rate(learning_rate)
    with np.errstate(over="ignore"):  # a quotient beyond float64 is inf, and says so
        return (old - new) / learning_rate


def percent_change(old, new):
    """Return by how many percent each weight moved: |100 (old - new) / old|, in float64; nan where old is 0.

    Arguments and errors are those of `gradient_from_update`.
    """
    old, new = _weight_pair(old, new)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        return np.where(old == 0, np.nan, np.abs(100 * ((old - new) / old)))[()]


def power_of_ten(value):
    """Write a number of at least 0 as its nearest power of ten, such as 1e-7: what survives another computer."""
    return f"1e{round(np.log10(value))}" if 0 < value < np.inf else f"{value:g}"


def _weight_pair(old, new):
    old, new = _weights("old", old), _weights("new", new)
    if old.shape != new.shape:
        raise ValueError(f"old has shape {old.shape}, new has shape {new.shape}; give one layer's weights at two times")
    return old, new


def _weights(name, values):
    values = one_array(name, values)
    if not np.issubdtype(values.dtype, np.floating):
        advice = f"weights are floating-point: give layer.get_weights()[0], or {name}.astype('float32')"
        raise TypeError(f"{name} holds {values.dtype} numbers; {advice}")
    if values.size == 0:
        raise ValueError(f"{name} is empty, shape {values.shape}; give an array with at least one weight")
    if not np.isfinite(values).all():
        message = f"{name} holds values that are nan or infinite: the training has exploded; give the weights of an "
        raise ValueError(message + "earlier step, or train with a smaller learning rate or with clipping")
    return values.astype("float64")  # so that the subtraction adds no rounding of its own


def _learning_rate(value):
    advice = "give a positive number, such as 0.1 or optimizer.learning_rate"
    number = one_array("learning_rate", value)
    if number.size != 1 or number.dtype.kind not in "iuf":
        raise TypeError(f"learning_rate is {value!r}, a {type(value).__name__}; {advice}")
    if not 0 < number.item() < np.inf:
        raise ValueError(f"learning_rate is {number.item()}; {advice}")
    return float(number.item())
