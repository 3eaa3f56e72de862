"""A run of the suite: a server with its @contexts, and Robot Framework in front of it."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.components import free_port
from tests.server import Server

HERE = Path(__file__).resolve().parent
CONTEXTS = "https://raw.githubusercontent.com/marek-mraz/ngsi-ld-test-suite/main/resources/jsonld-contexts/"
OTHER_CONTEXTS = {  # named by some of its data, and not in the suite: what stands there says the same
    "https://easy-global-market.github.io/ngsild-api-data-models/ngsildTestSuite/ngsildTestSuiteV1.8-compound.jsonld": (
        "ngsi-ld-test-suite-compound.jsonld"
    ),
    "https://fiware.github.io/data-models/context.jsonld": "ngsi-ld-test-suite.jsonld",
    "https://fiware.github.io/NGSI-LD_TestSuite/ldContext/testContext.jsonld": "ngsi-ld-test-suite.jsonld",
}
SERVED = "data/jsonldContext/@context-minimal-valid.json"  # what the suite's own server of @contexts serves
AS_EXPECTED = ("--history-page", "30", "--delete-history", "--history-makes-present")
"""What the standard leaves open, as the suite expects it: answers about histories end early, histories go with their
entities, and what is told of the past of an unknown entity makes it exist."""
_PARTS = ("TP", "data", "libraries", "resources")
_LIBRARIES = ("libraries", "resources", "libraries/robotframework-httpctrl/src")


def copy_suite(suite: Path, to: Path) -> None:
    """A copy to run in, with our keyword for Mosquitto. Raises FileNotFoundError where the suite is not there."""
    for part in _PARTS:
        shutil.copytree(suite / part, to / part)
    shutil.copy(HERE / "MqttUtils.resource", to / "resources" / "mqttUtils" / "MqttUtils.resource")


@contextmanager
def server_for(suite: Path, data: Path, context_port: int) -> Iterator[Server]:
    """A server on an empty data folder that knows the suite's @contexts; those served on a port are read from files."""
    files = suite / "resources" / "jsonld-contexts"
    known = {CONTEXTS + file.name: file for file in sorted(files.iterdir())}
    known |= {address: files / name for address, name in OTHER_CONTEXTS.items()}
    known[f"http://127.0.0.1:{context_port}/api/v1/context.jsonld"] = suite / SERVED
    flags = [flag for address, file in known.items() for flag in ("--context", f"{address}={file}")]
    with Server(data, "--open", *AS_EXPECTED, *flags) as server:
        yield server


def robot(python: Path, suite: Path, server: Server, context_port: int, folders: Sequence[str], output: Path) -> Path:
    """Run the cases of these folders, those that need several brokers left out; gives the output.xml."""
    api = f"{server.url}/ngsi-ld/v1"
    variables = {"url": api, "temporal_api_url": api, "delete_temporal_on_core_delete": True}
    for host in ("notification_server", "context_source", "context_server"):
        variables |= {f"{host}_host": "127.0.0.1", f"{host}_port": free_port()}
    variables["context_server_port"] = context_port
    variables |= {"mqtt_broker_host": "127.0.0.1", "mqtt_broker_non_default_port": free_port()}
    command = [
        python,
        "-m",
        "robot",
        "--outputdir",
        output,
        "--log",
        "NONE",
        "--report",
        "NONE",
        "--exclude",
        "dist-ops",
    ]
    command += ["--console", "dotted"]
    for name, value in variables.items():
        command += ["--variable", f"{name}:{value}"]
    for library in _LIBRARIES:
        command += ["--pythonpath", suite / library]
    subprocess.run([str(part) for part in [*command, *folders]], cwd=suite, check=False)  # fails when a case does
    return output / "output.xml"
