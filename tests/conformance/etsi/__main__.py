"""`./dev etsi FOLDER [parts]`: run the public ETSI suite that lies in a folder, and write the page of the reference."""

import argparse
import tempfile
import tomllib
from pathlib import Path

from hutong.kernel.clock import SystemClock, iso
from tests.components import free_port
from tests.conformance.etsi.cases import ROOT, Case, read_cases
from tests.conformance.etsi.page import class_of, counts, page
from tests.conformance.etsi.run import HERE, copy_suite, robot, server_for

PAGE = HERE.parents[2] / "docs" / "reference" / "etsi.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev etsi", description="Run the public ETSI test suite of NGSI-LD.")
    parser.add_argument("folder", type=Path, help="a checkout of the suite; nothing of it is downloaded")
    parser.add_argument("parts", nargs="*", help=f"folders or files below {ROOT}; all of it when none is named")
    parser.add_argument("--robot", type=Path, default=Path(".venv-etsi/bin/python"), help="Python with Robot Framework")
    parser.add_argument("--keep", type=Path, help="a folder to keep output.xml and the server's log in")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hutong-etsi-") as name:
        keep = (given.keep or Path(name)).resolve()
        suite, data = Path(name) / "suite", Path(name) / "data"
        copy_suite(given.folder, suite)
        keep.mkdir(parents=True, exist_ok=True)
        context_port = free_port()
        with server_for(suite, data, context_port) as server:
            folders = [ROOT + part for part in given.parts] or [ROOT]
            cases = read_cases(robot(given.robot.absolute(), suite, server, context_port, folders, keep))
            if given.keep:
                (keep / "server.log").write_bytes(server.log.read_bytes())
    known = tomllib.loads((HERE / "known.toml").read_text(encoding="utf-8"))
    _tell(cases)
    if given.parts:
        print("the page is written only when everything has run")
        return
    PAGE.write_text(page(cases, known["case"], iso(SystemClock().now())[:10]), encoding="utf-8")
    print(f"wrote {PAGE}")


def _tell(cases: list[Case]) -> None:
    for case in cases:
        if not case.passed:
            print(f"{case.folder} :: {case.id} {case.name} [{class_of(case)}]\n    {case.reason}")
    for group, by_class in counts(cases).items():
        print(f"{group or 'all'}: " + ", ".join(f"{name} {count}" for name, count in by_class.items()))


if __name__ == "__main__":
    main()
