"""`hutong up`: serve a city over HTTP."""

import asyncio
import errno
import logging
import signal
import socket
from pathlib import Path

import click
import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar

from hutong.cli.composition import DATA, Composition, cities_option
from hutong.cli.contexts import read_contexts
from hutong.cli.runtime import HISTORY_PAGE, Settings, open_city, tune
from hutong.cli.web import web
from hutong.kernel.clock import SystemClock
from hutong.kernel.errors import Conflict, InvalidInput

LOOPBACK = ("127.0.0.1", "::1", "localhost")
BACKLOG = 2048


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=DATA,
    show_default=True,
    help="Folder for everything that is kept.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--city", default="", help="Name of the city.")
@cities_option
@click.option(
    "--packs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Further folders of packs; all their packs are on.",
)
@click.option("--store", default="", help="Database address, such as postgresql+psycopg://…; SQLite without.")
@click.option(
    "--context",
    "contexts",
    multiple=True,
    metavar="URL=FILE",
    help="An @context from a local file, or a folder of them laid out by address; nothing is downloaded.",
)
@click.option(
    "--allow-notify",
    multiple=True,
    metavar="NETWORK|HOST",
    help="Let messages go to this part of your own network too, such as 10.1.0.0/16; may be repeated.",
)
@click.option(
    "--history-page",
    type=click.IntRange(1, 100_000),
    default=HISTORY_PAGE,
    show_default=True,
    help="About how many instances an answer of NGSI-LD about histories holds.",
)
@click.option(
    "--delete-history", is_flag=True, help="Delete the history of entities that are deleted; without, it is kept."
)
@click.option(
    "--history-makes-present",
    is_flag=True,
    help="Let an unknown thing exist, as it was last, when its history is told by NGSI-LD; without, it is past only.",
)
@click.option("--open", "open_", is_flag=True, help="Switch authentication off; loopback only.")
@click.option("--demo", is_flag=True, help="Show a demonstration city with simulated data.")
@click.pass_obj
def up(
    composition: Composition,
    data: Path,
    port: int,
    host: str,
    city: str,
    cities: tuple[Path, ...],
    packs: tuple[Path, ...],
    store: str,
    contexts: tuple[str, ...],
    allow_notify: tuple[str, ...],
    history_page: int,
    delete_history: bool,
    history_makes_present: bool,
    open_: bool,
    demo: bool,
) -> None:
    """Serve a city."""
    if open_ and host not in LOOPBACK:
        raise InvalidInput(
            "without authentication only this machine may be served",
            where="--host",
            seen=host,
            allowed=", ".join(LOOPBACK),
            fix="leave --host out, or leave --open out",
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    documents = read_contexts(contexts)
    address = free_address(host, port)
    settings = Settings(
        data=data,
        city=city,
        store=store,
        open=open_,
        demo=demo,
        packs=packs,
        allow_notify=allow_notify,
        history_page=history_page,
        keep_history=not delete_history,
        history_makes_present=history_makes_present,
    )
    runtime = open_city(settings, composition.with_cities(cities), SystemClock())
    try:
        runtime.start()
        site = web(runtime, documents)
        tune()
        where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        uvloop.run(serve(site, address, port, where))
    finally:
        runtime.close()


def free_address(host: str, port: int) -> str:
    """The IP address of a host that can be listened on. Raises InvalidInput, and Conflict where the port is taken.

    The server shares its port with whoever else is willing to, so without this two cities would answer by turns.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise InvalidInput(
            "there is no such address", where="--host", seen=host, allowed="an address or a name of this machine"
        ) from None
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Conflict(
                    "somebody listens on this port already",
                    where="--port",
                    seen=str(port),
                    fix="stop it, or choose another --port",
                ) from None
            raise InvalidInput(
                "this address cannot be listened on", where="--host", seen=f"{host}:{port}", fix=str(error.strerror)
            ) from None
    return str(address[0])


async def serve(site: Litestar, address: str, port: int, where: str) -> None:
    """Serve until a signal to stop comes; requests under way are finished."""
    server = Server(
        site,
        address=address,
        port=port,
        interface=Interfaces.ASGI,
        backlog=BACKLOG,
        websockets=False,
        log_enabled=False,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    click.echo(f"Hutong serves at {where} (Ctrl-C stops it)")
    await server.serve()
