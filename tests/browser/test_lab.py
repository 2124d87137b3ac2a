"""What a student does in JupyterLab: run a notebook, click a prediction, move a slider of the playground."""

import json
import re
import time
import urllib.request

import nbformat
import pytest

from vgp_lib.classroom import _page

FOREIGN = ("favicon", "api.github.com", "status of 404", "ERR_INTERNET_DISCONNECTED")  # JupyterLab's own


def open_notebook(page, lab, name):
    """Open a notebook alone in a workspace of its own, and wait for its kernel."""
    address, token, _ = lab
    page.goto(f"{address}/lab/workspaces/{name}/tree/{name}.ipynb?token={token}&reset")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=30_000)
    end = time.monotonic() + 60
    while True:  # before the kernel is connected, JupyterLab would ask which one is meant
        with urllib.request.urlopen(f"{address}/api/sessions?token={token}", timeout=30) as answer:
            kernels = [session["kernel"] for session in json.load(answer) if session["name"] == f"{name}.ipynb"]
        if any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in kernels):
            break
        assert time.monotonic() < end, kernels
        page.wait_for_timeout(200)
    page.wait_for_timeout(500)


def run_all(page):
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Run All Cells")).click()


def write_notebook(lab, name, *cells):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, lab[2] / f"{name}.ipynb")


def ours(errors):
    return [error for error in errors if not any(word in error for word in FOREIGN)]


def test_a_prediction_is_clicked_while_all_cells_run_and_an_exercise_answered_wrong_and_then_right(page, lab):
    ask = 'bet = vgp.guess("Which net learns more?", ["10 hidden layers", "2 hidden layers"])\nbet'
    answer, claims = "answer = 0.5\nvgp.checks.factor_for_half(answer)", 'print(vgp.claims("01"))'
    cells = "import vgp_lib as vgp", ask, 'vgp.reveal(bet, "2 hidden layers")', answer, claims
    write_notebook(lab, "begin", *cells)
    open_notebook(page, lab, "begin")
    run_all(page)
    button = page.get_by_role("button", name="10 hidden layers").first
    button.scroll_into_view_if_needed(timeout=30_000)
    button.click()
    # The kernel hears of the click when it has run all cells.
    page.get_by_text(re.compile("Your guess: 10 hidden layers, not this time")).first.wait_for(timeout=120_000)
    last = page.locator(".jp-Notebook .jp-CodeCell").last
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").first.wait_for(timeout=90_000)
    page.keyboard.press("Control+End")
    last.get_by_text("01-plateau").wait_for(timeout=30_000)
    assert "Traceback" not in page.locator(".jp-Notebook").inner_text()
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(3)
    cell.locator(".jp-OutputArea-output").get_by_text(re.compile("^Not yet")).wait_for(timeout=60_000)
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("answer = 0.926\nvgp.checks.factor_for_half(answer)")
    page.keyboard.press("Control+Enter")
    cell.locator(".jp-OutputArea-output").get_by_text(re.compile("^Correct")).wait_for(timeout=30_000)
    assert not ours(page.errors)


def test_the_playground_lives_in_the_notebook_and_shares_its_setting_with_python(page, lab):
    weights = "[layer.get_weights()[0] for layer in play.model().layers if layer.get_weights()]"
    write_notebook(
        lab,
        "playground",
        "import json\nimport vgp_lib as vgp\n\nplay = vgp.playground(hidden_layers=3, units=4)\nplay",
        'print("setting", json.dumps(play.setting))',
        'play.setting = {**play.setting, "hidden_layers": 7, "activation": "tanh", "scale": 2}',
        f'print("weights", json.dumps([w.ravel().tolist() for w in {weights}]))',
    )
    open_notebook(page, lab, "playground")
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    run_cell(page, cells.nth(0))
    ladder = page.get_by_role("img", name=re.compile("^delta, first over last"))
    ladder.wait_for(timeout=60_000)
    before, slider = ladder.get_attribute("aria-label"), page.get_by_role("slider", name="hidden layers")
    assert slider.get_attribute("aria-valuetext") == "3"
    slider.focus()
    page.keyboard.press("ArrowRight")  # which JupyterLab itself would take, to open a heading
    assert slider.get_attribute("aria-valuetext") == "4"
    page.wait_for_function("said => document.querySelector('[data-part=ladder]').ariaLabel !== said", arg=before)
    page.get_by_text("VANISHING").or_(page.get_by_text("HEALTHY")).first.wait_for(timeout=30_000)
    for _ in range(20):  # the kernel hears of the slider in a thread of its own, and a cell may be run before
        run_cell(page, cells.nth(1))
        setting = json.loads(printed(cells.nth(1), "setting"))
        if setting["hidden_layers"] == 4:
            break
        page.wait_for_timeout(200)
    assert setting["hidden_layers"] == 4 and setting["units"] == 4 and setting["activation"] == "sigmoid"
    run_cell(page, cells.nth(2))
    moved = "document.querySelector('[data-key=hidden_layers]').getAttribute('aria-valuetext') === '7'"
    page.wait_for_function(moved, timeout=30_000)
    assert page.locator("[data-key=activation]").input_value() == "tanh"
    assert page.locator("[data-key=scale]").get_attribute("aria-valuetext") == "2"
    run_cell(page, cells.nth(3))
    weights = json.loads(printed(cells.nth(3), "weights"))
    # JupyterLab keeps the script to itself; the same one, loaded once more, tells what the page drew.
    page.evaluate(f"() => {{ {_page.script()}; window.drawn = VGP.engine.build; }}")
    setting |= {"hidden_layers": 7, "activation": "tanh", "scale": 2}
    drawn = page.evaluate("s => window.drawn(s, s.seed).layers.map(layer => Array.from(layer.kernel))", setting)
    assert len(drawn) == 8
    for built, shown in zip(weights, drawn, strict=True):
        assert built == pytest.approx(shown, rel=1e-5, abs=1e-7)
    assert not ours(page.errors)


def run_cell(page, cell):
    """Run a cell, and wait until the kernel has done it."""
    cell.locator(".jp-InputPrompt").click()
    page.keyboard.press("Control+Enter")
    cell.locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]:")).wait_for(timeout=90_000)


def printed(cell, word):
    """What the cell has printed after a word."""
    output = cell.locator(".jp-OutputArea-output").get_by_text(re.compile(f"^{word}"))
    output.wait_for(timeout=30_000)
    return output.inner_text().removeprefix(word)
