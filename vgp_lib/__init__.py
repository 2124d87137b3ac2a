"""See, measure and cure vanishing gradients: the library of the course, in the order in which the course meets it."""

import gc
import logging
import os

# TensorFlow reads these when it is imported; together they silence its greeting. Your own settings win.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

# The course builds many small models, each is traced once: TensorFlow's advice to retrace less misses the point, and so
# does its note that tf.vectorized_map runs an operation in a loop.
_BESIDE_THE_POINT = ("retracing", "while_loop")
logging.getLogger("tensorflow").addFilter(
    lambda record: record.levelname == "ERROR" or not any(word in record.getMessage() for word in _BESIDE_THE_POINT)
)

# TensorFlow brings 400,000 objects that stay. Python's garbage collector would walk them while they come, which takes
# 0.8 s, and now and then for ever after, 0.25 s each time, in the midst of a training. (So import this first: what was
# made before, and holds itself in a cycle, is not collected any more.)
_collecting = gc.isenabled()
gc.disable()
try:
    import keras
finally:
    if _collecting:
        gc.enable()
gc.freeze()

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"vgp_lib needs Keras on TensorFlow, but Keras runs on {keras.backend.backend()}; "
        "set the environment variable KERAS_BACKEND=tensorflow and restart the kernel"
    )

from vgp_lib import checks, plots
from vgp_lib.claims import claims
from vgp_lib.data import load_moons, make_first_bit, make_spirals
from vgp_lib.diagnosis import Diagnosis, diagnose
from vgp_lib.gradients import (
    gradient_by_lag,
    gradient_from_update,
    inspect_layers,
    percent_change,
    power_of_ten,
)
from vgp_lib.guesses import guess
from vgp_lib.models import build_mlp, build_rnn
from vgp_lib.playground import draw_setting, playground
from vgp_lib.remedies import remedies
from vgp_lib.snapshots import StopAtNaN, WeightSnapshots
from vgp_lib.theory import critical_scale, predict_profile
from vgp_lib.training import Runs, train
