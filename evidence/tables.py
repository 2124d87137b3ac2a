"""The measured tables in the folder data."""

import csv

from vgp_lib import data


def read(name):
    """Read a table: a list of dicts from column to text."""
    with (data.TABLES / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(name, rows):
    """Write a table, a list of dicts."""
    with (data.TABLES / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def rounded(rows):
    """Write numbers with three digits: what agrees between computers."""
    return [{name: f"{v:.3g}" if isinstance(v, float) else v for name, v in row.items()} for row in rows]
