"""Takes pictures of the first screen of a report, at three widths, light and dark, and counts its pages on paper.

    python tests/evidence/screenshots.py REPORT.html [--out docs/screenshots]

Needs chromium and chromedriver on the PATH. The pictures have few colours, so that they stay small in the repository.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
#: Width and height of each picture.
SIZES = ((1400, 900), (768, 1024), (360, 740))
COLOURS = 256


def browser() -> Any:
    """A headless Chromium."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def pictures(driver: Any, report: Path, out: Path) -> None:
    """One picture of the first screen for each width and colour scheme."""
    from PIL import Image

    out.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        for width, height in SIZES:
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            driver.get(report.resolve().as_uri())
            taken = base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", {})["data"])
            with Image.open(io.BytesIO(taken)) as image:
                small = image.convert("RGB").quantize(COLOURS)
            small.save(out / f"first-screen-{width}-{scheme}.png", optimize=True)


def pages(driver: Any, report: Path) -> int:
    """Pages of the report on paper."""
    driver.get(report.resolve().as_uri())
    printed = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", base64.b64decode(printed["data"])))


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the pictures, and say how many pages the report prints on."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("report", type=Path, help="index.html of a report")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots", help="folder of the pictures")
    given = parser.parse_args(arguments)
    driver = browser()
    try:
        pictures(driver, given.report, given.out)
        print(f"{given.report}: {pages(driver, given.report)} pages on paper; pictures in {given.out}")
    finally:
        driver.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
