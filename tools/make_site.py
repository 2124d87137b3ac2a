"""Write the notebooks, as they are stored, as a small self-contained site into `site/`: `make html`.

Where the repository's name on GitHub is known, each page also leads to Colab and Binder, and the site carries what
Colab opens: the library as a wheel, and copies of the notebooks that begin with the line that installs it.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import jinja2
import minutes
import nbformat
import pages

TITLE = "Vanishing gradients: see them, measure them, cure them"
# Colab has the rest, in versions of its own: without --no-deps a second TensorFlow would come beside Colab's.
INSTALL = "%pip install --quiet --no-deps anywidget psygnal https://github.com/{repository}/raw/gh-pages/{wheel}"


def find_repository(folder=pages.ROOT):
    """The repository's name on GitHub, such as "owner/name", or None: from GITHUB_REPOSITORY, or git's `origin`."""
    if os.environ.get("GITHUB_REPOSITORY"):
        return os.environ["GITHUB_REPOSITORY"]
    command = ["git", "-C", str(folder), "config", "--get", "remote.origin.url"]
    try:
        origin = subprocess.run(command, capture_output=True, text=True).stdout
    except FileNotFoundError:  # no git
        return None
    found = re.search(r"(?:^|[/@])github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?$", origin.strip())
    return found and found[1]


def make_wheel(target):
    """Write the library as a wheel into a folder; return its name."""
    with tempfile.TemporaryDirectory() as source:  # a copy, since a build leaves its traces where it works
        for name in ("vgp_lib", "data"):
            shutil.copytree(pages.ROOT / name, f"{source}/{name}", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(pages.ROOT / name, source)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
        subprocess.run([*command, "--wheel-dir", target, source], check=True)
    return max(target.glob("*.whl"), key=lambda wheel: wheel.stat().st_mtime).name


def _questions():
    """The question that each notebook answers, by file name, from the README's table."""
    readme = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"\(notebooks/(\w+)\.ipynb\) \| \d+ \+ \d+ \| ([^|]+?) \|", readme))


def _picture(notebook):
    """The figure of the cell with the tag `cover`, or else the first, and its alternative text."""
    figures = [
        (cell, output.data["image/png"])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    cell, png = next((pair for pair in figures if "cover" in pair[0].metadata.get("tags", [])), figures[0])
    return {"picture": png.replace("\n", ""), "alt": cell.metadata.get("alt", "")}


def _describe(path, notebook, question):
    cost = minutes.measure(notebook)
    page = {"href": f"{path.stem}.html", "title": pages.title(notebook), "minutes": cost.promised + cost.exercises}
    return page | {"name": path.stem, "guesses": pages.guesses(notebook), "question": question} | _picture(notebook)


class Site:
    """The files of the site, in a folder that is made anew."""

    def __init__(self, target, repository):
        self.target, self.repository = target, repository
        self.css, self.exporter, self.written = pages.css("page.css"), pages.Exporter("page.html.j2"), []
        target.mkdir(parents=True, exist_ok=True)
        (target / ".nojekyll").touch()  # GitHub Pages shall take the files as they are
        self.wheel = make_wheel(target) if repository else None

    def _write(self, name, html):
        path = self.target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
        self.written.append(path)

    def add_template(self, name, **values):
        """Write a page with the instrument from a template of its own, which has the page's name."""
        template = jinja2.Template((pages.TOOLS / "templates" / f"{name}.j2").read_text(encoding="utf-8"))
        self._write(name, template.render(css=self.css, scripts=pages.scripts(instrument=True), **values))

    def add_notebook(self, name, notebook, **page):
        """Write the page of a notebook; `name` is its path in the site, without the suffix."""
        home = "../" * name.count("/") + "index.html"
        guesses = pages.guesses(notebook)
        page = {"title": pages.title(notebook), "css": self.css, "home": home, "name": name, "guesses": guesses} | page
        self._write(f"{name}.html", self.exporter.page(notebook, **page))

    def places(self, name, notebook):
        """The addresses where somebody can run a notebook without installing anything, by the place's name."""
        if not self.repository:
            return {}
        path = self.target / "colab" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        line = INSTALL.format(repository=self.repository, wheel=self.wheel)
        cells = [nbformat.v4.new_code_cell(line, id="install"), *notebook.cells]
        copy = nbformat.v4.new_notebook(metadata=notebook.metadata, cells=cells)
        nbformat.write(copy, path)
        lab = f"https://mybinder.org/v2/gh/{self.repository}/HEAD?urlpath=lab/tree/notebooks/{name}.ipynb"
        colab = f"https://colab.research.google.com/github/{self.repository}/blob/gh-pages/colab/{name}.ipynb"
        return {"open in Colab": colab, "on Binder": lab}


def build(target, repository=None):
    """Write the index, the playground, a page for each notebook, deeper part, solution and list of words.

    Args:
        target: the folder.
        repository: its name on GitHub, such as "owner/name"; without it there are no links to Colab and Binder.

    Returns the paths of the pages, the index first.
    """
    site = Site(target, repository)
    paths = sorted(pages.ROOT.glob("notebooks/[0-9]*.ipynb"))
    notebooks = [pages.read(path) for path in paths]
    ask = _questions()
    described = [_describe(path, notebook, ask[path.stem]) for path, notebook in zip(paths, notebooks, strict=True)]
    site.add_template("index.html", title=TITLE, pages=described)
    site.add_template("playground.html")
    around = [None, *described, None]
    for number, (path, notebook) in enumerate(zip(paths, notebooks, strict=True)):
        beside = {}
        for part in ("deeper", "solutions"):
            other = path.parent / part / path.name
            if other.is_file():
                beside[part], other = f"{part}/{path.stem}.html", pages.read(other)
                back = {"href": f"../{path.stem}.html", "title": described[number]["title"]}
                places = site.places(f"{part}/{path.stem}", other) if part == "deeper" else {}
                site.add_notebook(f"{part}/{path.stem}", other, previous=back, places=places)
        beside |= {"previous": around[number], "next": around[number + 2], "places": site.places(path.stem, notebook)}
        site.add_notebook(path.stem, notebook, **beside)
    for source in ("notebooks/glossary.md", "data/corrections.md"):
        words = nbformat.v4.new_markdown_cell((pages.ROOT / source).read_text(encoding="utf-8"))
        notebook = nbformat.v4.new_notebook(cells=[words])
        site.add_notebook(source.removeprefix("notebooks/").removesuffix(".md"), notebook)
    for table in ("claims.csv", "remedies.csv"):
        shutil.copy(pages.ROOT / "data" / table, target / "data")
    return site.written


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pages.ROOT / "site"
    for page in build(folder, find_repository()):
        print(page)
