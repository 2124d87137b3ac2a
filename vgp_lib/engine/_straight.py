"""The straight line, which a net with hidden layers should do better than."""

import keras
from keras import layers

from vgp_lib.engine import _head, _keras
from vgp_lib.engine._rehearsal import STEPS, Rehearsal, standardized

_CLOSE = 0.02  # of the loss of shuffled answers: less than that is no difference
_NOTHING = 0.1  # of the same: little is left to a line that is better
_PER_WEIGHT = 3  # samples; with fewer a straight line fits anything
_BENT = (layers.MaxPooling1D, layers.MaxPooling2D, layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D)
_STRAIGHT = (
    keras.Model, layers.InputLayer, layers.Dense, layers.Conv1D, layers.Conv2D, layers.BatchNormalization,
    layers.Activation, *(kind for kind in _head.NEUTRAL if kind not in _BENT),
)  # fmt: skip


def is_straight(model, x, kernel_layers):
    """Tell whether a net with hidden layers is a straight line, since nothing in it bends; in doubt it bends."""
    order = _keras.forward_order(model, x)
    bends = any(_keras.is_foreign(part) for part in order if isinstance(part, keras.Model))
    behind = False
    for layer in reversed(order):
        activation = getattr(layer, "activation", None)
        plain = isinstance(layer, _STRAIGHT) and activation in (None, keras.activations.linear)
        bends |= behind and not plain
        behind |= layer is kernel_layers[-1]
    return len(kernel_layers) > 1 and not bends


def as_good(patient):
    """Say so if a straight line, trained as long on scaled inputs, does as well as the net; else return ""."""
    rehearsal, last = patient.rehearsal, patient.layers[-1]
    if patient.is_straight:
        return "without an activation in its hidden layers the net is a straight line"
    flat = patient.x.ndim == 2 and not patient.tokens and rehearsal.answer_shape == (getattr(last, "units", None),)
    if len(patient.layers) < 2 or not flat or rehearsal.count < STEPS:
        return ""
    x, y = patient.x[:: rehearsal.stride], patient.y[:: rehearsal.stride]
    if x.shape[1] * last.units * _PER_WEIGHT > len(x):
        return ""
    activation = _head.last_activation(patient.model, x)
    dense = layers.Dense(last.units, activation, kernel_initializer="zeros", name="straight")
    line = keras.Sequential([keras.Input(x.shape[1:], name="x"), dense], name="line")
    course = Rehearsal(line, standardized(x), y, keras.optimizers.Adam(0.1), patient.loss, STEPS).train()
    perfect = course.finite and course.last < _NOTHING * abs(patient.course.shuffled)  # then it is what the data are
    close = course.finite and course.last <= patient.course.last + _CLOSE * abs(patient.course.shuffled)
    return f"a straight line does as well, {course.last:.2g}" if close and not perfect else ""
