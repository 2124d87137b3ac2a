"""Memory of `inspect_layers`: bounded for large images. Only `make evidence` runs it."""

import subprocess
import sys

IMAGES = """
import resource
import sys
import vgp_lib as vgp
import keras, numpy as np
from keras import layers

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)

parts = [layers.Conv2D(units, 3, activation="relu", padding="same") for units in (32, 64, 64)]
pools = [layers.MaxPooling2D() for _ in parts]
stack = [part for pair in zip(parts, pools) for part in pair]
ends = [layers.GlobalAveragePooling2D(), layers.Dense(10, "softmax")]
model = keras.Sequential([keras.Input((224, 224, 3)), *stack, *ends])
x = np.random.default_rng(0).normal(size=(256, 224, 224, 3)).astype("float32")
model(x[:1])
before = peak()
vgp.inspect_layers(model, x, np.arange(256) % 10, "sparse_categorical_crossentropy")
print(peak() - before)
"""


def test_256_images_of_224_by_224_take_less_than_a_gigabyte():
    ended = subprocess.run([sys.executable, "-c", IMAGES], capture_output=True, text=True, check=True)
    assert float(ended.stdout.split()[-1]) < 1
