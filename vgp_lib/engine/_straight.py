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
    """Tell whether a net with hidden layers is a straight line, since nothing in it bends."""
    behind, bends = False, False
    for layer in reversed(_keras.forward_order(model, x)):
        activation = getattr(layer, "activation", None)
        plain = isinstance(layer, _STRAIGHT) and activation in (None, keras.activations.linear)
        bends |= behind and not plain
        behind |= layer is kernel_layers[-1]
    return len(kernel_layers) > 1 and not bends


def as_good(patient):
    """Say so if a straight line does as well as the net, which has hidden layers; else return ""."""
    if len(patient.layers) < 2 or patient.x.ndim != 2 or patient.tokens:
        return ""
    if patient.is_straight:
        return "without an activation in its hidden layers the net is a straight line"
    last = patient.layers[-1]
    if not isinstance(last, layers.Dense) or patient.x.shape[1] * last.units * _PER_WEIGHT > len(patient.x):
        return ""
    activation = _head.last_activation(patient.model, patient.x)
    dense = layers.Dense(last.units, activation, kernel_initializer="zeros", name="straight")
    line = keras.Sequential([keras.Input(patient.x.shape[1:], name="x"), dense], name="line")
    course = Rehearsal(
        line, standardized(patient.x), patient.y, keras.optimizers.Adam(0.1), patient.loss, STEPS
    ).train()
    perfect = course.finite and course.last < _NOTHING * abs(patient.course.shuffled)  # then it is what the data are
    close = course.finite and course.last <= patient.course.last + _CLOSE * abs(patient.course.shuffled)
    return f"a straight line does as well, {course.last:.2g}" if close and not perfect else ""
