"""Settings of the documentation site, which `scripts/docs` builds.

The sources are all pages of the repository: docs/, the results in experiments/, and the pages for contributors. So a
link between pages is the same relative path on a code host and on the site. A file that is no page is copied when a
page links to it. Everything works without a network: formulas are MathML, and no font or script is fetched.
"""

from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from nas.report.theme import BLUE, DARK
from nas.version import __version__

project, author, copyright = "nas", "the authors of nas", "the authors of nas, Apache-2.0"  # noqa: A001
version = release = __version__

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["docs/*.md", "experiments/**/*.md", "CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = [".*", "build", "shared"]
nitpicky = True

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # the anchors of a code host
myst_links_external_new_tab = False

html_theme = "furo"
html_title = f"nas {release}"
html_static_path = ["_static"]
html_css_files = ["nas.css"]
html_search_scorer = str(Path(__file__).with_name("scorer.js"))
html_show_sphinx = html_show_sourcelink = html_copy_source = html_use_index = False
html_permalinks_icon = "#"
html_math_renderer = "mathml"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": BLUE, "color-brand-content": BLUE, "color-brand-visited": BLUE},
    "dark_css_variables": {
        "color-brand-primary": DARK[BLUE],
        "color-brand-content": DARK[BLUE],
        "color-brand-visited": DARK[BLUE],
    },
}


def setup(app: Sphinx) -> None:
    """Draw formulas as MathML, show CSV as it is, and make the page that leads from the root to the index."""
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_formula, None))
    app.add_lexer("csv", TextLexer)
    app.connect("build-finished", _lead_from_the_root)


def _inline_formula(page: HTML5Translator, node: nodes.math) -> None:
    page.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _formula(page: HTML5Translator, node: nodes.math_block) -> None:
    page.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def _lead_from_the_root(app: Sphinx, _error: Exception | None) -> None:
    leading = f'<!doctype html><title>nas</title><meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
    (app.outdir / "index.html").write_text(leading, encoding="utf-8")
