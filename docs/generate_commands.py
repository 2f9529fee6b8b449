"""
Write anew what is made from the declarations of the commands: docs/commands.rst behind its marker.

Run it from anywhere after changing a command: python docs/generate_commands.py
"""

from __future__ import annotations

from pathlib import Path

from smsbridge.cli import manual

ROOT = Path(__file__).resolve().parent.parent
MARKER = ".. What follows is made by docs/generate_commands.py from the code; do not edit it.\n"


def generated() -> dict[Path, str]:
    """Return each file that is generated with the text that it ought to have."""
    page = ROOT / "docs" / "commands.rst"
    written_by_hand = page.read_text(encoding="utf-8").partition(MARKER)[0]
    return {page: f"{written_by_hand}{MARKER}\n{manual.rst()}"}


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
