"""A Keras callback that keeps the first layer's weights of every epoch."""

import keras
import numpy as np

from vgp_lib.gradients import kernel_layers


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
        self._weights, self._steps = [], 0

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
        self._weights, self._steps = [], 0
        self._keep()

    def on_epoch_begin(self, epoch, logs=None):
        self._steps = 0

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
