"""The lines that may help: each is written, and tried on a copy; and how an optimizer and a layer are written."""

import contextlib
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import layers

from vgp_lib.engine import _keras
from vgp_lib.engine._rehearsal import FEW_STEPS, Rehearsal

_LARGE, _TINY = 5.0, 0.05  # in root mean square; initializers are made for inputs and targets of about 1
OPEN = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu")  # their slope stays near 1 on one side
_SCALE = "{0} = ({0} - {0}.mean(axis=0)) / ({0}.std(axis=0) + 1e-7)"
_HE = (keras.initializers.HeNormal, keras.initializers.HeUniform)
_TRIED = 3  # so many lines are tried at most
_CLEARLY = 0.1  # so large a share of the loss, or half of what is left of it, is a clear difference
_ENOUGH = 0.5  # a line that removes less of the loss may need another one beside it
NARROW, WIDER = 4, 10  # of few units all are easily dead at once (Lu et al., 2019, "Dying ReLU and initialization")
_PLAIN = (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU)  # layers that only apply an activation


@dataclass(frozen=True)
class Remedy:
    """A line of code, and what it changes: learning rate, data, optimizer, or layers (see `_keras.rebuild`)."""

    line: str
    rate: float | None = None
    scale_x: bool = False
    scale_y: bool = False
    optimizer: keras.optimizers.Optimizer | None = None
    change: object = None

    def course(self, patient):
        """Rehearse with the line; None if the model cannot be built anew with it."""
        if self.change is None and self.optimizer is None:
            return patient.rehearsal.train(self.rate, self.scale_x, self.scale_y)
        model = patient.model if self.change is None else _keras.rebuild(patient.model, self.change, keep=False)
        if model is None:
            return None
        optimizer = self.optimizer or patient.optimizer
        x, y = patient.x[:: patient.rehearsal.stride], patient.y[:: patient.rehearsal.stride]
        return Rehearsal(model, x, y, optimizer, patient.loss, patient.rehearsal.count).train()


def propose(patient, verdict, index):
    """Return the line that helps most, the words that tell how much, and whether it does; else the line of theory.

    `patient` is what `diagnose` knows: its `model`, `layers`, `optimizer`, `rehearsal`, `course` and so on. The lines
    come in the order of theory: a later one must remove clearly more of the loss than an earlier one.
    """
    lines = list(_lines(patient, verdict, index))[: _TRIED if patient.small else _TRIED - 1]
    if patient.rehearsal.count < FEW_STEPS:
        return lines[0].line, "for want of time the next line is not tried", False
    best, tried = _try(patient, lines)
    one = best[1] if best else next((line for line in lines if line.change), lines[0])
    if one.change and not one.optimizer and not (best and best[0] > _ENOUGH):  # two faults at once
        adam, (code, _, where) = _adam(), one.line.partition("  # ")
        line = f"{code}  # {where + ', ' if where else ''}and {adam.line}"
        best, _ = _try(patient, [replace(one, line=line, optimizer=adam.optimizer)], best)
    if best:
        _, line, course = best
        words = f"with the next line, tried on a copy, from {course.losses[0]:.2g} to {course.last:.2g}"
        return line.line, words, True
    if not tried:
        return lines[0].line, "the next line is not tried, for the model cannot be built anew from its layers", False
    return lines[0].line, f"none of these helped in the rehearsal: {'; '.join(tried)}", False


def _try(patient, lines, best=None):
    """Return the best of the lines that help, as (gain, line, course) or None, and all that could be tried."""
    tried = []
    for line in lines:
        patient.tell(f"tries {line.line}")
        course = line.course(patient)
        tried += [] if course is None else [line.line.partition("  #")[0]]
        so_far = best[0] if best else patient.course.gain
        if course and course.learned and course.gain > so_far + min(_CLEARLY, (1 - so_far) / 2):
            best = course.gain, line, course
        if best and best[0] > 1 - _CLEARLY:
            break
    return best, tried


def _lines(patient, verdict, index):
    """Yield the remedies that fit the verdict, the likeliest first."""
    if verdict == "healthy":
        yield from _for_healthy(patient)
        return
    sick_before, config = patient.sick_before(verdict), _config(patient.layers[index])
    saturated = index == 0 and patient.before.saturated[0] > 0.5
    if patient.input_size > _LARGE and (config.get("activation") in OPEN or saturated or not sick_before):
        yield Remedy(_SCALE.format("x"), scale_x=True)
    if patient.target_size > _LARGE and verdict == "exploding" and not sick_before:
        yield Remedy(_SCALE.format("y"), scale_y=True)
    if not sick_before:  # the steps made it so
        yield _step(patient.optimizer, 0.1, clip=verdict == "exploding")
        if verdict == "exploding":
            yield _step(patient.optimizer, 0.01)
    if isinstance(patient.layers[index], layers.RNN):
        yield from _for_recurrent(patient.layers[index], patient.optimizer)
    else:
        yield from _for_layers(patient, patient.layers[index], config, verdict)
    if verdict == "vanishing" and not isinstance(patient.optimizer, keras.optimizers.Adam):
        yield _adam()


def _for_healthy(patient):
    first = patient.layers[0]
    relu = _with_relu(patient, first, _config(first), "healthy")
    if patient.is_straight and relu is not None:
        yield relu
    if patient.input_size > _LARGE or 0 < patient.input_size < _TINY:
        yield Remedy(_SCALE.format("x"), scale_x=True)
    if patient.target_size > _LARGE or 0 < patient.target_size < _TINY:
        yield Remedy(_SCALE.format("y"), scale_y=True)
    yield _step(patient.optimizer, 10 if patient.course.last <= patient.course.losses[0] else 0.1)
    if not isinstance(patient.optimizer, keras.optimizers.Adam):
        yield _adam()
    yield from _for_layers(patient, first, _config(first), "healthy")


def _adam():
    return Remedy("optimizer = keras.optimizers.Adam(0.01)", optimizer=keras.optimizers.Adam(0.01))


def _step(optimizer, factor, clip=False):
    line = optimizer_line(optimizer, factor, clip)
    rate = float(f"{float(np.asarray(optimizer.learning_rate)) * factor:.3g}")
    if _keras.schedule_of(optimizer) is None and "clip" not in line.partition("global_")[2]:
        return Remedy(line, rate=rate)
    names = {"keras": keras, "optimizer": _keras.copy_optimizer(optimizer)}
    exec(line, names)
    return Remedy(line, optimizer=names["optimizer"])


def _for_recurrent(layer, optimizer):
    def pool(one, config):
        if one is not layer:
            return None
        parts = [layers.AveragePooling1D(4, name=f"{one.name}_pooling"), type(one).from_config(config)]
        return keras.Sequential(parts, name=f"{one.name}_pooled")

    def simplify(one, config):
        if one is not layer:
            return None
        kept = {name: config[name] for name in ("units", "go_backwards", "return_sequences", "kernel_initializer")}
        return layers.SimpleRNN(**kept, recurrent_initializer=keras.initializers.Orthogonal(seed=0), name=one.name)

    orthogonal = getattr(layer.cell.recurrent_initializer, "gain", None) == 1
    if not isinstance(optimizer, keras.optimizers.Adam):
        yield _adam()
    if isinstance(layer, layers.SimpleRNN) and orthogonal:
        yield Remedy("keras.layers.AveragePooling1D(4)  # before the recurrent layer: fewer time steps", change=pool)
    else:  # in place of gates, too: at the start they let less through
        yield Remedy(f'keras.layers.SimpleRNN({layer.units}, recurrent_initializer="orthogonal")', change=simplify)


def _for_layers(patient, layer, config, verdict):
    """ReLU with He's weights in every hidden layer, batch normalization, skip connections; what the net has not yet."""
    normalized = Remedy("keras.layers.BatchNormalization()  # behind every hidden layer", change=_normalize(patient))
    line = "h = keras.layers.Add()([h, block(h)])  # a skip connection around every block"
    skips, relu = Remedy(line, change=_skip(patient)), _with_relu(patient, layer, config, verdict)
    if patient.normalizes and verdict != "dead":
        yield skips
    if relu is not None:
        yield relu
    if not patient.normalizes:
        yield from (normalized, skips)


def _with_relu(patient, layer, config, verdict):
    """ReLU and He's weights in every hidden layer, as a line and as a change; None if the net has them, or no units."""
    is_open, wider, kinds = config.get("activation") in OPEN, _wider(patient), type(layer).__mro__
    if isinstance(getattr(layer, "kernel_initializer", None), _HE) and is_open and verdict != "dead" and not wider:
        return None
    size = (config | wider).get("units", config.get("filters"))
    kind = next((kind.__name__ for kind in kinds if _public(layers, kind)), "Layer")  # or the nearest ancestor
    if kind == "Layer" or size is None:
        return None
    shape = f"{size}, {config['kernel_size']}" if "kernel_size" in config else f"{size}"
    activation = "leaky_relu" if verdict == "dead" else config["activation"] if is_open else "relu"
    if config.get("activation") == "linear" and _activation_layers(patient):
        own = f'keras.layers.{kind}({shape}, kernel_initializer="he_normal")'
        line = f'{own}, keras.layers.Activation("{activation}")'
    else:
        line = f'keras.layers.{kind}({shape}, activation="{activation}", kernel_initializer="he_normal")'
    where = "  # in every hidden layer" if len(patient.layers) > 2 else ""
    return Remedy(line + where, change=_open(patient, wider | {"activation": activation}))


def _wider(patient):
    """More units, where no hidden layer has even 4 and the net's answer keeps its shape; a bottleneck is left alone."""
    units = [None if isinstance(one, layers.RNN) else _config(one).get("units") for one in patient.layers[:-1]]
    if not units or not all(isinstance(number, int) and number < NARROW for number in units):
        return {}
    made = _keras.rebuild(patient.model, _open(patient, {"activation": "relu", "units": WIDER}), keep=False)
    return {"units": WIDER} if made is not None and made.output_shape == patient.model.output_shape else {}


def _activation_layers(patient):
    """Ids of the layers between that only apply an activation."""
    order = [layer for layer in _keras.forward_order(patient.model, patient.x) if isinstance(layer, _PLAIN)]
    return [id(layer) for layer in order if id(layer) not in _behind_last(patient)]


def _hidden(patient):
    """Ids of the hidden layers with a kernel, in order; recurrent ones have their own remedies."""
    return [id(layer) for layer in patient.layers[:-1] if not isinstance(layer, layers.RNN)]


def _open(patient, new):
    hidden, between = _hidden(patient), _activation_layers(patient)

    def change(layer, config):
        if id(layer) in hidden and "kernel_initializer" in config:
            he = keras.initializers.HeNormal(seed=hidden.index(id(layer)))
            own = {"activation": "linear"} if between and config.get("activation") == "linear" else {}
            return type(layer).from_config(config | new | own | {"kernel_initializer": he})
        return layers.Activation(new["activation"], name=layer.name) if id(layer) in between else None

    return change


def _normalize(patient):
    hidden = _hidden(patient)

    def change(layer, config):
        if id(layer) not in hidden:
            return None
        parts = [
            type(layer).from_config(config | {"activation": "linear"}),
            layers.BatchNormalization(name=f"{layer.name}_normalization"),
            layers.Activation(config.get("activation", "linear"), name=f"{layer.name}_activation"),
        ]
        return keras.Sequential(parts, name=f"{layer.name}_normalized")

    return change


class _Skip(layers.Layer):
    """A layer with a connection around it."""

    def __init__(self, inner):
        super().__init__(name=f"{inner.name}_skip")
        self.inner = inner

    def call(self, inputs):
        return inputs + self.inner(inputs)


def _skip(patient):
    hidden = _hidden(patient)

    def change(layer, config):
        with contextlib.suppress(AttributeError, ValueError):  # a layer that is used twice has no one input
            if id(layer) in hidden[1:] and layer.input.shape == layer.output.shape:
                return _Skip(type(layer).from_config(config))
        return None

    return change


def _behind_last(patient):
    order = [id(layer) for layer in _keras.forward_order(patient.model, patient.x)]
    return order[order.index(id(patient.layers[-1])) :]


def _config(layer):
    with contextlib.suppress(NotImplementedError):  # a custom layer may have none
        return layer.get_config()
    return {}


def _public(module, kind):
    """Tell whether a class is one of keras.layers or keras.optimizers."""
    return getattr(module, kind.__name__, None) is kind


def optimizer_line(optimizer, factor=1.0, clip=False):
    """Write the line that changes the optimizer: its learning rate times a factor, and clipping, if it has none."""
    optimizer = _keras.copy_optimizer(optimizer)
    rate = float(f"{float(np.asarray(optimizer.learning_rate)) * factor:.3g}")
    clip = clip and not any(getattr(optimizer, name) for name in ("clipnorm", "clipvalue", "global_clipnorm"))
    if _public(keras.optimizers, type(optimizer)):
        return f"optimizer = {write_optimizer(optimizer, rate, {'global_clipnorm': 1.0} if clip else {})}"
    if _keras.schedule_of(optimizer) is not None:  # whose learning rate cannot be set
        return f"optimizer = keras.optimizers.Adam({rate}{', global_clipnorm=1.0' if clip else ''})"
    return f"optimizer.learning_rate = {rate}{'; optimizer.global_clipnorm = 1.0' if clip else ''}"


def write_optimizer(optimizer, rate=None, more=None):
    """Write the call that makes an optimizer: its learning rate, and every setting that is not Keras's default."""
    optimizer = _keras.copy_optimizer(optimizer)
    kind, config = type(optimizer), optimizer.get_config()
    rate = float(f"{float(np.asarray(optimizer.learning_rate)):.3g}") if rate is None else rate
    if not _public(keras.optimizers, kind):
        return f"{kind.__name__}({rate})"
    default = kind().get_config() | {name: config[name] for name in ("name", "learning_rate")}
    changed = {name: value for name, value in config.items() if value != default[name]} | (more or {})
    settings = "".join(f", {name}={value!r}" for name, value in changed.items())
    return f"keras.optimizers.{kind.__name__}({rate}{settings})"
