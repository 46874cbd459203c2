"""Draw pictures of a page in Chromium: wide and light, wide and dark, as on a phone, and of its beginning.

python pictures.py PAGE.html
python pictures.py FIGURE.png    # only makes the file of a picture smaller
"""

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Name of each picture: width and height in pixels, and the colors that the reader prefers.
PICTURES = {
    "wide": (1400, 2400, "light"),
    "dark": (1400, 2400, "dark"),
    "phone": (400, 1800, "light"),
    "top": (1400, 1100, "light"),
}


def reduce_colors(picture: Path) -> None:
    """Write a picture again with 256 colors, the rare ones included, which makes its file a third as large."""
    with Image.open(picture) as image:
        reduced = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    reduced.save(picture, optimize=True)


def draw(page: Path) -> None:
    """Write the pictures beside the page."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        for name, (width, height, colors) in PICTURES.items():
            tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme=colors)
            tab.goto(page.absolute().as_uri())
            for _ in range(600):
                if tab.evaluate("document.documentElement.dataset.figures") == "drawn":
                    break
                tab.wait_for_timeout(100)
            picture = page.with_name(f"{page.stem}-{name}.png")
            tab.screenshot(path=picture)
            reduce_colors(picture)
            tab.close()
        browser.close()


if __name__ == "__main__":
    given = Path(sys.argv[1])
    (draw if given.suffix == ".html" else reduce_colors)(given)
