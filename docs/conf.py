"""Settings of the documentation site, which `make docs` builds (docs/adr/0029-a-site-by-sphinx.md)."""

from functools import partial
from importlib.metadata import version as installed_version
from pathlib import Path

from jupyter_cache.executors import utils as executor

# A cell of bash writes 100 characters at a time. Join them as Jupyter does; the joining of MyST-NB breaks lines there.
executor.executenb = partial(executor.executenb, coalesce_streams=True)

project = "hsipipe"
author = project_copyright = "The hsipipe authors"
version = installed_version("hsipipe")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# Blocks without a language are graphs and trees of folders.
highlight_language = "none"

# Links to headings have the names that GitHub gives them.
myst_heading_anchors = 4

# The second notebook reads the result of `make repro`; without one its page has no outputs.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
_result = Path(__file__).parents[1] / "reports" / "metrics.json"
nb_execution_excludepatterns = [] if _result.exists() else ["read-a-result.ipynb"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

# Nothing is loaded from elsewhere, so pages and search work as files, too. A summary of a hit would need a server.
html_show_search_summary = False
html_theme = "furo"
html_title = f"hsipipe {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
