"""What every test of the library needs: no windows, no figures left open, fixed randomness, nothing written to disk."""

import tempfile

import hypothesis
import hypothesis.configuration
import matplotlib
import pytest

matplotlib.use("Agg")

# Hypothesis would keep a folder .hypothesis in the checkout; a slow machine is no failure; a failure shall come again.
hypothesis.configuration.set_hypothesis_home_dir(tempfile.mkdtemp(prefix="hypothesis-"))
hypothesis.settings.register_profile("course", database=None, deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("course")


def pytest_configure(config):
    """Import the library before a test imports Keras: it silences TensorFlow.

    The process that only hands the tests to its workers need not wait for it.
    """
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        import vgp_lib  # noqa: F401


@pytest.fixture(autouse=True)
def fixed_randomness():
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def close_figures():
    from matplotlib import pyplot

    pyplot.close("all")
    yield
    pyplot.close("all")


@pytest.fixture
def without_trials(monkeypatch):
    """Let `diagnose` propose what theory says, and not try lines on copies, which takes most of its time."""
    from vgp_lib.engine import _remedies

    monkeypatch.setattr(_remedies, "_try", lambda patient, lines, best=None: (None, []))


@pytest.fixture(scope="session")
def moons():
    import vgp_lib

    return vgp_lib.load_moons()
