"""Take the pictures that the documents show, from a demo that runs.

    ./dev run
    python tools/screenshots.py http://127.0.0.1:8080 docs/images

It needs what the tests need: playwright, Chromium and Chinese fonts.
"""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, ViewportSize, sync_playwright

BYTES_MAX = 300_000  # of a picture, so that a clone stays small
PLATFORM = "/platforms/smart_parking"
SHOTS = {"platform-zh-light": f"/zh{PLATFORM}", "platform-en-light": f"/en{PLATFORM}"}


def take(browser: Browser, address: str, file: Path) -> None:
    size = ViewportSize(width=1280, height=860)
    with browser.new_context(viewport=size, timezone_id="Asia/Shanghai", color_scheme="light") as context:
        page = context.new_page()
        page.goto(address)
        page.wait_for_timeout(3_000)  # the map draws and fades in
        page.screenshot(path=file)
    if file.stat().st_size > BYTES_MAX:
        sys.exit(f"{file} has {file.stat().st_size} bytes; a picture may have {BYTES_MAX}")


def main(address: str, folder: str) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, chromium_sandbox=os.geteuid() != 0)
        for name, path in SHOTS.items():
            take(browser, address.rstrip("/") + path, Path(folder) / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
