"""Rules of the house that no linter knows. Each test names every place at fault and what to do there."""

import io
import re
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.tidy.tree import PACKAGE, ROOT, below, files, functions, imports, module_name, short, text

LONGEST_FUNCTION = 70
LONGEST_FILE = 500
PYTHON = tuple(below("src", "tests", suffix=".py"))
SOURCES = tuple(below("src", "tests", "web", suffix=(".py", ".ts", ".css", ".html", ".jinja")))
EMPTY_NAMES = {"common", "data", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|lorem ipsum")
READERS = ("resident", "department", "operator", "developer")


def report(faults: Iterable[str]) -> None:
    found = sorted(set(faults))
    if found:
        pytest.fail("\n".join(["", *found]), pytrace=False)


def ratchet(kind: str, limit: int, lengths: dict[str, int]) -> Iterator[str]:
    allowed: dict[str, int] = tomllib.loads(text(ROOT / "tests" / "tidy" / "ratchet.toml"))[kind]
    for name, length in lengths.items():
        bound = allowed.get(name, limit)
        if length > bound:
            yield f"{name} has {length} lines; the bound is {bound}: split it"
        elif name in allowed and length < bound:
            fix = f"lower it to {length}" if length > limit else "remove its line"
            yield f"{name} shrank to {length} lines: in tests/tidy/ratchet.toml, {fix}"
    yield from (f"{name} is gone: remove its line in tests/tidy/ratchet.toml" for name in allowed.keys() - lengths)


def test_functions_are_short() -> None:
    lengths = {f"{short(path)}:{name}": lines for path in PYTHON for name, _, lines in functions(path)}
    report(ratchet("functions", LONGEST_FUNCTION, lengths))


def test_files_are_short() -> None:
    report(ratchet("files", LONGEST_FILE, {short(path): text(path).count("\n") for path in SOURCES}))


def test_every_module_is_used() -> None:
    modules = {module_name(path): path for path in below("src/hutong", suffix=".py") if not _in_pack(path)}
    scripts = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["scripts"].values()
    used = {script.partition(":")[0] for script in scripts} | {"hutong.__main__"}
    for name, path in modules.items():
        used |= {target for target, _ in imports(path) if target != name}
    unused = {name for name, path in modules.items() if name not in used and path.name != "__init__.py"}
    report(f"{short(modules[name])} is imported by nothing: use it or delete it" for name in unused)


def test_modules_have_telling_names() -> None:
    at_fault = (path for path in below("src", suffix=".py") if path.stem in EMPTY_NAMES)
    report(f"{short(path)} says nothing of what is in it: name it after its noun" for path in at_fault)


def _folders(kind: str) -> dict[str, Path]:
    return {path.name: path for path in sorted((PACKAGE / kind).glob("*/")) if any(below(short(path)))}


def _in_pack(path: Path) -> bool:
    return path.is_relative_to(PACKAGE / "packs") or path.is_relative_to(PACKAGE / "cities")


def test_names_of_packs_and_cities_stay_in_their_folders() -> None:
    packs, cities = _folders("packs"), _folders("cities")
    faults = []
    for name, home in {**packs, **cities}.items():
        word = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
        for path in below("src/hutong", "web"):
            in_city_for_pack = name in packs and path.is_relative_to(PACKAGE / "cities")
            if path.is_relative_to(home) or in_city_for_pack or path.is_relative_to(PACKAGE / "mission"):
                continue
            for number, line in enumerate(text(path).splitlines(), 1):
                if word.search(line):
                    faults.append(f"{short(path)}:{number} names `{name}`: say it in {short(home)}")
    report(faults)


def test_python_of_packs_sees_kernel_and_ports_only() -> None:
    allowed = re.compile(r"hutong\.kernel(\.|$)|hutong\.engines\.\w+\.ports(\.|$)")
    report(
        f"{short(path)}:{line} imports {name}: packs see the kernel and engine ports"
        for path in below("src/hutong/packs", "src/hutong/cities", suffix=".py")
        for name, line in imports(path)
        if name.startswith("hutong") and not allowed.match(name)
    )


def test_engines_have_the_same_rooms() -> None:
    rooms = ("ports.py", "declarations.py", "engine.py", "README.md")
    engines = _folders("engines").values()
    report(f"{short(engine)}/{room} is missing" for engine in engines for room in rooms if not (engine / room).exists())


def _comments(path: Path) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text(path)).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_what_is_silenced_has_a_code_and_a_reason() -> None:
    silenced = re.compile(r"# (type: ignore|noqa|pragma)")
    excused = re.compile(
        r"# (type: ignore\[[\w, -]+\]|noqa: [A-Z]+\d+(, ?[A-Z]+\d+)*|pragma: no cover)( - |  # )\w.{5}"
    )
    report(
        f"{short(path)}:{line} silences a check: write `# noqa: CODE - why` or `# type: ignore[code]  # why`"
        for path in PYTHON
        for line, comment in _comments(path)
        if silenced.search(comment) and not excused.search(comment)
    )


def test_nothing_says_that_it_is_unfinished() -> None:
    report(
        f"{short(path)}:{number} {found.group()}: do it, or write down in docs why not"
        for path in SOURCES
        if path != Path(__file__)
        for number, line in enumerate(text(path).splitlines(), 1)
        if (found := UNFINISHED.search(line))
    )


def test_locks_name_no_host_and_no_folder() -> None:
    place = re.compile(
        r"\w+://|file:|--(index-url|extra-index-url|find-links|trusted-host)|(?<![\w*])/(home|root|tmp)/"
    )
    locks = [*below("requirements", suffix=".txt"), *below("web", suffix="package-lock.json")]
    report(
        f"{short(path)}:{number} names a place: {line.strip()}; lock anew with ./dev lock or npm"
        for path in locks
        for number, line in enumerate(text(path).splitlines(), 1)
        if place.search(line) and '"url":' not in line  # where a package asks for donations
    )


def test_locks_hold_everything_by_hash() -> None:
    unpinned = re.compile(r"^[^\s#]((?!==).)*$")
    for path in below("requirements", suffix=".txt"):
        blocks = re.split(r"\n(?=\S)", text(path).strip())
        report(f"{short(path)}: {b.splitlines()[0]}" for b in blocks if "--hash=" not in b or unpinned.match(b))


def test_decisions_are_numbered() -> None:
    records = list(below("docs/adr", suffix=".md"))
    named = re.compile(r"(\d{4})-[a-z0-9-]+\.md")
    faults = [f"{short(p)}: name it NNNN-title.md" for p in records if not named.fullmatch(p.name)]
    numbers = [int(found[1]) for path in records if (found := named.fullmatch(path.name))]
    if numbers != list(range(1, len(numbers) + 1)):
        faults.append(f"docs/adr: numbers are {numbers}; they run from 1 without gaps or repeats")
    for path in records:
        missing = [word for word in ("Context", "Decision", "Consequences") if f"\n**{word}.**" not in text(path)]
        faults += [f"{short(path)}: has no paragraph `**{word}.**`" for word in missing]
    report(faults)


def _links(path: Path) -> Iterator[tuple[int, Path]]:
    """Files of the repository that a document links to; links inside code blocks and to other places are left out."""
    in_code = False
    for number, line in enumerate(text(path).splitlines(), 1):
        in_code ^= line.lstrip().startswith("```")
        for target in re.findall(r"\]\(<?([^)#\s>]+)", "" if in_code else re.sub(r"`[^`]*`", "", line)):
            if not re.match(r"[a-z]+:", target):
                yield number, (path.parent / target).resolve()


def test_every_link_leads_somewhere() -> None:
    documents = [path for path in files() if path.suffix == ".md"]
    report(
        f"{short(path)}:{number} links to {target}, which is not there"
        for path in documents
        for number, target in _links(path)
        if not target.exists()
    )


def test_every_document_is_linked() -> None:
    """Starting from the documents at the root; a link to a folder leads to all that lies in it."""
    reached: set[Path] = set()
    to_read = {path for path in files() if path.parent == ROOT and path.suffix == ".md"}
    while to_read - reached:
        path = (to_read - reached).pop()
        reached.add(path)
        for _, target in _links(path):
            to_read |= {p for p in (target.glob("*.md") if target.is_dir() else [target]) if p.suffix == ".md"}
        to_read = {path for path in to_read if path.exists()}
    lost = (path for path in below("docs", suffix=".md") if path not in reached)
    report(f"{short(path)}: no way leads there from README.md: link it" for path in lost)


def test_fragments_say_who_reads_them() -> None:
    named = re.compile(rf"[a-z0-9-]+\.({'|'.join(READERS)})\.md")
    fragments = (path for path in below("changelog.d") if path.name != "README.md")
    report(
        f"{short(p)}: name it <topic>.<reader>.md, see changelog.d/README.md"
        for p in fragments
        if not named.fullmatch(p.name)
    )
