"""Give a student a copy of the notebooks without outputs, in `my_notebooks/`: the first step of `make lab`.

A file that is there already is never touched, so that what was written in it stays.
"""

import hashlib
import pathlib
import sys

import nbformat

ROOT = pathlib.Path(__file__).resolve().parent.parent


def _version(notebook):
    """A short fingerprint of the cells' text, kept in the copy to tell later whether the course has moved on."""
    return hashlib.sha256("\0".join(cell.source for cell in notebook.cells).encode()).hexdigest()[:12]


def copy(source, target):
    """Add the notebooks that a folder lacks, outputs cleared; return the added, outdated and unreadable paths."""
    added, outdated, unreadable = [], [], []
    for original in [path for part in (".", "deeper", "solutions") for path in sorted(source.glob(f"{part}/*.ipynb"))]:
        notebook = nbformat.read(original, as_version=4)
        version, path = _version(notebook), target / original.relative_to(source)
        if path.exists():
            try:
                mine = nbformat.read(path, as_version=4).metadata.get("course_version", version)
                outdated += [path] if mine != version else []
            except Exception:  # half saved, say: it must not keep the others from their notebooks
                unreadable.append(path)
            continue
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        notebook.metadata["course_version"] = version
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
        added.append(path)
    glossary = target / "glossary.md"
    if (source / glossary.name).is_file() and not glossary.exists():
        glossary.write_bytes((source / glossary.name).read_bytes())  # else the links to it would lead nowhere
    return added, outdated, unreadable


def main(target):
    """Copy, and say what was copied and what was left alone."""
    added, outdated, unreadable = copy(ROOT / "notebooks", target)
    if added:
        print(f"Copied {len(added)} notebooks, without their outputs, to {target}: they are yours to change.")
    for path in unreadable:
        print(f"{path}: this is not a notebook that can be read, and it is left alone. Rename it to get a new one.")
    for path in outdated:
        print(f"{path}: the course has a newer version; yours is left alone. Rename it to get the new one next time.")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "my_notebooks")
