"""Settings of the manual; build it with `make docs`, where every warning is an error."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import smsbridge  # noqa: E402

project = "smsbridge"
author = "the smsbridge authors"
copyright = author
version = release = smsbridge.__version__

extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
root_doc = "index"
highlight_language = "none"

html_theme = "furo"
html_title = f"smsbridge {release}"
html_copy_source = False
html_show_sourcelink = False
# Quotes and dashes stay as typed: commands and keys are copied from these pages.
smartquotes = False
