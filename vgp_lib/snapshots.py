"""Keras callbacks for plain `model.fit`: one keeps the first layer's weights, one names where nan began."""

import keras
import numpy as np

from vgp_lib.gradients import check_batch, first_nonfinite, kernel_layers


class WeightSnapshots(keras.callbacks.Callback):
    """Keep the kernel of the first layer that has one, before training and after every epoch of `model.fit`.

    Attributes:
        weights: array of shape (epochs + 1, *kernel shape), for a Dense layer (epochs + 1, inputs, units); row 0 is
            the kernel before training. A new `fit` starts anew.
        derivation: one sentence saying whether `gradient_from_update` of two successive snapshots is the gradient:
            only if one step of plain SGD with a constant learning rate lies between them.
    """

    def __init__(self):
        super().__init__()
        self._weights, self._steps, self._rates = [], 0, set()

    @property
    def weights(self):
        if not self._weights:
            raise ValueError("There are no snapshots yet: pass this object to model.fit(..., callbacks=[snapshots])")
        return np.stack(self._weights)

    @property
    def derivation(self):
        if not self._steps:
            raise ValueError("No epoch has been trained yet: pass this object to model.fit(..., callbacks=[snapshots])")
        reasons = _why_not_plain_sgd(self.model.optimizer)
        if not self._layer().trainable:
            reasons.append("the layer is frozen (trainable=False)")
        if getattr(self._layer(), "kernel_constraint", None) is not None:
            reasons.append("a kernel constraint moves the weights too")
        if len(self._rates) > 1:
            reasons.append("the learning rate changed from step to step")
        if self._steps > 1:
            reasons.append(f"{self._steps} steps lie between two snapshots")
        if reasons:
            return "(old - new) / learning_rate is not the gradient: " + "; ".join(reasons) + "."
        return "(old - new) / learning_rate is the gradient, up to rounding: one plain SGD step between snapshots."

    def _layer(self):
        layer = kernel_layers(self.model)[0]
        return layer.cell if isinstance(layer, keras.layers.RNN) else layer

    def _keep(self):
        self._weights.append(self._layer().kernel.numpy().copy())

    def on_train_begin(self, logs=None):
        self._weights, self._steps, self._rates = [], 0, set()
        self._keep()

    def on_epoch_begin(self, epoch, logs=None):
        self._steps = 0

    def on_train_batch_begin(self, batch, logs=None):
        self._rates.add(float(np.asarray(self.model.optimizer.learning_rate)))

    def on_train_batch_end(self, batch, logs=None):
        self._steps = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        self._keep()


def _why_not_plain_sgd(optimizer):
    config = optimizer.get_config()
    if type(optimizer) is not keras.optimizers.SGD:
        return [f"{type(optimizer).__name__} does not step by learning_rate times the gradient"]
    reasons = []
    if config["momentum"]:
        reasons.append("momentum adds earlier gradients")
    if any(config[name] is not None for name in ("clipnorm", "clipvalue", "global_clipnorm")):
        reasons.append("clipping changes the gradient")
    if config["weight_decay"]:
        reasons.append("weight decay moves the weights too")
    if config["gradient_accumulation_steps"]:
        reasons.append("gradients of several batches are accumulated")
    if config["use_ema"]:
        reasons.append("averaging (use_ema) overwrites the weights")
    if not isinstance(config["learning_rate"], float):
        reasons.append("the learning rate follows a schedule")
    return reasons


class StopAtNaN(keras.callbacks.Callback):
    """Stop `model.fit` at the first nan or infinite loss or weight, and say in which step and layer it began.

    Keras's `TerminateOnNaN` knows the loss alone; this one goes back to the weights from before the failing step, runs
    the given data forward and backward through them, and names the first thing that is not finite, in the order of
    computation. It leaves the model with those weights, the last finite ones, so that it can be inspected; the state of
    the optimizer is left as it is.

    Args:
        x, y: data on which to search, as for `inspect_layers`; the training data, or a part of it.

    Attributes:
        epoch, batch: of the failing step, both from 1 (with `steps_per_execution`, the last batch of its group); None
            if all went well.
        layer: name of the first layer with a kernel that gave a non-finite number; None if there is none.
        sentence: all this in words. It is also printed when the training stops.
    """

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = check_batch(x, y)
        self._forget()

    def __repr__(self):
        return self.sentence

    def _forget(self):
        self.epoch = self.batch = self.layer = None
        self.sentence = "Every loss and every weight was finite."

    def on_train_begin(self, logs=None):
        self._forget()
        first_nonfinite(
            self.model, self.x, self.y, self.model.loss
        )  # data that do not fit are told now, not at the nan
        self._weights = self.model.get_weights()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        weights = self.model.get_weights()
        broken = [v.path for v, w in zip(self.model.weights, weights, strict=True) if not np.isfinite(w).all()]
        if np.isfinite(logs["loss"]) and not broken:
            self._weights = weights
            return
        self.model.stop_training = True
        self.model.set_weights(self._weights)
        self.epoch, self.batch = self._epoch, batch + 1
        self.layer, what = first_nonfinite(self.model, self.x, self.y, self.model.loss) or (None, None)
        if self.layer:
            where = f"the {what} of layer {self.layer!r} is the first that is not finite"
        elif what:
            where = "the outputs of all layers are finite, the loss is not"
        else:
            where = (
                f"on the given data all gradients are finite, after the step {', '.join(broken) or 'the loss'} is not"
            )
        where = f"Stopped in epoch {self.epoch}, batch {self.batch}: {where}"
        self.sentence = f"{where}. The model has its weights from before this step."
        print(self.sentence)
