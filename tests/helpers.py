"""What several test files measure with: automatic differentiation, as an oracle."""

import keras
import numpy as np
import tensorflow as tf


def kernels(model):
    return [layer.get_weights()[0] for layer in model.layers if layer.get_weights()]


def tape_gradients(model, variables, x, y, loss=keras.losses.binary_crossentropy):
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(loss(y.reshape(-1, 1), model(x, training=True)))
    return [np.asarray(gradient, dtype="float64") for gradient in tape.gradient(value, variables)]
