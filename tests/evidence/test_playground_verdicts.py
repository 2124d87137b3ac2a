"""The verdicts of the playground's page against `diagnose`, for settings spread over all its sliders.

The page rehearses by its own arithmetic, Python by TensorFlow's: they round differently, and a net at the edge of chaos
or of a threshold may get another verdict. A failure lists every difference.
"""

import collections

import keras
import live
import pytest
from browser.conftest import browser  # noqa: F401, a fixture
from browser.offline import offline_page

COUNT = 220


@pytest.fixture(scope="module")
def both(browser, tmp_path_factory):  # noqa: F811, the fixture
    """Setting, verdict of the page and verdict of Python, many times."""
    found = []
    with offline_page(browser) as page:
        page.set_default_timeout(0)  # forty wide layers take half a minute
        page.goto(live.write_page(tmp_path_factory.mktemp("page"), {"views": ["product"]}).as_uri())
        for setting in live.spread_settings(COUNT):
            (ours,) = page.evaluate(live.VERDICTS, [setting])
            found.append((setting, ours, live.diagnose(setting)))
            keras.backend.clear_session()
        assert page.complaints == []
    return found


def differences(both, *names):
    lists = [(setting, live.without_shuffled(ours), live.without_shuffled(theirs)) for setting, ours, theirs in both]
    different = [one for one in lists if any(one[1][name] != one[2][name] for name in names)]
    print(f"{len(different)} of {len(both)} differ in {', '.join(names)}")
    for setting, ours, theirs in different:
        print(setting, f"  page:   {ours}", f"  python: {theirs}", sep="\n")
    return different


def test_97_of_100_verdicts_are_the_same(both):
    assert len(both) >= 200
    assert len(differences(both, "verdict")) <= 0.03 * COUNT
    words = collections.Counter(theirs["verdict"] for _, _, theirs in both)
    assert len(words) == 4 and min(words.values()) >= 5, words


def test_nearly_all_name_the_same_layer_and_line_for_the_same_reason(both):
    assert len(differences(both, "layer", "try_next")) <= 0.05 * COUNT
    assert len(differences(both, "because")) <= 0.15 * COUNT
