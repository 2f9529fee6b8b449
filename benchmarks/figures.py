"""What was measured: rows for people, and the same as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

__all__ = ["Section", "latencies", "machine", "percentile", "table", "write_json"]

Cell = str | int | float | None


@define
class Section:
    """
    One table of a benchmark.

    :ivar rows: each with one cell for each of `columns`.
    :ivar details: what else is worth keeping in the JSON.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]] = field(factory=list)
    notes: list[str] = field(factory=list)
    details: dict[str, Any] = field(factory=dict)

    def add(self, *cells: Cell) -> None:
        """Append a row."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{self.title}: {len(cells)} cells for {len(self.columns)} columns")
        self.rows.append(cells)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that a share (0 to 1) of the sorted values does not exceed."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def latencies(values_s: Iterable[float]) -> dict[str, float]:
    """Return p50, p99 and the largest of some times, in milliseconds."""
    ordered = sorted(values_s)
    return {
        "p50_ms": round(percentile(ordered, 0.5) * 1000, 2),
        "p99_ms": round(percentile(ordered, 0.99) * 1000, 2),
        "max_ms": round(ordered[-1] * 1000, 2) if ordered else 0.0,
    }


def table(section: Section) -> str:
    """Draw a section for a terminal, with numbers to the right."""
    cells = [[_shown(cell) for cell in row] for row in section.rows]
    widths = [
        max([len(column), *(len(row[index]) for row in cells)])
        for index, column in enumerate(section.columns)
    ]
    rules = ["-" * width for width in widths]
    lines = [section.title, ""]
    for row in (list(section.columns), rules, *cells):
        padded = zip(row, widths, range(len(widths)), strict=True)
        lines.append("  ".join(_padded(*each) for each in padded))
    lines += ["", *section.notes] if section.notes else []
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _padded(cell: str, width: int, index: int) -> str:
    return cell.ljust(width) if index == 0 else cell.rjust(width)


def _shown(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        if abs(cell) >= 100:
            return f"{cell:,.0f}"
        return f"{cell:.2f}" if abs(cell) < 10 else f"{cell:.1f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def machine() -> dict[str, Any]:
    """Describe what the figures were measured on."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory_kb / 1e6, 1),
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
    }


def write_json(folder: Path, name: str, sections: Sequence[Section]) -> Path:
    """Write a benchmark's sections beside the machine's description; returns the path."""
    path = folder / f"{name}.json"
    data = {
        "benchmark": name,
        "machine": machine(),
        "sections": [
            {
                "title": section.title,
                "rows": [dict(zip(section.columns, row, strict=True)) for row in section.rows],
                "notes": section.notes,
                **section.details,
            }
            for section in sections
        ],
    }
    path.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    return path
