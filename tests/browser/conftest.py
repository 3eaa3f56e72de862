"""The pages over a made-up city whose every state is known, in a thread of the test's own process."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from granian.constants import Interfaces
from granian.server.embed import Server
from playwright.sync_api import Browser, sync_playwright

from tests.components import free_port
from tests.fake_city import FakeSense, fake_portal, fake_site

SOFTWARE_GL = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
               "--disable-component-update", "--disable-sync", "--use-angle=swiftshader",
               "--enable-unsafe-swiftshader")  # fmt: skip


@dataclass
class City:
    """`observe` makes a car park report; it may be called from the test's thread."""

    url: str
    sense: FakeSense
    loop: asyncio.AbstractEventLoop

    def observe(self, id: str, free: int) -> None:
        self.loop.call_soon_threadsafe(self.sense.observe, id, free)


def _serve(everyone: bool) -> Iterator[City]:
    portal, sense = fake_portal()
    port = free_port()
    loop = asyncio.new_event_loop()
    server = Server(fake_site(portal, everyone), address="127.0.0.1", port=port, interface=Interfaces.ASGI)
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve()), daemon=True)
    thread.start()
    yield City(f"http://127.0.0.1:{port}", sense, loop)
    server.stop()  # type: ignore[no-untyped-call]  # granian does not say
    thread.join(10)
    loop.close()


@pytest.fixture(scope="module")
def city() -> Iterator[City]:
    """Everybody may handle alerts."""
    yield from _serve(everyone=True)


@pytest.fixture(scope="module")
def public_city() -> Iterator[City]:
    """Visitors are anonymous."""
    yield from _serve(everyone=False)


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """A Chromium that draws maps, in software; in place of the one that other tests use."""
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium, args=list(SOFTWARE_GL), chromium_sandbox=False)
        yield chrome
        chrome.close()
