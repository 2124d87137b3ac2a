"""What a student does in JupyterLab: run a notebook, click a prediction, drag a slider of the playground."""

import json
import re
import time
import urllib.request

import nbformat

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


def test_a_prediction_is_clicked_and_compared_while_all_cells_run(page, lab):
    ask = 'bet = vgp.guess("Which net learns more?", ["10 hidden layers", "2 hidden layers"])\nbet'
    cells = "import vgp_lib as vgp", ask, 'vgp.reveal(bet, "2 hidden layers")', 'print(vgp.claims("01"))'
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
    assert not ours(page.errors)


def test_the_playground_s_figure_follows_a_slider(page, lab):
    write_notebook(lab, "sliders", "import vgp_lib as vgp\n\nvgp.playground()")
    open_notebook(page, lab, "sliders")
    run_all(page)
    picture = page.get_by_role("img", name=re.compile("^delta, first over last"))
    picture.wait_for(timeout=60_000)
    before, words = picture.get_attribute("src"), picture.get_attribute("alt")
    assert "about 1e-6" in words
    handle = page.get_by_role("slider").first
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=5)
    assert picture.get_attribute("src") == before  # not before the release
    page.mouse.up()
    page.wait_for_function("before => document.querySelector('img[alt^=delta]')?.src !== before", arg=before)
    assert picture.get_attribute("alt") != words
    page.get_by_text("VANISHING").wait_for(timeout=30_000)
    assert not ours(page.errors)


def test_an_exercise_is_answered_wrong_and_then_right(page, lab):
    write_notebook(lab, "exercise", "import vgp_lib as vgp", "answer = 0.5\nvgp.checks.factor_for_half(answer)")
    open_notebook(page, lab, "exercise")
    run_all(page)
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(1)
    cell.locator(".jp-OutputArea-output").get_by_text(re.compile("^Not yet")).wait_for(timeout=60_000)
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("answer = 0.926\nvgp.checks.factor_for_half(answer)")
    page.keyboard.press("Control+Enter")
    cell.locator(".jp-OutputArea-output").get_by_text(re.compile("^Correct")).wait_for(timeout=30_000)
    assert not ours(page.errors)
