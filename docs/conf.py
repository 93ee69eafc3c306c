"""How the docs are built: ``sphinx-build -W docs docs/_build``; no network, no LaTeX, no script of others."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]  # the docs are of this checkout

from tinygrad_rnn import __version__  # noqa: E402

project = "tinygrad_rnn"
author = "the authors of tinygrad_rnn"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "extension"]
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
myst_fence_as_directive = ["math"]  # as code hosts have it

default_role = "code"  # what stands in `single` backquotes in docstrings

html_theme = "furo"
html_title = "tinygrad_rnn"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_math_renderer = "mathtext"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_preprocess_types = False

exclude_patterns = ["_build", "extension"]
