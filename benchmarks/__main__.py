"""The command ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from benchmarks.child import ChildFailed
from benchmarks.figures import machine, table, write_json
from benchmarks.rig import Setup, temporary_folder

NAMES = (
    "ceilings",
    "codec",
    "store",
    "inbound",
    "outbound",
    "lines",
    "http_send",
    "webhooks",
    "hook_xmpp",
    "backlog",
    "history",
    "inbox",
)
RESULTS = Path(__file__).resolve().parent / "results"
QUICK = 0.1


def main(arguments: list[str] | None = None) -> int:
    """Run benchmarks; returns 1 when one could not be run."""
    described = "\n".join(
        f"  {name:10} {importlib.import_module(f'benchmarks.{name}').DESCRIPTION}" for name in NAMES
    )
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure smsbridge on this machine.",
        epilog=f"benchmarks, in the order in which they run:\n{described}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="which; all by default")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything: a look")
    parser.add_argument("--scale", type=float, help="another share than 0.1 or 1")
    parser.add_argument("--seconds", type=float, help="how long 'lines' runs (60; 600 for docs)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="an option of a benchmark"
    )
    parser.add_argument(
        "--profile", action="store_true", help="let py-spy write folded stacks of the daemon"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in NAMES]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    given.results.mkdir(parents=True, exist_ok=True)
    options = dict(each.partition("=")[::2] for each in given.set)
    described_machine = machine()
    print(
        f"{described_machine['cpu']}, {described_machine['cores']} cores, "
        f"{described_machine['memory_gb']} GB; load before: {described_machine['load_1min']}\n",
        flush=True,
    )
    failed = False
    for name in given.names or NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        began_s = time.monotonic()
        print(f"== {name}: {module.DESCRIPTION}", flush=True)
        with temporary_folder() as folder:
            setup = Setup(
                scale=given.scale or (QUICK if given.quick else 1.0),
                folder=folder,
                profile=given.results if given.profile else None,
                seconds=given.seconds,
                options=options,
            )
            try:
                sections = module.run(setup)
            except ChildFailed as e:
                print(f"{name} could not be run: {e}\n", file=sys.stderr, flush=True)
                failed = True
                continue
        for section in sections:
            print(f"\n{table(section)}", flush=True)
        path = write_json(given.results, name, sections)
        print(f"{time.monotonic() - began_s:.0f} s; written to {path}\n", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
