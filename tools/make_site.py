"""Write the notebooks, as they are stored, as a small self-contained site into `site/`: `make html`."""

import pathlib
import re
import shutil
import sys

import jinja2
import minutes
import nbformat
import pages


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
    return page | {"question": question} | _picture(notebook)


def build(target):
    """Write the index, a page for each notebook, deeper part, solution and list of words; return their paths."""
    css = (pages.TOOLS / "page.css").read_text(encoding="utf-8") + pages.COLORS
    exporter = pages.Exporter("page.html.j2")
    paths = sorted(pages.ROOT.glob("notebooks/[0-9]*.ipynb"))
    notebooks = [pages.read(path) for path in paths]
    ask = _questions()
    described = [_describe(path, notebook, ask[path.stem]) for path, notebook in zip(paths, notebooks, strict=True)]
    for part in ("deeper", "solutions", "data"):
        (target / part).mkdir(parents=True, exist_ok=True)
    written = [target / "index.html"]
    template = jinja2.Template((pages.TOOLS / "templates" / "index.html.j2").read_text(encoding="utf-8"))
    title = "Vanishing gradients: see them, measure them, cure them"
    written[0].write_text(template.render(title=title, css=css, pages=described), encoding="utf-8")
    around = [None, *described, None]
    for number, (path, notebook) in enumerate(zip(paths, notebooks, strict=True)):
        page = {"title": described[number]["title"], "css": css, "home": "index.html"}
        page |= {"previous": around[number], "next": around[number + 2]}
        for part in ("deeper", "solutions"):
            beside = path.parent / part / path.name
            if not beside.is_file():
                continue
            page[part] = f"{part}/{path.stem}.html"
            other = pages.read(beside)
            back = {"href": f"../{path.stem}.html", "title": page["title"]}
            html = exporter.page(other, title=pages.title(other), css=css, home="../index.html", previous=back)
            written.append(target / page[part])
            written[-1].write_text(html, encoding="utf-8")
        written.append(target / f"{path.stem}.html")
        written[-1].write_text(exporter.page(notebook, **page), encoding="utf-8")
    for source in ("notebooks/glossary.md", "data/corrections.md"):
        words = nbformat.v4.new_markdown_cell((pages.ROOT / source).read_text(encoding="utf-8"))
        notebook = nbformat.v4.new_notebook(cells=[words])
        page = pathlib.Path(source.removeprefix("notebooks/")).with_suffix(".html")
        written.append(target / page)
        home = "../" * (len(page.parts) - 1) + "index.html"
        html = exporter.page(notebook, title=pages.title(notebook), css=css, home=home)
        written[-1].write_text(html, encoding="utf-8")
    for table in ("claims.csv", "remedies.csv"):
        shutil.copy(pages.ROOT / "data" / table, target / "data")
    return written


if __name__ == "__main__":
    for page in build(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pages.ROOT / "site"):
        print(page)
