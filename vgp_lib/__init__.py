"""See, measure and cure vanishing gradients: the library of the course, in the order in which the course meets it."""

from vgp_lib import _quiet  # isort: skip  (before Keras: it silences TensorFlow)
from vgp_lib import plots
from vgp_lib.callbacks import StopAtNaN, WeightSnapshots
from vgp_lib.classroom import checks
from vgp_lib.classroom.guesses import guess, reveal
from vgp_lib.classroom.ledger import claims, remedies
from vgp_lib.classroom.widget import playground
from vgp_lib.data import load_moons, make_first_bit, make_spirals
from vgp_lib.engine.diagnosis import Diagnosis, diagnose
from vgp_lib.engine.theory import critical_scale, predict_profile
from vgp_lib.engine.training import Runs, train
from vgp_lib.layers import gradient_by_lag, inspect_layers, update_ratios
from vgp_lib.models import build_mlp, build_rnn
from vgp_lib.updates import gradient_from_update, percent_change, power_of_ten

__all__ = [
    *(
        "load_moons",
        "guess",
        "reveal",
        "build_mlp",
        "train",
        "Runs",
        "inspect_layers",
        "power_of_ten",
        "plots",
        "checks",
    ),
    *("claims", "WeightSnapshots", "gradient_from_update", "percent_change", "make_spirals", "remedies"),
    *("predict_profile", "critical_scale", "build_rnn", "make_first_bit", "gradient_by_lag"),
    *("StopAtNaN", "update_ratios", "diagnose", "Diagnosis", "playground"),
]


def __dir__():
    return __all__
