"""Run every notebook top to bottom, with one progress line each and a table at the end: `make run`.

The table has the seconds of each notebook, import included, and of its slowest cell. After the course come what is
deeper and the solutions, these with VGP_STRICT=1: there a check raises if an answer is not correct.

`--store` also writes the outputs back into the notebooks, `--twice` runs every cell twice in a row.
"""

import argparse
import base64
import os
import pathlib
import sys
import time

try:
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
except ModuleNotFoundError as error:
    message = f"Running notebooks needs {error.name}; install it with: pip install -r requirements.txt"
    raise ModuleNotFoundError(message) from None

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
os.environ["TQDM_DISABLE"] = "1"  # a progress bar depends on the machine's speed, and must not be stored
PICTURE = ROOT / ".github" / "picture.png"
PLAYGROUND = "application/vnd.vgp.playground+json"  # in an output: it is the picture of a live instrument


def run(path, twice=False):
    """Execute a notebook; return it with its outputs, the seconds of each cell, and the last line that was printed."""
    notebook = nbformat.read(path, as_version=4)
    seconds = []
    options = {"timeout": 600, "record_timing": False, "coalesce_streams": True}
    client = NotebookClient(notebook, resources={"metadata": {"path": path.parent}}, **options)
    strict = "1" if path.parent.name == "solutions" else "0"
    with client.setup_kernel(env=os.environ | {"VGP_STRICT": strict}):
        for index, cell in enumerate(notebook.cells):
            start = time.perf_counter()
            for _ in range(1 + twice):
                client.execute_cell(cell, index)
            seconds.append(time.perf_counter() - start)
    for number, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = number
        spoken = [output.text for output in cell.outputs if output.get("name") == "stderr"]
        if spoken:
            raise RuntimeError(f"{path.name}, code cell {number} wrote to stderr: {spoken[0]}")
    return notebook, seconds, _last_line(notebook)


def _last_line(notebook):
    texts = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])]
    return next((text.strip().splitlines()[-1] for text in reversed(texts) if text.strip()), "printed nothing")


def alternative_text(cell, output):
    """The words for who cannot see a figure: those of its cell; a live instrument's picture has its own."""
    return output.data["text/plain"] if PLAYGROUND in output.data else cell.metadata.get("alt")


def _store(notebook, path):
    """Keep the outputs, the figures with their alternative texts, without what differs from run to run (widgets)."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
            if "image/png" in output.get("data", {}) and alternative_text(cell, output):
                output.metadata["image/png"] = {"alt": alternative_text(cell, output)}  # nbconvert looks here first
            if "readme" in cell.metadata.get("tags", []) and "image/png" in output.get("data", {}):
                PICTURE.write_bytes(base64.b64decode(output["data"]["image/png"]))
    nbformat.write(notebook, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="beginnings such as 01 or deeper/02; all if none is given")
    parser.add_argument("--store", action="store_true", help="write the outputs back into the notebooks")
    parser.add_argument("--twice", action="store_true", help="run every cell twice in a row")
    arguments = parser.parse_args()
    paths = [path for part in (".", "deeper", "solutions") for path in sorted(NOTEBOOKS.glob(f"{part}/[0-9]*.ipynb"))]
    names = {path: path.relative_to(NOTEBOOKS).with_suffix("").as_posix() for path in paths}
    if arguments.names:
        paths = [path for path in paths if names[path].startswith(tuple(arguments.names))]
    if not paths:
        parser.error(f"no notebook begins with {arguments.names}")
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # a failing cell may hold σ, a Windows pipe cannot
    rows = []
    for number, path in enumerate(paths, start=1):
        print(f"[{number}/{len(paths)}] {names[path]} …", end=" ", flush=True)
        try:
            notebook, seconds, found = run(path, arguments.twice)
        except (CellExecutionError, RuntimeError) as error:
            seconds, found = [float("nan")], f"FAILED: {str(error).strip().splitlines()[-1]}"
            print("failed\n", error)
        else:
            print(f"{sum(seconds):.0f} s")
            if arguments.store:
                _store(notebook, path)
        rows.append((names[path], seconds, found))
    width = max(len(name) for name, _, _ in rows)
    print(f"\n{'notebook':<{width}}  seconds  slowest cell  what it found")
    for name, seconds, found in rows:
        slowest = f"{max(seconds):.1f} s (c{seconds.index(max(seconds))})"
        print(f"{name:<{width}}  {sum(seconds):7.0f}  {slowest:>12}  {found}")
    return int(any("FAILED" in found for _, _, found in rows))


if __name__ == "__main__":
    sys.exit(main())
