"""Packs that tests declare in a few lines of TOML, and the packs that Hutong carries."""

import tomllib
from importlib import resources
from pathlib import Path

import msgspec
from msgspec import Struct

from hutong.cli.runtime import pack_format
from hutong.connectors.mapping import Source, compile_sources, entity_types
from hutong.engines.sense.declarations import FILES
from hutong.kernel.packs import Pack, Packs, read_packs
from hutong.kernel.packs.faults import Faults
from hutong.kernel.packs.lines import KeyLines


def packaged() -> Packs:
    """The packs that Hutong carries."""
    packs, faults = read_packs([resources.files("hutong") / "packs"], pack_format())
    faults.check()
    return packs


def declared(**files: str) -> Packs:
    """One pack, called `test`, of files given as `entities="…"` in TOML."""
    content: dict[str, Struct] = {}
    lines = {}
    for stem, text in files.items():
        name = f"{stem}.toml"
        content[name] = msgspec.convert(tomllib.loads(text), FILES[name])
        lines[name] = KeyLines(text)
    return Packs({"test": Pack(name="test", implements=(), sector="", path=Path("test"), files=content, lines=lines)})


def sources(packs: Packs) -> tuple[Source, ...]:
    """The sources of files that packs declare. Raises DeclarationFaults with everything that is wrong with them."""
    faults = Faults()
    found = compile_sources(packs, entity_types(packs), faults)
    faults.check()
    return found
