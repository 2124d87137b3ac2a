"""What was measured: the ledger of claims and the table of remedies, read from the folder data and printed."""

import csv

from vgp_lib import data


class Ledger(list):
    """Rows of the ledger, dicts from column to value; prints each claim with its verdict, and a line per case."""

    def __repr__(self):
        lines, verdicts = [], {}
        for row in self:
            if row["id"] not in verdicts:
                verdicts[row["id"]] = row["verdict"]
                lines += [f"{row['id']:16} {row['verdict'].upper()}", f"{'':16} {row['sentence']} [{row['source']}]"]
            low, median, high = (f"{float(row[name]):.2g}" for name in ("p10", "median", "p90"))
            case = f"{row['case']}: " if row["case"] else ""
            band = "" if low == high else f", 80 % of the seeds {low} to {high}"
            lines.append(f"{'':16} {case}{row['experiment']}: {median}{band}; expected {row['expectation']}")
        found = list(verdicts.values())
        condition = sum(verdict.startswith("holds only") for verdict in found)
        counts = f"{found.count('holds')} hold, {found.count('false')} false, {condition} hold only under a condition"
        return "\n".join([*lines, f"{len(found)} claims: {counts}"])


def claims(notebook=None) -> Ledger:
    """Read the ledger's last measurement; of one notebook, such as "01", or of all of them.

    Raises `ValueError` if the notebook has no claims, `FileNotFoundError` if data/claims.csv is missing.
    """
    unknown = f"notebook is {notebook!r}; the ledger has claims of the notebooks"
    return Ledger(_read("claims.csv", lambda row: row["id"][:2], notebook, unknown))


class Remedies(list):
    """Rows of the table, dicts from column to value; prints as a table."""

    def __repr__(self):
        lines = [("remedy", "layers", "loss [10 %, 90 %]", "solved", "gradient", "delta", "still open")]
        for row in self:
            loss = "{:.2g} [{:.2g}, {:.2g}]".format(*(float(row[name]) for name in ("loss", "loss_p10", "loss_p90")))
            ratios = [f"{float(row[name]):.0e}" for name in ("gradient_ratio", "delta_ratio")]
            lines.append((row["remedy"], row["hidden_layers"], loss, f"{row['solved']}/32", *ratios, row["still_open"]))
        return "\n".join("{:30} {:>6}  {:26}  {:>6}  {:>8}  {:>6}  {}".format(*line).rstrip() for line in lines)


def remedies(hidden_layers=None) -> Remedies:
    """Read the last measurement; for 10 or 30 hidden layers, or all of it.

    loss, with its 10 % and 90 % quantile, and solved (seeds with a training accuracy above 0.95) after 100 epochs;
    gradient and delta ratio (first over last hidden layer) before training; medians over 32 seeds.

    Raises `ValueError` if there are no such rows, `FileNotFoundError` if data/remedies.csv is missing.
    """
    unknown = f"hidden_layers is {hidden_layers!r}; the table has rows for"
    return Remedies(_read("remedies.csv", lambda row: int(row["hidden_layers"]), hidden_layers, unknown))


def _read(name, part, wanted, unknown):
    """Read a table's rows, dicts from column to text: all, or those whose `part`, a function of a row, is `wanted`."""
    path = data.TABLES / name
    if not path.is_file():
        raise FileNotFoundError(f"{name} is missing; git checkout -- data/{name}, or install vgp_lib again")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = sorted({part(row) for row in rows})
    if wanted is not None and wanted not in known:
        raise ValueError(f"{unknown} {known}")
    return [row for row in rows if wanted in (None, part(row))]
