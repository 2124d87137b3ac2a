"""For every pytest run, of the notebooks too: no progress bars, how a run ends, and which file goes first."""

import collections
import os
import signal

import pytest

os.environ["TQDM_DISABLE"] = "1"  # a progress bar depends on the machine's speed, so it cannot be compared


def pytest_configure(config):
    """End a run in order, with all its kernels, servers and workers: by Ctrl-C, and by the SIGTERM that ends make.

    A shell starts what it runs in the background with SIGINT ignored, and Python would keep that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt_once)
    config.option.loadscopereorder = False  # xdist keeps the order of pytest_collection_modifyitems


def _interrupt_once(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # make passes on what the whole group has got
    raise KeyboardInterrupt


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Count the cores that this process may use; xdist itself asks for the machine's."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(max(cores, 2), 8)


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest, lest one is left to run alone at the end.

    Notebooks and browsers have few tests, but long ones; of the others those with many tests take longest.
    """
    counts = collections.Counter(item.path for item in items)
    slow = {"notebooks", "solutions", "browser"}
    items.sort(key=lambda item: (item.path.parent.name not in slow, -counts[item.path], item.path))
