"""Whether inputs, last layer, loss and targets of a net belong together: what is known before any step."""

import contextlib
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from vgp_lib.engine import _keras

_OUTSIDE = 0.05  # so large a share of the targets may lie out of reach before we speak of it

# What an activation can answer.
_RANGES = {
    "sigmoid": (0, 1), "hard_sigmoid": (0, 1), "softmax": (0, 1), "sparsemax": (0, 1), "tanh": (-1, 1),
    "softsign": (-1, 1), "hard_tanh": (-1, 1), "relu": (0, np.inf), "relu6": (0, 6), "softplus": (0, np.inf),
    "exponential": (0, np.inf),
}  # fmt: skip
_PROBABILITIES = ("sigmoid", "hard_sigmoid", "softmax", "sparsemax")
# These hand the range of their input on.
NEUTRAL = (
    layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.AlphaDropout, layers.Flatten,
    layers.Reshape, layers.Permute, layers.Masking, layers.ActivityRegularization, layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D, layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.MaxPooling1D,
    layers.MaxPooling2D, layers.AveragePooling1D, layers.AveragePooling2D,
)  # fmt: skip
_INITIALIZER = keras.initializers.GlorotUniform(seed=0)
_BINARY, _CATEGORICAL = "binary_crossentropy", "categorical_crossentropy"
_SPARSE, _POISSON = "sparse_categorical_crossentropy", "poisson"
_ALIASES = {"mse": "mean_squared_error", "mae": "mean_absolute_error", "logcosh": "log_cosh", "huber_loss": "huber"}
_REGRESSION = ("error", "huber", "log_cosh")


@dataclass(frozen=True)
class Head:
    """The last layer, or another activation or loss, that the targets ask for, and why; None: as it is."""

    because: str
    units: int
    activation: str
    loss: str
    y_line: str | None = None  # what to do with the targets instead

    @property
    def line(self):
        if self.y_line:
            return self.y_line
        how = "" if self.activation == "linear" else f', activation="{self.activation}"'
        return f'keras.layers.Dense({self.units}{how})  # the last layer, with loss="{self.loss}"'


def loss_name(loss):
    """Return the name of a loss as Keras writes it: "mean_squared_error" of "mse" and of MeanSquaredError()."""
    if not isinstance(loss, str):
        loss = getattr(loss, "name", None) or getattr(loss, "__name__", "")
    name = getattr(_known(loss), "__name__", loss)
    return _ALIASES.get(name, name)


def _known(name):
    try:
        return keras.losses.get(name)
    except (ValueError, TypeError):
        return None


def is_regression(name):
    return any(word in name for word in _REGRESSION)


def last_activation(model, x):
    """Return the name of the activation that a model ends with, or None if that cannot be told."""
    for layer in reversed(_keras.forward_order(model, x)):
        if isinstance(layer, (layers.Softmax, layers.ReLU)):
            config = layer.get_config()
            plain = not any(config.get(name) for name in ("max_value", "negative_slope", "threshold"))
            return type(layer).__name__.lower() if plain else None
        if _keras.is_keras(layer) and hasattr(layer, "activation"):
            activation = layer.activation
            return activation.__name__ if hasattr(activation, "__name__") and _keras.is_keras(activation) else None
        if not isinstance(layer, NEUTRAL):
            return None
    return None


def check_inputs(model, x):
    """Return why nothing can be learned from these inputs, and the line that changes it; or None."""
    embedding, low, high = _first_embedding(model), x.min().item(), x.max().item()
    if embedding and np.any(x != np.trunc(x)):
        because = f"An Embedding takes whole numbers, the tokens, and x holds fractions from {low:.3g} to {high:.3g}"
        return because, f"keras.layers.Reshape({(*x.shape[1:], 1)})  # in place of the Embedding, for measured numbers"
    if embedding and (low < 0 or high >= embedding.input_dim):
        because = f"The Embedding knows tokens from 0 to {embedding.input_dim - 1}, and x holds {low:.0f} to {high:.0f}"
        line = f"keras.layers.Embedding({int(max(high, high - low)) + 1}, {embedding.output_dim})"
        return because, line + ("  # and x = x - x.min()" if low < 0 else "")
    if len(x) > 1 and (x.min(axis=0) == x.max(axis=0)).all():
        return "All samples in x are alike, so nothing can tell them apart", "x.std(axis=0)  # look at the inputs"
    return None


def _first_embedding(model):
    """Return the Embedding that a Sequential or functional model gives its input to, or None."""
    for layer in getattr(model, "layers", []):
        if isinstance(layer, layers.Embedding):
            with contextlib.suppress(AttributeError, ValueError):  # not called by symbols, or called twice
                return layer if any(layer.input is one for one in model.inputs or []) else None
    return None


def check_head(model, x, y, loss):
    """Return the `Head` that a model should have, or None if its own belongs to its loss and its targets."""
    shape, name = _answer_shape(model, x), loss_name(loss)
    activation, logits = last_activation(model, x), bool(getattr(loss, "from_logits", False))
    squeezed = shape[-1] == 1 and len(shape) - 1 == y.ndim > 1  # by Keras
    because = _same_answer(activation, shape)
    for rule in (_constant, _unlike_shapes, _not_probabilities, _unreachable):
        because = because or rule(activation, shape[:-1] if squeezed else shape, name, logits, y)
    return _belonging(because, name, y, 1 if squeezed or y.ndim == 1 else y.shape[-1]) if because else None


def _answer_shape(model, x):
    if getattr(model, "outputs", None):  # a subclassed model has none
        return tuple(model.outputs[0].shape)
    with keras.StatelessScope():
        return tuple(_keras.twin(model)[0](x[:1], training=False).shape)


def _same_answer(activation, shape):
    one = shape[-1] == 1 and activation == "softmax"
    return "A softmax over one unit gives every sample the same answer, 1" if one else None


def _constant(activation, shape, name, logits, y):
    """The share of one class among one is 1."""
    if shape[-1] == 1 and name in (_CATEGORICAL, _SPARSE):
        return f"The loss {name} over one unit is 0, or the same, whatever the net answers"
    return None


def _unlike_shapes(activation, shape, name, logits, y):
    """Losses that Keras lets broadcast compare each target with every answer."""
    width = 1 if y.ndim == 1 else y.shape[-1]
    broadcast = is_regression(name) or name in (_POISSON, "kl_divergence", "hinge", "squared_hinge")
    if broadcast and len(shape) == 2 and y.ndim <= 2 and width != shape[-1] and 1 in (width, shape[-1]):
        return f"Each sample has {_count(width, 'target')} and {_count(shape[-1], 'answer')}: all are compared with all"
    return None


def _not_probabilities(activation, shape, name, logits, y):
    """A cross-entropy takes probabilities: of one yes or no each, or of classes, which sum to 1."""
    if name == _BINARY and _share(np.logical_or(y < 0, y > 1)) > 0:
        return f"{name} takes targets from 0 to 1, and y runs from {y.min():.3g} to {y.max():.3g}"
    wanted = {_BINARY: _PROBABILITIES, _CATEGORICAL: ("softmax", "sparsemax"), _SPARSE: _PROBABILITIES}.get(name)
    if wanted and not logits and activation is not None and activation not in wanted:
        kind = "probabilities that sum to 1" if name != _BINARY else "probabilities"
        return f"{name} takes {kind}, and a last layer with the activation {activation} does not give them"
    return None


def _unreachable(activation, shape, name, logits, y):
    """Targets outside of what the last activation can answer."""
    low, high = _RANGES.get(activation, (-np.inf, np.inf))
    if name == _POISSON and _share(y < 0) > 0:
        return f"poisson takes counts, and y runs from {y.min():.3g} to {y.max():.3g}"
    if not is_regression(name) and name != _POISSON:
        return None
    if _share(np.logical_or(y < low, y > high)) > _OUTSIDE:
        reach = f"[{low}, {high}]" if np.isfinite(high) else f"[{low}, ∞)"
        return f"The targets run from {y.min():.3g} to {y.max():.3g}, and a {activation} answers in {reach} only"
    if activation == "softmax" and shape[-1] == y.shape[-1] and _share(np.abs(y.sum(axis=-1) - 1) > 0.1) > _OUTSIDE:
        return "The answers of a softmax sum to 1, and the targets of a sample do not"
    return None


def _belonging(because, name, y, width):
    """Choose the last layer and the loss by the targets; what was a regression stays one, if they are no classes."""
    values = np.unique(y)
    classes = name in (_BINARY, _CATEGORICAL, _SPARSE)
    whole = bool(np.equal(np.mod(values, 1), 0).all())
    if np.isin(values, (0, 1)).all():
        one_hot = width > 1 and bool((y.sum(axis=-1) == 1).all())
        return Head(because, width, *(("softmax", _CATEGORICAL) if one_hot else ("sigmoid", _BINARY)))
    if classes and np.isin(values, (-1, 1)).all():
        return Head(because, width, "sigmoid", _BINARY, "y = (y + 1) / 2  # labels 0 and 1")
    if classes and whole and width == 1 and values[0] >= 0 and values[-1] < 1000:
        return Head(because, int(values[-1]) + 1, "softmax", _SPARSE)
    if classes and values[0] >= 0 and values[-1] <= 1:
        return Head(because, width, "sigmoid", _BINARY)
    return Head(because, width, "linear", name if is_regression(name) else "mean_squared_error")


def repair(model, head, y, loss):
    """Return a copy of the model with this head, its targets and its loss; None if it cannot be built from its layers.

    All other layers keep their weights.
    """
    if head.y_line:
        return model, (y + 1) / 2, loss
    order, last = _keras.forward_order(model), _keras.kernel_layers(model)[-1]
    behind = [id(layer) for layer in order[[id(layer) for layer in order].index(id(last)) + 1 :]]

    def change(layer, config):
        if layer is last:
            return layers.Dense(head.units, head.activation, kernel_initializer=_INITIALIZER, name=layer.name)
        return layers.Identity(name=layer.name) if id(layer) in behind and not layer.weights else None

    copy = _keras.rebuild(model, change) if isinstance(last, layers.Dense) else None
    return None if copy is None else (copy, y, head.loss)


def _share(found):
    return float(np.mean(found))


def _count(number, word):
    return f"{number} {word}{'' if number == 1 else 's'}"
