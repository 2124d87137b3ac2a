"""Write one self-contained deck per notebook into `slides/`: `make slides`."""

import importlib.util
import pathlib
import sys

import pages

REVEAL = pathlib.Path(importlib.util.find_spec("pyreveal").origin).parent / "revealjs" / "dist"


def build(target):
    """Write the decks of all notebooks into a folder; return their paths."""
    exporter = pages.Exporter("slides.html.j2")
    css = (REVEAL / "reveal.css").read_text(encoding="utf-8") + pages.css("slides.css")
    engine = [(REVEAL / name).read_text(encoding="utf-8") for name in ("reveal.js", "plugin/notes.js")]
    target.mkdir(parents=True, exist_ok=True)
    decks = []
    for path in sorted(pages.ROOT.glob("notebooks/[0-9]*.ipynb")):
        notebook = pages.read(path)
        deck = target / f"{path.stem}.html"
        html = exporter.page(notebook, title=pages.title(notebook), css=css, engine=engine)
        deck.write_text(html, encoding="utf-8")
        decks.append(deck)
    return decks


if __name__ == "__main__":
    for deck in build(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pages.ROOT / "slides"):
        print(deck)
