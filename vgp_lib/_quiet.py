"""Every side effect of `import vgp_lib`, with its reason. Import it before Keras."""

import gc
import logging
import os
import sys

# TensorFlow reads these when it is imported; together they silence its greeting. Your own settings win.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

_backend = sys.modules["keras"].backend.backend() if "keras" in sys.modules else os.environ["KERAS_BACKEND"]
if _backend != "tensorflow":
    raise ImportError(
        f"vgp_lib needs Keras on TensorFlow, but Keras runs on {_backend}; set the environment variable "
        "KERAS_BACKEND=tensorflow and restart the kernel"
    )

# Every call of fit on a new model traces a function of Keras's own, once. TensorFlow then advises to trace less, as if
# that were a function of yours; what it says of yours is shown.
logging.getLogger("tensorflow").addFilter(lambda record: "TensorFlowTrainer" not in record.getMessage())

# TensorFlow brings 400,000 objects that stay. Python's garbage collector would walk them while they come, which takes
# 0.8 s, and again from time to time for ever after, 0.25 s each, in the middle of a training. So it is off during the
# import and then told to leave them alone. VGP_GC=keep leaves the collector as it is.
_keep = os.environ.get("VGP_GC") == "keep" or not gc.isenabled()
if not _keep:
    gc.disable()
try:
    import keras  # noqa: F401
finally:
    if not _keep:
        gc.enable()
        gc.freeze()
