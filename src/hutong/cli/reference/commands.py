"""The page of the command line: every command with its arguments and options."""

import inspect
from collections.abc import Iterator

import click

_INTRODUCTION = """Written by `hutong reference` from the commands themselves; `hutong COMMAND --help` says the same.
What goes wrong is told with its place, the value seen and the fix, and the exit code is 1.

各命令的参数和选项；`hutong 命令 --help` 给出同样内容。出错时说明位置、所见值和修正办法，退出码为 1。"""


def commands(program: click.Group) -> str:
    """Commands as Markdown, each with a heading of its own."""
    parts = ["# Commands 命令", "", _INTRODUCTION]
    for path, command in every_command(program, program.name or "hutong"):
        with click.Context(command, info_name=path) as context:
            usage = " ".join(command.collect_usage_pieces(context))
            records = [param.get_help_record(context) for param in command.params]
        about = inspect.cleandoc(command.help or "")
        parts += ["", f"## `{path}`", "", about, "", "```text", f"{path} {usage}", "```"]
        rows = [f"| `{record[0]}` | {record[1]} |" for record in records if record]
        parts += ["", "| option | meaning |", "| --- | --- |", *rows] if rows else []
    return "\n".join(parts) + "\n"


def every_command(group: click.Group, above: str) -> Iterator[tuple[str, click.Command]]:
    """Commands that do something, by their full names, in order of the alphabet."""
    for name, command in sorted(group.commands.items()):
        path = f"{above} {name}"
        if isinstance(command, click.Group):
            yield from every_command(command, path)
        else:
            yield path, command
