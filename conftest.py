"""For every pytest run, of the notebooks too: no progress bars, numbers within a tolerance, which file goes first."""

import collections
import copy
import functools
import os
import re
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
    slow = {"notebooks", "deeper", "solutions", "browser"}
    items.sort(key=lambda item: (item.path.parent.name not in slow, -counts[item.path], item.path))


# The numbers of a notebook. A student learns orders of magnitude from numbers, and machines differ in the last digits.

_TOLERANCE = re.compile(r"within-(\d\d?)-percent")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.]*\w)")


def pytest_itemcollected(item):
    """Compare the numbers that a cell with the tag `within-20-percent`, say, prints with that tolerance.

    nbval compares its other text strictly, and so every cell without such a tag. Where there is one, spaces may differ:
    a shorter number is aligned by more of them.
    """
    cell = getattr(item, "cell", None)
    tags = [tag for tag in cell.metadata.get("tags", []) if tag.startswith("within")] if cell else []
    if not tags:
        return
    found = _TOLERANCE.fullmatch(tags[0])
    if len(tags) > 1 or not found or int(found[1]) == 0:
        raise pytest.UsageError(f"{item.nodeid} has the tags {tags}; give one, from within-1-percent to 99")
    strict, tolerance = item.compare_outputs, int(found[1]) / 100

    def compare_outputs(made, stored, **options):
        made, stored = copy.deepcopy((list(made), list(stored)))
        for output in made + stored:
            _change_text(output, _without_alignment)
        for output, reference in zip(made, stored, strict=False):  # nbval reports what is missing
            _change_text(output, functools.partial(_near, reference=_text(reference), tolerance=tolerance))
        return strict(made, stored, **options)

    item.compare_outputs = compare_outputs


def _text(output):
    return output.get("text", "") or output.get("data", {}).get("text/plain", "")


def _change_text(output, change):
    if "text" in output:
        output["text"] = change(output["text"])
    elif "text/plain" in output.get("data", {}):
        output["data"]["text/plain"] = change(output["data"]["text/plain"])


def _without_alignment(text):
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def _near(text, reference, tolerance):
    """The text, with each number that is near the reference's number in the same place replaced by that one."""
    kept = _NUMBER.findall(reference)
    if len(_NUMBER.findall(text)) != len(kept):
        return text
    numbers = iter(kept)

    def choose(found):
        made, stored = found[0], next(numbers)
        return stored if abs(float(made) - float(stored)) <= tolerance * abs(float(stored)) else made

    return _NUMBER.sub(choose, text)
