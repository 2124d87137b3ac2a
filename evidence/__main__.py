"""`python -m evidence`: measure again what the folder data holds."""

import argparse
import time

from tqdm import tqdm

import vgp_lib as vgp
from evidence import claims, diagnosis, real_programs, remedies, tables
from vgp_lib.classroom import ledger


def compare():
    """Measure all claims and remedies; print a line for each that deviates from the stored one, return how many do."""
    ledger_rows, table, found, started = vgp.claims(), vgp.remedies(), [], time.perf_counter()

    def note(line):
        if line:
            found.append(line)
            tqdm.write(line)

    for claim in tqdm(claims.CLAIMS, unit="claim", disable=None, leave=False):
        note(claims.deviation(claim, claim.rows(), ledger_rows))
    for name, depth in tqdm(remedies.settings(), unit="remedy", disable=None, leave=False):
        note(remedies.deviation(remedies.measure(name, depth), table))
    count, seconds = len(claims.CLAIMS) + len(remedies.settings()), time.perf_counter() - started
    print(f"{count} claims and remedies measured in {seconds:.0f} s: {len(found)} deviate from data")
    return len(found)


def store():
    """Measure all claims and remedies, write data/claims.csv and data/remedies.csv, and print them."""
    for name, kind, rows in (
        ("claims.csv", ledger.Ledger, (row for claim in claims.CLAIMS for row in claim.rows())),
        ("remedies.csv", ledger.Remedies, (remedies.measure(*setting) for setting in remedies.settings())),
    ):
        rows = kind(tables.rounded(tqdm(rows, disable=None, leave=False)))
        tables.write(name, rows)
        print(rows)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m evidence",
        description="Without an argument: measure all claims and remedies (10 minutes) and compare them with data; "
        "exits with 1 if one deviates.",
    )
    parser.add_argument("--store", action="store_true", help="write them to data instead of comparing")
    commands = parser.add_subparsers(dest="command")
    benchmark = commands.add_parser(
        "diagnosis", help="score diagnose on the zoo (45 minutes) and write the runs to data"
    )
    benchmark.add_argument("--quick", action="store_true", help="a sixteenth of the zoo (minutes), nothing written")
    wild = commands.add_parser("programs", help="score diagnose on programs of strangers and write the answers to data")
    wild.add_argument("--quick", action="store_true", help="seed 0 only, nothing written")
    wild.add_argument("--label", action="store_true", help="train the programs anew for their labels (half an hour)")
    chosen = parser.parse_args(arguments)
    if chosen.command == "programs":
        return real_programs.measure(chosen.quick, chosen.label)
    if chosen.command:
        return diagnosis.measure(chosen.quick)
    if chosen.store:
        return store()
    return int(compare() > 0)


if __name__ == "__main__":
    raise SystemExit(main())
