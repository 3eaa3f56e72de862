"""Reads the folders of packs. All faults are gathered; a pack with ten faults tells ten."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from msgspec import Struct

from hutong.kernel.errors import HutongError
from hutong.kernel.mission import Mission
from hutong.kernel.packs.declarations import SHARED, PackDeclaration, PackFile, marked, named
from hutong.kernel.packs.documents import Document, read_document, read_text
from hutong.kernel.packs.faults import Faults, listed, meant
from hutong.kernel.packs.pack import Hook, Pack, Packs
from hutong.kernel.packs.proof_checks import ProofChecks
from hutong.kernel.packs.proofs import Address, ProofsFile, address
from hutong.kernel.packs.structs import StructReader, struct_type
from hutong.kernel.packs.texts import TEXT_FILES, TextReader, Texts

_REQUIRED = ("pack.toml", "README.md", *TEXT_FILES.values())
_FOLDERS = ("text", "proofs")


@dataclass(frozen=True)
class PackFormat:
    """What a pack may hold: the files the engines read and their hooks, and the mission it serves."""

    files: Mapping[str, type[Struct]]
    hooks: Sequence[Hook]
    mission: Mission

    def kind(self, file: str) -> type[Struct] | None:
        """The Struct by which a file is read; None when it is no file of declarations."""
        if file == "pack.toml":
            return PackFile
        return ProofsFile if re.fullmatch(r"proofs/[^/]+\.toml", file) else self.files.get(file)


def read_packs(
    roots: Sequence[Traversable], form: PackFormat, *, only: str = "", without: Address | None = None
) -> tuple[Packs, Faults]:
    """Read every folder in the roots, and note every fault in them.

    A root is a folder of packs, or a pack itself; one that does not exist is a fault. Folders that begin with `.` or
    `_` are not packs. `only` names the one pack
    to read. `without` leaves one declaration out, and with it the checks of texts and proofs, which would only say
    that it is gone. Packs of which a file could not be read at all do not reach the hooks.
    """
    faults = Faults()
    packs: dict[str, Pack] = {}
    doubtful: set[str] = set()
    whole: list[str] = []
    for root in roots:
        if not root.is_dir():
            faults.add("missing-folder", "there is no such folder", where=str(root), fix="name a folder of packs")
            continue
        for folder in _folders(root):
            if only and folder.name != only:
                continue
            if folder.name in packs:
                faults.add(
                    "pack-twice",
                    f"there are two packs of the name `{folder.name}`",
                    where=f"{folder.name}/pack.toml",
                    seen=str(folder),
                    fix="rename or remove one of them",
                )
                continue
            reader = _PackReader(folder, form, faults, without)
            packs[folder.name] = reader.read()
            doubtful |= reader.doubtful
            whole += [folder.name] * reader.complete
    loaded = Packs(packs)
    _shared(loaded, faults)
    found = Faults()
    for hook in form.hooks:
        hook(loaded.only(whole), found)
    faults.extend(found, without=doubtful)
    return loaded, faults


def _folders(root: Traversable) -> list[Traversable]:
    root = root.resolve() if isinstance(root, Path) else root
    if (root / "pack.toml").is_file():
        return [root]
    found = [entry for entry in root.iterdir() if entry.is_dir() and entry.name[0] not in "._"]
    return sorted(found, key=lambda entry: entry.name)


@dataclass
class _PackReader:
    """Reads one folder. `doubtful` are the places of declarations in which an empty value stands in for a faulty one;
    `complete` is False once a file could not be read at all."""

    folder: Traversable
    form: PackFormat
    faults: Faults
    without: Address | None
    doubtful: set[str] = field(default_factory=set)
    complete: bool = True

    def read(self) -> Pack:
        entries = self._entries()
        for name in _REQUIRED:
            if name not in entries:
                self.faults.add(
                    "missing-file",
                    f"`{name}` is missing",
                    where=self._at(name),
                    fix="write it; `hutong new-pack` shows what a pack has",
                )
        self.complete &= "pack.toml" in entries
        readme = read_text(entries["README.md"], self._at("README.md"), self.faults) if "README.md" in entries else None
        if readme is not None and not readme.strip():
            self.faults.add(
                "missing-file",
                "README.md is empty",
                where=self._at("README.md"),
                fix="say what the pack is for, where its values come from and what it cannot do",
            )
        documents = {
            name: found
            for name, entry in entries.items()
            if name.endswith(".toml") and (found := read_document(entry, self._at(name), self.faults)) is not None
        }
        self.complete &= len(documents) == sum(name.endswith(".toml") for name in entries)
        files = {
            name: self._structs(name, document, kind)
            for name, document in documents.items()
            if (kind := self.form.kind(name)) is not None
        }
        head = self._head(documents.get("pack.toml"), files.get("pack.toml"))
        pack = Pack(
            name=self.folder.name,
            implements=tuple(head.implements),
            sector=head.sector,
            path=self.folder,
            files=files,
            texts=self._texts(documents, files, self.faults if self.without is None else Faults()),
            lines={name: document.lines for name, document in documents.items()},
        )
        if self.without is None:
            unread = entries.keys() - documents.keys()
            ProofChecks(pack, self.form.mission, self.form.files, unread, self.doubtful, self.faults).run()
            self._migrations(pack)
        return pack

    def _entries(self) -> dict[str, Traversable]:
        """The files by their name within the pack; unknown ones are noted and left out."""
        found: dict[str, Traversable] = {}
        for entry in self.folder.iterdir():
            if entry.is_dir() and entry.name in _FOLDERS:
                found |= {f"{entry.name}/{each.name}" + "/" * each.is_dir(): each for each in entry.iterdir()}
            else:
                found[entry.name + "/" * entry.is_dir()] = entry
        allowed = (*_REQUIRED, *self.form.files, "proofs/*.toml")
        known: dict[str, Traversable] = {}
        for name in sorted(found):
            if name in _REQUIRED or self.form.kind(name) is not None:
                known[name] = found[name]
            elif not found[name].name.startswith("."):
                self.faults.add(
                    "unknown-file",
                    "a file that nothing reads",
                    where=self._at(name),
                    seen=name,
                    allowed=", ".join(allowed),
                    fix=meant(name, allowed) or "remove it",
                )
        return known

    def _structs(self, name: str, document: Document, kind: type[Struct]) -> Struct:
        if self.without is not None and self.without.file == name:
            _remove(document.table, self.without.path)
        reader = StructReader(self._at(name), document.lines, self.faults)
        file = reader.read(document.table, kind)
        self.doubtful |= {f"{self._at(name)}:{line}" for line in reader.doubtful}
        return file

    def _head(self, document: Document | None, file: Struct | None) -> PackDeclaration:
        """The pack's own declaration, checked against its folder and the mission."""
        if document is None or not isinstance(file, PackFile):
            return PackDeclaration(name=self.folder.name, implements=[], sector="")
        head, mission = file.pack, self.form.mission

        def place(*path: str | int) -> str:
            return f"{self._at('pack.toml')}:{document.lines.line(('pack', *path))}"

        if head.name and head.name != self.folder.name:
            self.faults.add(
                "name-differs",
                "the pack's name is not that of its folder",
                where=place("name"),
                seen=head.name,
                allowed=self.folder.name,
                fix="rename one of them",
            )
        for n, platform in enumerate(head.implements):
            if platform and platform not in mission.platforms:
                self.faults.add(
                    "unknown-platform",
                    "the mission has no such platform",
                    where=place("implements", n),
                    seen=platform,
                    allowed="an id that `hutong check --mission` lists",
                    fix=meant(platform, mission.platforms),
                )
        if head.sector and head.sector not in mission.sectors:
            self.faults.add(
                "unknown-sector",
                "the mission has no such sector",
                where=place("sector"),
                seen=head.sector,
                allowed=listed(mission.sectors, 30),
                fix=meant(head.sector, mission.sectors),
            )
        return head

    def _texts(
        self, documents: Mapping[str, Document], files: Mapping[str, Struct], faults: Faults
    ) -> dict[str, Texts]:
        declared = [("pack",), *(path for file in files.values() for path in named(file))]
        return {
            language: TextReader(self._at(name), documents[name].lines, faults, declared, self.complete).read(
                documents[name].table
            )
            for language, name in TEXT_FILES.items()
            if name in documents
        }

    def _migrations(self, pack: Pack) -> None:
        for text in pack.migrations:
            try:
                address(text)
            except HutongError as error:
                self.faults.take(error, pack.where("pack.toml", "migration", text))

    def _at(self, name: str) -> str:
        return f"{self.folder.name}/{name}"


def _shared(packs: Packs, faults: Faults) -> None:
    """Note what two packs declare under one name and differently, where a name means one thing in the whole city."""
    first: dict[tuple[str, str, str], tuple[Pack, Struct]] = {}
    for pack in packs:
        for file, content in pack.files.items():
            for key in struct_type(type(content)).fields:
                names = getattr(content, key.name) if marked(key.type, SHARED) else {}
                for name, declared in names.items():
                    other, before = first.setdefault((file, key.encode_name, name), (pack, declared))
                    if declared != before:
                        faults.add(
                            "declared-twice",
                            f"`{name}` is declared otherwise in another pack",
                            where=pack.where(file, key.encode_name, name),
                            seen=name,
                            allowed=f"the same as {other.where(file, key.encode_name, name)}",
                            fix="make both alike, or take another name",
                        )


def _remove(table: dict[str, Any], path: tuple[str, ...]) -> None:
    """Take a key out of nested tables; the tables above it stay, empty perhaps."""
    for key in path[:-1]:
        table = table[key]
    del table[path[-1]]
