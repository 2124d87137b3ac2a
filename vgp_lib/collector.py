"""Python's garbage collector, kept from walking all of TensorFlow again and again."""

import contextlib
import gc


@contextlib.contextmanager
def collector_paused():
    """Pause the collector: TensorFlow's hundreds of thousands of objects take it 0.2 s a walk, and hold no garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
