"""The command `hutong`."""

import sys

import click

from hutong import __version__
from hutong.cli.backup import backup, drill, restore
from hutong.cli.check import check, new_pack
from hutong.cli.composition import Composition
from hutong.cli.desk import rebuild, token, verify
from hutong.cli.outbox import outbox
from hutong.cli.proofs import harness
from hutong.cli.reference import reference
from hutong.cli.replay import replay
from hutong.cli.runtime import pack_format
from hutong.cli.serve import up
from hutong.kernel.errors import DeclarationFaults, HutongError


@click.group()
@click.version_option(__version__)
@click.pass_context
def hutong(context: click.Context) -> None:
    """Hutong 互通: one open platform on which a city runs its Internet+ programme."""
    context.obj = Composition(form=pack_format(), harness=harness)


for command in (up, replay, token, outbox, check, new_pack, reference, verify, rebuild, backup, restore, drill):
    hutong.add_command(command)


def main() -> None:
    """Run the command line; errors are told without a traceback."""
    try:
        hutong(standalone_mode=True)
    except HutongError as error:
        faults = error.faults if isinstance(error, DeclarationFaults) else [error.fault]
        for fault in faults:
            click.echo(f"hutong: {fault}", err=True)
        sys.exit(1)
    except OSError as error:  # what the machine refuses is nobody's bug
        click.echo(f"hutong: {error.filename or 'the system'}: {error.strerror or error}", err=True)
        sys.exit(1)
