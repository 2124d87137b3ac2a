"""The verdicts of the playground's page against `diagnose`, for settings spread over all its sliders.

The page rehearses by its own arithmetic, Python by TensorFlow's, and they round differently. At the edge of chaos or of
a threshold that is enough for another verdict, as it is for Python alone, if the weights are moved by their last bit.
So a difference is explained if Python gives the page's verdict, too, for weights so moved. All differences are listed.
"""

import collections

import keras
import live
import pytest
from browser.conftest import browser  # noqa: F401, a fixture
from browser.offline import offline_page

COUNT, TRIES = 220, 12


def diagnose(setting, moved=None):
    found = live.diagnose(setting, moved)
    keras.backend.clear_session()
    return found


@pytest.fixture(scope="module")
def both(browser, tmp_path_factory):  # noqa: F811, the fixture
    """Setting, verdict of the page and verdict of Python, many times."""
    found = []
    with offline_page(browser) as page:
        page.set_default_timeout(0)  # forty wide layers take half a minute
        page.goto(live.write_page(tmp_path_factory.mktemp("page"), {"views": ["product"]}).as_uri())
        for setting in live.spread_settings(COUNT):
            (ours,) = page.evaluate(live.VERDICTS, [setting])
            found.append((setting, live.without_shuffled(ours), live.without_shuffled(diagnose(setting))))
        assert page.complaints == []
    return found


def differences(both, *names):
    different = [one for one in both if any(one[1][name] != one[2][name] for name in names)]
    print(f"{len(different)} of {len(both)} differ in {', '.join(names)}")
    for setting, ours, theirs in different:
        print(setting, f"  page:   {ours}", f"  python: {theirs}", sep="\n")
    return different


def test_the_verdicts_are_the_same_but_for_chaos(both):
    different = differences(both, "verdict")
    moved = ((ours, (diagnose(setting, seed) for seed in range(TRIES))) for setting, ours, _ in different)
    unexplained = [ours for ours, theirs in moved if all(ours["verdict"] != one["verdict"] for one in theirs)]
    print(f"{len(different) - len(unexplained)} of these {len(different)} Python has too, for weights moved by a bit")
    assert len(different) <= 0.03 * COUNT and len(unexplained) <= 0.01 * COUNT
    words = collections.Counter(theirs["verdict"] for _, _, theirs in both)
    assert len(words) == 4 and min(words.values()) >= 5, words


def test_most_name_the_same_layer_and_line(both):
    assert len(differences(both, "layer", "try_next")) <= 0.05 * COUNT
