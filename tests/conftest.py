"""What every test of the library needs: no windows, no figures left open, fixed randomness, nothing written to disk."""

import tempfile

import hypothesis
import hypothesis.configuration
import matplotlib

matplotlib.use("Agg")

import vgp_lib as vgp  # before Keras: it silences TensorFlow

# isort: split

import keras
import matplotlib.pyplot as plt
import pytest

from vgp_lib.engine import _remedies

# Hypothesis would keep a folder .hypothesis in the checkout; a slow machine is no failure; a failure shall come again.
hypothesis.configuration.set_hypothesis_home_dir(tempfile.mkdtemp(prefix="hypothesis-"))
hypothesis.settings.register_profile("course", database=None, deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("course")


@pytest.fixture(autouse=True)
def fixed_randomness():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def close_figures():
    plt.close("all")
    yield
    plt.close("all")


@pytest.fixture
def without_trials(monkeypatch):
    """Let `diagnose` propose what theory says, and not try lines on copies, which takes most of its time."""
    monkeypatch.setattr(_remedies, "_try", lambda patient, lines, best=None: (None, []))


@pytest.fixture(scope="session")
def moons():
    return vgp.load_moons()
