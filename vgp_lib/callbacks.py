"""Keras callbacks for plain `model.fit`: one keeps the first layer's weights, one names where nan began."""

import keras
import numpy as np

from vgp_lib.engine import _arguments, _keras
from vgp_lib.layers import first_nonfinite


class WeightSnapshots(keras.callbacks.Callback):
    """Keep the kernel of the first layer that has one, before training and after every epoch of `model.fit`.

    Attributes:
        weights: array of shape (epochs + 1, *kernel shape), for a Dense layer (epochs + 1, inputs, units); row 0 is
            the kernel before training. A new `fit` starts anew.
        derivation: one sentence saying whether `gradient_from_update` of two successive snapshots is the gradient:
            only if one step of plain SGD with a constant learning rate lies between them.
    """

    _weights = ()  # until a fit begins

    @property
    def weights(self):
        if not self._weights:
            raise ValueError("There are no snapshots yet: pass this object to model.fit(..., callbacks=[snapshots])")
        return np.stack(self._weights)

    @property
    def derivation(self):
        if len(self._weights) < 2:
            raise ValueError("No epoch has been trained yet: pass this object to model.fit(..., callbacks=[snapshots])")
        reasons = _why_not_plain_sgd(self.model.optimizer) | {
            "the layer is frozen (trainable=False)": not self._layer.trainable,
            "a kernel constraint moves the weights too": getattr(self._layer, "kernel_constraint", None) is not None,
            "the learning rate changed from step to step": len(self._rates) > 1,
            f"{self._steps} steps lie between two snapshots": self._steps > 1,
        }
        applying = "; ".join(reason for reason, applies in reasons.items() if applies)
        if applying:
            return f"(old - new) / learning_rate is not the gradient: {applying}."
        return "(old - new) / learning_rate is the gradient, up to rounding: one plain SGD step between snapshots."

    def on_train_begin(self, logs=None):
        self._layer = _keras.kernel_owner(_keras.kernel_layers(self.model)[0])
        self._weights, self._steps, self._rates = [self._layer.kernel.numpy().copy()], 0, set()

    def on_epoch_begin(self, epoch, logs=None):
        self._first_step = _steps_taken(self.model)

    def on_train_batch_begin(self, batch, logs=None):
        self._rates.add(float(np.asarray(self.model.optimizer.learning_rate)))

    def on_epoch_end(self, epoch, logs=None):
        self._steps = _steps_taken(self.model) - self._first_step
        self._weights.append(self._layer.kernel.numpy().copy())


def _steps_taken(model):
    """Count the optimizer's steps: with steps_per_execution, Keras's index of a batch depends on the version."""
    return int(np.asarray(model.optimizer.iterations))


def _why_not_plain_sgd(optimizer):
    if type(optimizer) is not keras.optimizers.SGD:
        return {f"{type(optimizer).__name__} does not step by learning_rate times the gradient": True}
    config, clips = optimizer.get_config(), ("clipnorm", "clipvalue", "global_clipnorm")
    return {
        "momentum adds earlier gradients": config["momentum"],
        "clipping changes the gradient": any(config[name] is not None for name in clips),
        "weight decay moves the weights too": config["weight_decay"],
        "gradients of several batches are accumulated": config["gradient_accumulation_steps"],
        "averaging (use_ema) overwrites the weights": config["use_ema"],
        "loss scaling (loss_scale_factor) divides the gradient": config["loss_scale_factor"],
        "the learning rate follows a schedule": not isinstance(config["learning_rate"], float),
    }


class StopAtNaN(keras.callbacks.Callback):
    """Stop `model.fit` at the first nan or infinite loss or weight, and say in which step and layer it began.

    Keras's `TerminateOnNaN` knows the loss alone; this one goes back to the weights from before the failing step, runs
    x and y forward and backward through them, and names the first thing that is not finite, in the order of
    computation. The model keeps those weights, the last finite ones, to be inspected; the optimizer keeps its state.
    x and y are the training data, or a part of them, with shapes as in `inspect_layers`.

    Attributes:
        epoch, batch: of the failing step, both from 1 (with `steps_per_execution`, the last batch of its group); None
            if all went well.
        layer: name of the first layer with a kernel that gave a non-finite number; None if there is none.
        sentence: all this in words. It is also printed when the training stops.
    """

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = _arguments.batch(x, y)
        self._forget()

    def __repr__(self):
        return self.sentence

    def _forget(self):
        self.epoch = self.batch = self.layer = None
        self.sentence = "Every loss and every weight was finite."

    def on_train_begin(self, logs=None):
        self._forget()
        first_nonfinite(self.model, self.x, self.y, self.model.loss)  # data that do not fit are told now, not at nan
        self._weights = self.model.get_weights()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._first_step = epoch + 1, _steps_taken(self.model)

    def on_train_batch_end(self, batch, logs=None):
        weights = self.model.get_weights()
        broken = [v.path for v, w in zip(self.model.weights, weights, strict=True) if not np.isfinite(w).all()]
        if np.isfinite(logs["loss"]) and not broken:
            self._weights = weights
            return
        self.model.stop_training = True
        self.model.set_weights(self._weights)
        self.epoch = self._epoch
        # The first is larger where gradients are accumulated, the second where an older Keras joins several steps.
        self.batch = max(batch + 1, _steps_taken(self.model) - self._first_step)
        self.layer, what = first_nonfinite(self.model, self.x, self.y, self.model.loss) or (None, None)
        if self.layer:
            where = f"the {what} of layer {self.layer!r} is the first that is not finite"
        elif what:
            where = "the outputs of all layers are finite, the loss is not"
        else:
            what = ", ".join(broken) or "the loss, penalties included,"
            where = f"on the given data all gradients are finite, after the step {what} is not"
        where = f"Stopped in epoch {self.epoch}, batch {self.batch}: {where}"
        self.sentence = f"{where}. The model has its weights from before this step."
        print(self.sentence)
