"""The pictures of the guide, taken from a running platform in a headless Chromium.

    .venv/bin/python docs/make_screenshots.py [--dagster http://127.0.0.1:3000] [--out docs/images]

`make run` must be up with everything materialized. Chromium is looked for on the PATH (Debian: apt install chromium); it is
driven over the DevTools protocol with what the platform installs anyway. Each picture waits for what it is to show, for at
most `--wait` seconds, and the script fails if that does not appear.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.sync.client import connect
from websockets.sync.connection import Connection

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)
STILL_FOR_S = 1.5


class NotShown(RuntimeError):
    """What a picture is to show did not appear in time."""


@dataclass
class Page:
    """A tab of the browser."""

    connection: Connection
    wait_s: float

    def __post_init__(self) -> None:
        self._ids = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and return its result."""
        wanted = next(self._ids)
        self.connection.send(json.dumps({"id": wanted, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.connection.recv(timeout=60))
            if answer.get("id") == wanted:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails'].get('exception', {}).get('description')}")
        return found["result"].get("value")

    def size(self, width: int, height: int, scale: float = 1.5) -> None:
        """Make the window so large, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def until(self, condition: str, what: str) -> None:
        """Wait for a JavaScript condition.

        Raises:
            NotShown: it did not become true.
        """
        deadline = time.monotonic() + self.wait_s
        while time.monotonic() < deadline:
            if self.value(f"Boolean({condition})"):
                return
            time.sleep(0.1)
        raise NotShown(f"{what} did not appear within {self.wait_s:.0f} s at {self.value('location.href')}")

    def until_still(self) -> None:
        """Wait until nothing in the page has changed for a moment, and its pictures are there."""
        self.until("[...document.images].every(image => image.complete)", "the pictures of the page")
        deadline = time.monotonic() + self.wait_s
        before, since = None, time.monotonic()
        while time.monotonic() < deadline:
            now = self.value("document.body.innerText.replace(/\\d+/g, '') + document.getElementsByTagName('*').length")
            if now != before:
                before, since = now, time.monotonic()
            elif time.monotonic() - since > STILL_FOR_S:
                return
            time.sleep(0.2)

    def click(self, element: str, what: str) -> None:
        """Click what a JavaScript expression finds."""
        self.until(element, what)
        self.value(f"{element}.click()")

    def save(self, path: Path) -> None:
        """Write what the window shows as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


def button(text: str) -> str:
    """A JavaScript expression for the first button, link or tab with this text."""
    wanted = json.dumps(text)
    return f"[...document.querySelectorAll('button, a, [role=tab]')].find(e => e.innerText.trim() === {wanted})"


def shows(text: str) -> str:
    """A JavaScript condition: the text is in the page."""
    return f"document.body?.innerText?.includes({json.dumps(text)})"


# The pictures


GRAPH_NODES = "document.querySelectorAll('svg foreignObject').length"


def groups(page: Page, dagster: str) -> None:
    """The asset graph, a node a group."""
    page.size(1700, 800, scale=1.2)
    page.open(f"{dagster}/asset-groups")
    page.until(f"{GRAPH_NODES} > 3", "the asset graph")
    page.until_still()


def lineage(page: Page, dagster: str) -> None:
    """The way of the data to one product: from lake files to the forecasts, a node an asset."""
    page.size(2300, 800, scale=1)
    page.open(f"{dagster}/assets/predictions/sales/sales_forecast?view=lineage&lineageScope=upstream&lineageDepth=20")
    page.until(f"{GRAPH_NODES} > 3", "the lineage")
    page.until_still()


def partitions(page: Page, dagster: str) -> None:
    """A year of daily partitions."""
    page.size(1500, 820)
    page.open(f"{dagster}/assets/raw/pos/transactions?view=partitions")
    page.until(shows("2017-12-31"), "the last day of the year")
    page.until_still()


def profile(page: Page, dagster: str) -> None:
    """The profile of a mart, with its plots."""
    markdown(page, f"{dagster}/assets/profile/sales/daily_sales", "profile")


def gate(page: Page, dagster: str) -> None:
    """The check that lets only a better model through."""
    page.size(1500, 820)
    page.open(f"{dagster}/assets/evaluation/sales/sales_forecast?view=checks")
    page.until(shows("better_than_champion_and_baseline"), "the gate")
    page.until_still()


def forecast(page: Page, dagster: str) -> None:
    """Forecast against actual, as the evaluation shows it."""
    markdown(page, f"{dagster}/assets/evaluation/sales/sales_forecast", "forecast against actual")


def markdown(page: Page, asset: str, label: str) -> None:
    """Open the Markdown that is the metadata `label` of an asset's newest materialization."""
    page.size(1700, 1300, scale=1)
    page.open(asset)
    row = (
        f"[...document.querySelectorAll('tr')].find(row => row.cells[0]?.innerText.trim() === {json.dumps(label)})"
        "?.querySelector('button, a')"
    )
    page.click(row, f"the metadata {label!r}")
    page.until("document.querySelector('[role=dialog] img, .bp5-dialog img, .bp4-dialog img')", "the plot")
    page.until_still()


PICTURES: dict[str, Callable[[Page, str], None]] = {
    "groups": groups,
    "lineage": lineage,
    "partitions": partitions,
    "profile": profile,
    "gate": gate,
    "forecast": forecast,
}


@contextmanager
def browser(program: str, wait_s: float) -> Generator[Page]:
    """A headless browser with a profile of its own, which ends with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            told = Path(folder) / "DevToolsActivePort"
            deadline = time.monotonic() + wait_s
            while not (told.exists() and told.read_text().count("\n")):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise NotShown(f"{program} did not start")
                time.sleep(0.05)
            port, path = told.read_text().split()[:2]
            with connect(f"ws://127.0.0.1:{port}{path}", proxy=None, max_size=None) as whole:
                target = Page(whole, wait_s).call("Target.createTarget", url="about:blank")["targetId"]
                with connect(f"ws://127.0.0.1:{port}/devtools/page/{target}", proxy=None, max_size=None) as tab:
                    page = Page(tab, wait_s)
                    page.call("Page.enable")
                    yield page
        finally:
            process.terminate()
            process.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pictures", nargs="*", metavar="picture", help=f"of {', '.join(PICTURES)} (default: all)")
    parser.add_argument("--dagster", default="http://127.0.0.1:3000", help="where the platform runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--wait", type=float, default=60, help="seconds that a page may take")
    given = parser.parse_args()
    unknown = set(given.pictures) - set(PICTURES)
    if unknown:
        parser.error(f"there is no picture {', '.join(sorted(unknown))}; there are {', '.join(PICTURES)}")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit(f"no browser on the PATH; looked for {', '.join(BROWSERS)}")
    given.out.mkdir(parents=True, exist_ok=True)
    with browser(program, given.wait) as page:
        for name in given.pictures or PICTURES:
            PICTURES[name](page, given.dagster.rstrip("/"))
            page.save(given.out / f"{name}.png")


if __name__ == "__main__":
    main()
