"""`hutong outbox`: what could not be delivered, beside a running server or without one."""

from pathlib import Path

import click

from hutong.cli.desk import data_option, existing, open_desk, store_option
from hutong.kernel.clock import iso
from hutong.kernel.deliveries import content
from hutong.kernel.errors import NotFound
from hutong.kernel.outbox import Resend
from hutong.store.sql.outbox import SqlOutbox

PAGE_MAX = 1_000


@click.group()
def outbox() -> None:
    """List messages that could not be delivered, look at one, and send them again."""


@outbox.command("list")
@click.option("--channel", default="", help="Only those of this channel.")
@data_option
@store_option
def list_dead(channel: str, data: Path, store: str) -> None:
    """Channels in trouble, and the newest messages that could not be delivered."""
    existing(data, store)
    with open_desk(data, store) as desk:
        kept = SqlOutbox(desk.database)
        for one in (*kept.channels("closed", PAGE_MAX, 0), *kept.channels("failing", PAGE_MAX, 0)):
            click.echo(f"{one.state}  {one.id}  {one.dead} undelivered  {one.last_error}")
        for letter in kept.dead(channel, PAGE_MAX, 0):
            click.echo(f"{letter.parcel.n}  {letter.parcel.channel}  {iso(letter.died_at)}  {letter.reason}")
        click.echo(f"{kept.count_dead(channel)} undelivered")


@outbox.command("show")
@click.argument("n", type=click.IntRange(0, 2**63 - 1))
@data_option
@store_option
def show(n: int, data: Path, store: str) -> None:
    """What an undelivered message says."""
    existing(data, store)
    with open_desk(data, store) as desk:
        found = SqlOutbox(desk.database).dead_letter(n)
        if found is None:
            raise NotFound("there is no such undelivered message", where="N", seen=n, fix="hutong outbox list")
        desk.within("outbox.looked", lambda _: None)  # whoever has the machine may look, and leaves a trace
    click.echo(content(found.parcel.body)[0])


@outbox.command("resend")
@click.argument("channel")
@click.option("--message", "parcels", type=click.IntRange(0, 2**63 - 1), multiple=True, help="Only this; repeatable.")
@data_option
@store_option
def resend(channel: str, parcels: tuple[int, ...], data: Path, store: str) -> None:
    """Send undelivered messages of a channel again, after what waits already."""
    existing(data, store)
    with open_desk(data, store) as desk:
        count = desk.ask(Resend(channel=channel, parcels=parcels))
    click.echo(f"{count} wait to be sent again")
