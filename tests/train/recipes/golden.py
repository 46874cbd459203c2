"""The complete forms of the presets, and the table of keys of the page on training.

`python -m tests.train.recipes.golden` writes them anew.
"""

from pathlib import Path

from nas.train.recipes.files import PRESETS, format_recipe, load_recipe
from nas.train.recipes.schema import describe_keys

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "tests" / "golden" / "recipes"
PAGE = ROOT / "docs" / "training.md"
HEADER = "| key | values | default | meaning |\n|---|---|---|---|\n"


def path_of(preset: str) -> Path:
    return FOLDER / f"{preset}.yaml"


def table() -> str:
    """Return the table of all keys in Markdown."""
    rows = (f"| `{name}` | {rule} | {default} | {text} |\n" for name, rule, default, text in describe_keys())
    return HEADER + "".join(rows)


def page_with_table(page: str) -> str:
    """Return a page with the table in place of its former table of keys."""
    before, _, rest = page.partition(HEADER)
    after = rest[rest.index("\n\n") + 1 :]
    return before + table() + after


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for preset in PRESETS:
        path_of(preset).write_text(format_recipe(load_recipe(preset)), encoding="utf-8")
    PAGE.write_text(page_with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
