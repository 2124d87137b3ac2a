"""What `import vgp_lib` does to the process, each by its effect, in a process of its own."""

import os
import subprocess
import sys

# A collection of the oldest generation walks every object that is not frozen; TensorFlow brings several 100,000.
COLLECTOR = """
import gc
{before}
import vgp_lib
print(gc.isenabled(), len(gc.get_objects()) < 100_000)
"""
FITS = """
import keras, numpy as np
x, y = np.ones((8, 2), "float32"), np.ones(8, "float32")
for width in range(1, 9):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(width), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
    model.fit(x, y, verbose=0, batch_size=4)
"""
OWN = """
import tensorflow as tf
for width in range(1, 9):
    tf.function(lambda x: x + 1)(tf.zeros(width))
mine = tf.function(lambda x: x + 1)
for number in range(9):
    mine(number)
"""


def run(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return result.stdout.strip(), result.stderr


def test_the_collector_leaves_tensorflow_alone_and_fit_is_not_told_to_trace_less_but_a_function_of_one_s_own():
    printed, told = run(COLLECTOR.format(before="") + FITS + OWN)  # together, since TensorFlow takes long to import
    assert printed == "True True"
    lines = [line for line in told.splitlines() if "retracing" in line]
    assert lines and all("<lambda>" in line or "mine" in line for line in lines)


def test_the_collector_stays_as_it_was_if_told_so():
    assert run(COLLECTOR.format(before="gc.disable()"), VGP_GC="keep")[0] == "False False"


def test_another_backend_is_refused_with_the_way_out():
    code = "import os; os.environ['KERAS_BACKEND'] = 'numpy'\nimport vgp_lib"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "set the environment variable KERAS_BACKEND=tensorflow" in result.stderr
