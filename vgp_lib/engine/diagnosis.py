"""The verdict: is the gradient of a network sick, where, why, and what to change."""

import functools
import html
from dataclasses import dataclass

import keras
import numpy as np
from tqdm import tqdm

from vgp_lib.engine import _arguments, _head, _keras, _remedies, _straight
from vgp_lib.engine._backpropagation import Backpropagation, broken_layer, l2_norm
from vgp_lib.engine._rehearsal import FEW_STEPS, SAMPLES, STEPS, Rehearsal, first_look
from vgp_lib.layers import first_recurrent, lag_gradients, report
from vgp_lib.updates import power_of_ten

# Chosen, like the share of the loss in _rehearsal.py, on the development half of evidence/diagnosis.py.
FAINT = 1e-2  # vanishing: less than this share of the output layer's delta reaches some layer
_DOUBT = 10.0  # so many times beyond a threshold, where there was no time to see whether the net learns
DONE = 0.9  # a net that has removed more of the loss of shuffled answers has nothing left to be improved
_HALF = 0.5  # a net that has removed less, and whose loss still falls, is given a line
LATE = 2 / 3  # of the rehearsal: a loss that comes most of its way only after that still falls
LOUD = 1e2  # exploding: more than so many times the output layer's delta arrives at some layer
_SCALING = (keras.layers.Normalization, keras.layers.Rescaling)


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found: four strings (layer is None if no layer stands out); prints as a small table."""

    verdict: str
    layer: str | None
    because: str
    try_next: str

    def __repr__(self):
        where = f" at {self.layer}" if self.layer else ""
        return f"{self.verdict.upper()}{where}\n  because   {self.because}\n  try next  {self.try_next}"

    def _repr_html_(self):
        color = {"healthy": "#0072B2"}.get(self.verdict, "#D55E00")
        where = f" at {html.escape(self.layer)}" if self.layer else ""
        return (
            f'<div style="border-left: 4px solid {color}; padding-left: 1em; text-align: left">'
            f"<b>{self.verdict.upper()}</b>{where}<br>{html.escape(self.because)}<br>"
            f"Try next: <code>{html.escape(self.try_next)}</code></div>"
        )


def diagnose(model, x, y=None, *, optimizer=None, loss=None) -> Diagnosis:
    """Tell whether the gradient of a network is healthy, vanishing, exploding or dead under a given optimizer.

    Looks at inputs, last layer, loss and targets first: where they do not belong together, the rest is judged with
    the last layer that does. Then it looks at every layer with a kernel (per-sample delta, dead units; see
    `inspect_layers`), rehearses up to 300 full-batch training steps on a copy, with a copy of the optimizer and its
    state, and looks again. A net that has learned from x, now or in the rehearsal, is healthy, however small its
    gradients are. One that has not is
      exploding, if the rehearsal meets nan or infinity, or a layer gets over 100 times the output layer's delta;
      dead, if all units of a hidden layer give 0 for all samples, so that no gradient passes;
      vanishing, if a hidden layer gets less than a hundredth of the output layer's delta;
      otherwise healthy: it may lack steps, units or a larger learning rate, but not a gradient.
    Where there is no time for 50 steps, both thresholds are ten times stricter.
    Of a healthy net it is said if the loss still falls at the end, or if a straight line does as well.
    Of two or three lines of code that may help, each is rehearsed, too, and the one that helps most is proposed.

    Model and optimizer are left exactly as they were, for all of this happens on copies. For the nets of the course the
    same call gives the same verdict, from 256 evenly spaced samples; a larger net gets the steps and samples that the
    time of its first steps allows. What computes in 16 bits is rehearsed in 32, without scaling.

    Args:
        model: a `keras.Model` with one input and one output, compiled or not; before, during or after training. If it
            is not built, a copy of it is.
        x, y: training data, shapes as in `inspect_layers`; lists of one array are taken, and for x, without y, a
            `tf.data.Dataset` or a `keras.utils.PyDataset`, of which the first batches are read.
        optimizer: a Keras optimizer or its name; None takes the one that the model was compiled with.
        loss: a Keras name or object, or a function of (y_true, y_pred); None: as compiled, or "binary_crossentropy".

    Returns a `Diagnosis` with the strings `verdict`, `layer`, `because` and `try_next` (the line of code to change).
    Raises `ValueError` or `TypeError` if the model cannot be built or has no trainable kernel, if there is no
    optimizer, or if x, y and loss do not fit.
    """
    _keras.one_in_one_out(model)
    x, y = _arguments.some_samples(x, y, SAMPLES)
    y = y.astype("float32") if y.dtype.kind == "b" else y
    optimizer, loss = _recipe(model, optimizer, loss)
    model = _keras.built(model, x)
    if not any(_keras.kernel_owner(layer).kernel.trainable for layer in _keras.layers_with_kernel(model)):
        raise ValueError(f"The model {model.name!r} has no trainable kernel; set trainable = True on a layer with one")
    layer = broken_layer(model)
    if layer:
        because = f"Weights of {layer.name} are nan or infinite already: a step has thrown them out of range."
        return Diagnosis("exploding", layer.name, because, _remedies.optimizer_line(optimizer, 0.1, clip=True))
    unusable = _head.check_inputs(model, x)
    if unusable:
        return Diagnosis("healthy", None, f"Not the gradient: {unusable[0]}.", unusable[1])
    head, repaired = _head.check_head(model, x, y, loss), (model, y, loss)
    if head:
        repaired = _head.repair(model, head, y, loss)
        if repaired is None:
            return Diagnosis("healthy", None, f"Not the gradient: {head.because}.", head.line)
    with tqdm(bar_format="diagnose: {desc}, {elapsed}", delay=2, leave=False) as bar:
        return _explain(_Patient(x, *repaired, optimizer, bar), head)


def _recipe(model, optimizer, loss):
    """Return the optimizer and the loss: what is given, or else what the model was compiled with."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"model is a {type(model).__name__}; give a keras.Model")
    if optimizer is None and getattr(model, "optimizer", None) is None:
        message = "whether a gradient suffices depends on the optimizer; give one, such as optimizer="
        raise ValueError(f"The model {model.name!r} is not compiled: {message}keras.optimizers.SGD(0.1)")
    optimizer = _arguments.optimizer(model.optimizer if optimizer is None else optimizer)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    if loss is None:
        loss = _arguments.alone(getattr(model, "loss", None)) or "binary_crossentropy"
    _arguments.check_reduction(loss)
    return optimizer, loss


class _Patient:
    """A net, and what was found: before the rehearsal, in it, and after it."""

    def __init__(self, x, model, y, loss, optimizer, bar):
        self._bar = bar
        self.tell("looks at the layers")
        x, y, run, self.small = first_look(model, x, y, loss)
        self.model, self.x, self.y, self.optimizer, self.loss = model, x, y, optimizer, loss
        self.layers = [run.originals[id(probe.layer)] for probe in run.probes]
        self.before = report([run], kernels=False)
        self.tell("rehearses")
        self.rehearsal = Rehearsal(model, x, y, optimizer, loss, STEPS if self.small else None)
        self.course = self.rehearsal.train()
        self.recurrent = first_recurrent(run)
        self.forgets = 1.0  # delta of its first time step over the largest delta of any step
        if self.recurrent is not None and len(run.deltas[self.recurrent]) == 1:  # called twice, time has no one order
            lags = lag_gradients(run, self.recurrent)
            self.forgets = float(lags[-1] / lags.max()) if lags.max() > 0 else 0.0
        parts = _keras.all_layers(model)
        self.normalizes = any(isinstance(layer, keras.layers.BatchNormalization) for layer in parts)
        self.tokens = any(isinstance(layer, keras.layers.Embedding) for layer in parts)
        scaled = self.tokens or any(isinstance(layer, _SCALING) for layer in parts)
        self.is_straight = _straight.is_straight(model, x, self.layers)
        self.input_size = 1.0 if scaled else l2_norm(x) / x.size**0.5
        regression = _head.is_regression(_head.loss_name(loss))
        self.target_size = l2_norm(y) / y.size**0.5 if regression else 1.0

    def tell(self, what):
        """Show what is being done, once the work has taken two seconds."""
        self._bar.set_description_str(what, refresh=False)
        self._bar.update()

    @functools.cached_property
    def after(self):
        """Report of the net after the rehearsal, or None if its weights are nan."""
        values = self.course.values
        return values and report([Backpropagation(self.model, self.x, self.y, self.loss, values, False)], kernels=False)

    def surely(self, verdict):
        """Whether a verdict is more than what a wrong last layer or a rehearsal of too few steps may bring about."""
        return verdict == "healthy" or (self.sick_before(verdict) and self.rehearsal.count >= FEW_STEPS)

    @property
    def later(self):
        """The report to compare with `before`: for a net that is not small there is no time for another one."""
        return self.after if self.small else self.before

    def reach(self, found):
        """Delta of every hidden layer as a multiple of the output layer's."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return found.delta_rms[:-1] / found.delta_rms[-1]

    def sick_before(self, verdict):
        """Whether the untrained net shows this already."""
        reach = self.reach(self.before)
        shown = {
            "dead": self.before.dead[:-1] == 1,
            "exploding": reach > LOUD,
            "vanishing": [*(reach < FAINT), self.forgets < FAINT],
        }
        return any(shown[verdict])


def _decide(patient):
    """Return the verdict and the index of the layer that it names (or None)."""
    largest = int(np.nan_to_num(patient.before.delta_rms, nan=np.inf).argmax())
    if not patient.course.finite:
        return "exploding", largest
    if patient.course.learned or len(patient.layers) == 1:
        return "healthy", None
    few = patient.rehearsal.count < FEW_STEPS
    doubt = _DOUBT if few else 1
    for when in ("before",) if few else ("before", "after"):  # what was there first is the cause
        found = getattr(patient, when)
        if not np.isfinite(found.delta_rms).all():
            return "exploding", largest
        ratios, dead = patient.reach(found), found.dead[:-1] == 1
        if dead.any():
            return "dead", int(dead.argmax())
        if np.isnan(ratios).any():  # 0 / 0: not even the output layer gets a gradient
            return "vanishing", len(ratios)
        if ratios.max() > LOUD * doubt:
            return "exploding", int(ratios.argmax())
        if ratios.min() < FAINT / doubt:
            return "vanishing", int(ratios.argmin())
    if patient.forgets < FAINT and not few:  # a net that forgets at first may learn
        return "vanishing", patient.recurrent
    return "healthy", None


def _explain(patient, head=None):
    """Put the verdict, the numbers that decided it and the remedy into words; `head`: what was repaired before."""
    verdict, index = _decide(patient)
    course = _describe_course(patient)
    if head is not None and (patient.course.learned or not patient.surely(verdict)):
        because, line = f"Not the gradient: {head.because}. With the next line, {course}", head.line
        left, _ = _unfinished(patient) if patient.course.learned else ("", True)
        if (left or not patient.course.learned) and patient.rehearsal.count >= FEW_STEPS:
            more, tried, helps = _remedies.propose(patient, "healthy", None)
            because, line = f"{because}{left}; {tried}", f"{line}; then {more}" if helps else line
        return Diagnosis("healthy", None, f"{because}.", line)
    if verdict == "healthy":
        because, line = _describe_healthy(patient, course)
    else:
        line, tried, _ = _remedies.propose(patient, verdict, index)
        because = f"{_describe_cause(patient, verdict, index)}; {course}; {tried}."
    if head is not None:  # what was found was found with the head that belongs there
        because = f"{because} First of all: {head.because}."
        line = f"{head.line}; then {line}"
    return Diagnosis(verdict, None if index is None else patient.before.names[index], because, line)


def _describe_healthy(patient, course):
    if np.ptp(patient.y) == 0:
        because = f"Not the gradient: all targets are {patient.y.flat[0]:.3g}, so there is nothing to learn; {course}."
        return because, "np.unique(y, return_counts=True)  # look at the targets"
    if patient.course.learned:
        return _describe_learned(patient, course)
    if patient.rehearsal.count < FEW_STEPS:
        line = "train on, and see whether the loss falls"
        return f"Every layer gets a gradient; {course}: too few steps to tell whether it learns.", line
    line, tried, _ = _remedies.propose(patient, "healthy", None)
    because = "Not the gradient: every layer gets one, but the net learns no more than a constant would"
    return f"{because}; {course}; {tried}.", line


def _describe_learned(patient, course):
    steps, because, line = patient.course.needed, f"The net answers to its input: {course}", "nothing to change"
    if steps:
        line += f"; train for {'more than' if _falls(patient) else 'at least'} {steps} steps"
    left, advise = _unfinished(patient)
    because += left
    if advise:
        better, tried, helps = _remedies.propose(patient, "healthy", None)
        because, line = (f"{because}; {tried}", better) if helps else (because, line)
    return f"{because}.", line


def _falls(patient):
    """Whether the loss still falls when the rehearsal ends."""
    return patient.course.needed > LATE * patient.rehearsal.count


def _unfinished(patient):
    """Return words for what a net that has learned leaves to be done, or "", and whether a line should be tried."""
    if patient.course.gain > DONE:
        return "", False
    straight = _straight.as_good(patient)
    if straight:
        return f"; {straight}", True
    return ("; the loss still falls", patient.course.gain < _HALF) if _falls(patient) else ("", False)


def _describe_course(patient):
    losses, finite = patient.course.losses, np.isfinite(patient.course.losses)
    few = "" if len(losses) == STEPS else f" (for want of time not {STEPS}: train longer before you believe this)"
    optimizer = _remedies.write_optimizer(patient.optimizer)
    course = f"in a rehearsal of {len(losses)} steps{few} of {optimizer} the loss "
    if not finite.all():
        return f"{course}becomes nan or infinite at step {int(finite.argmin()) + 1}"
    course += f"goes from {losses[0]:.2g} to {losses[-1]:.2g}"
    shuffled = f" (with its answers shuffled among the samples: {patient.course.shuffled:.2g})"
    return course if patient.course.values is None else course + shuffled


def _describe_cause(patient, verdict, index):
    names, before = patient.before.names, patient.before
    layer = names[index]
    if verdict == "dead":
        when = "Before training" if before.dead[index] == 1 else "After the rehearsal"
        return f"{when} all units of {layer} give 0 for all samples, no gradient passes it"
    if not (patient.course.finite and np.isfinite([*before.delta_rms, *patient.later.delta_rms]).all()):
        size = power_of_ten(before.delta_rms[index])
        return f"The steps run out of range; before them {layer} had the largest delta, {size}"
    if index == len(names) - 1:
        return f"Not even {layer} gets a gradient: its answers are saturated"
    at_first, at_last = (patient.reach(found)[index] for found in (before, patient.later))
    share = (max if verdict == "exploding" else min)(at_first, at_last)
    if verdict == "vanishing" and share >= FAINT:  # in time, not in depth
        size = power_of_ten(patient.forgets)
        return f"The first time step of {layer} gets about {size} times what the last ones get"
    when = "Before training" if share == at_first else "After the rehearsal"
    return f"{when} the delta of {layer} is about {power_of_ten(share)} times that of {names[-1]}"
