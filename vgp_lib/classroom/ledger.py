"""What was measured: the ledger of claims and the table of remedies, read from the folder data and printed."""

import csv

from vgp_lib import data


class Ledger(list):
    """Rows of the ledger, dicts from column to value; prints a line for each claim, and a single claim in full."""

    def __repr__(self):
        first = {row["id"]: row for row in reversed(self)}
        lines, single = [], len(first) == 1
        for name in sorted(first):
            verdict = first[name]["verdict"]
            word, _, condition = verdict.partition(" only if ")
            lines.append(
                f"{name:16} {word:5}  {first[name]['sentence']}{f' (Only if {condition}.)' if condition else ''}"
            )
        if single:
            lines += [f"{'':16} {line}" for line in [f"Said by: {self[0]['source']}.", *map(_case, self)]]
        found = [row["verdict"] for row in first.values()]
        condition = sum(verdict.startswith("holds only") for verdict in found)
        counts = f"{found.count('holds')} hold, {found.count('false')} false, {condition} hold only under a condition"
        return "\n".join(lines if single else [*lines, f"{len(found)} claims: {counts}"])


def _case(row):
    low, median, high = (f"{float(row[name]):.2g}" for name in ("p10", "median", "p90"))
    case = f"{row['case']}: " if row["case"] else ""
    band = "" if low == high else f", 80 % of the seeds {low} to {high}"
    return f"{case}{row['experiment']}: {median}{band}; expected {row['expectation']}"


def claims(which=None) -> Ledger:
    """Read the ledger's last measurement: of one notebook, such as "01", of one claim, "01-ladder", or all of it.

    Raises `ValueError` if there is no such notebook or claim, `FileNotFoundError` if data/claims.csv is missing.
    """
    rows = _read("claims.csv")
    chosen = Ledger(row for row in rows if which in (None, row["id"], row["id"][:2]))
    if not chosen:
        notebooks = sorted({row["id"][:2] for row in rows})
        raise ValueError(
            f"which is {which!r}; the ledger has the notebooks {notebooks}, and claims such as '01-ladder'"
        )
    return chosen


class Remedies(list):
    """Rows of the table, dicts from column to value; prints a line for each remedy, its depths side by side."""

    def __repr__(self):
        depths, cells = sorted({int(row["hidden_layers"]) for row in self}), {}
        for row in self:
            loss, delta = float(row["loss"]), float(row["delta_ratio"])
            cells[row["remedy"], int(row["hidden_layers"])] = f"{loss:7.2g} {row['solved']:>5}/32  {delta:5.0e}"
        width = max([len(row["remedy"]) + 2 for row in self], default=0) + 2
        lines = [" " * width + "".join(f"{f'{depth} hidden layers':>23}  " for depth in depths).rstrip()]
        lines += [f"{'remedy':{width}}" + "   loss   solved  delta  " * len(depths) + "what stays wrong"]
        kind = ""
        for name, row in {row["remedy"]: row for row in self}.items():
            if row.get("kind", "") != kind:
                lines.append(kind := row["kind"])
            measured = "".join(f"{cells.get((name, depth), ''):23}  " for depth in depths)
            lines.append(f"{'  ' * bool(kind) + name:{width}}{measured}{row['still_open']}".rstrip())
        return "\n".join(lines)


def remedies(hidden_layers=None, kinds=None) -> Remedies:
    """Read the last measurement, of one depth or all, of all remedies or of some.

    loss, with its 10 % and 90 % quantile, and solved (seeds with a training accuracy above 0.95) after 100 epochs;
    gradient and delta ratio (first over last hidden layer) before training; medians over 32 seeds.

    Args:
        hidden_layers: 10 or 30, say; None for all depths.
        kinds: dict from a heading to a list of remedies, {"activation": ["tanh", "ReLU"]}: these only, in this order,
            with their heading in a column "kind"; None for all remedies in the order of the file.

    Raises `ValueError` if there are no such rows, `FileNotFoundError` if data/remedies.csv is missing.
    """
    rows = _read("remedies.csv")
    depths = sorted({int(row["hidden_layers"]) for row in rows})
    if hidden_layers is not None and hidden_layers not in depths:
        raise ValueError(f"hidden_layers is {hidden_layers!r}; the table has rows for {depths}")
    rows = [row for row in rows if hidden_layers in (None, int(row["hidden_layers"]))]
    if kinds is None:
        return Remedies(rows)
    heading = {name: kind for kind, names in kinds.items() for name in names}
    unknown = set(heading) - {row["remedy"] for row in rows}
    if unknown:
        raise ValueError(f"kinds has {sorted(unknown)}; the table has {[row['remedy'] for row in rows]}")
    order = list(heading)
    chosen = sorted((row for row in rows if row["remedy"] in heading), key=lambda row: order.index(row["remedy"]))
    return Remedies(row | {"kind": heading[row["remedy"]]} for row in chosen)


def _read(name):
    """Read a table: a list of dicts from column to text."""
    path = data.TABLES / name
    if not path.is_file():
        raise FileNotFoundError(f"{name} is missing; git checkout -- data/{name}, or install vgp_lib again")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
