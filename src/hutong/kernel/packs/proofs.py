"""proofs/*.toml: sentences an official can read, and the steps by which a machine tries them.

[[proof]]
function = "smart_parking_guidance_system/collect_real_time"
says.zh = "道闸上报后，空余车位随即更新。"
says.en = "When a gate reports, the number of free spaces changes at once."
rests_on = ["entities.toml#entity.OffStreetParking", "sources.toml#source.gate_counters"]
at = "2026-05-01T10:00:00+08:00"

[[proof.given]]
as = "device"
post = "/ngsi-ld/v1/entities"
body = { id = "urn:ngsi-ld:OffStreetParking:1", type = "OffStreetParking" }

[[proof.when]]
advance = "10 min"

[[proof.then]]
get = "/ngsi-ld/v1/entities/urn:ngsi-ld:OffStreetParking:1"
expect."/availableSpotNumber/value" = 5
"""

from typing import Annotated, Any

from msgspec import Meta, Struct, field

from hutong.kernel.errors import InvalidInput
from hutong.kernel.packs.declarations import Bilingual

_Path = Annotated[str, Meta(pattern=r"^/")]
_Pointer = Annotated[str, Meta(pattern=r"^(/.*)?$")]
ADDRESS = r"^[a-z_/]+\.toml#[^\s]+$"
HTTP_VERBS = ("get", "post", "put", "patch", "delete")
VERBS = (*HTTP_VERBS, "page", "drop_file", "advance")


class Step(Struct, forbid_unknown_fields=True, kw_only=True):
    """One thing done, and what is expected of the answer. Exactly one of get, post, put, patch, delete, page,
    drop_file and advance."""

    get: Annotated[_Path, Meta(description="path and query to GET as JSON")] = ""
    post: Annotated[_Path, Meta(description="path to POST `body` to")] = ""
    put: Annotated[_Path, Meta(description="path to PUT `body` to")] = ""
    patch: Annotated[_Path, Meta(description="path to PATCH with `body`")] = ""
    delete: Annotated[_Path, Meta(description="path to DELETE")] = ""
    page: Annotated[_Path, Meta(description="path of an HTML page to GET")] = ""
    drop_file: Annotated[
        str,
        Meta(
            pattern=r"^[^/\\]+$",
            description="name of a file that arrives in the folder of incoming files, with `text` in it",
        ),
    ] = ""
    advance: Annotated[
        str, Meta(pattern=r"^\d+ ?(ms|s|min|h|d)$", examples=["10 min"], description="let so much time pass")
    ] = ""
    role: Annotated[str, Meta(description="the role of whoever does it; nobody known when absent")] = field(
        default="", name="as"
    )
    body: Annotated[Any, Meta(description="the JSON sent")] = None
    headers: Annotated[
        dict[str, str],
        Meta(
            description="headers sent; Content-Type is application/json, Accept JSON or HTML, when not said otherwise"
        ),
    ] = {}
    text: Annotated[str, Meta(description="what the dropped file holds")] = ""
    status: Annotated[
        Annotated[int, Meta(ge=100, le=599)] | None,
        Meta(description="status expected; any of 200 to 299 when absent"),
    ] = None
    expect: Annotated[
        dict[_Pointer, Any],
        Meta(
            description="JSON Pointer (RFC 6901) into the answer = value expected there. A table with one of these "
            "keys tests otherwise: `absent = true`; `count = 3` (length); `at_least` and `at_most`; `contains` (a "
            "part of a text, an item of a list); `some = { pointer = value }` (an item that is so)"
        ),
    ] = {}
    contains: Annotated[list[str], Meta(description="texts that must stand in the answer")] = []
    lacks: Annotated[list[str], Meta(description="texts that must not stand in the answer")] = []

    def verbs(self) -> list[str]:
        """The verbs it names; a good step has one."""
        return [verb for verb in VERBS if getattr(self, verb)]


class ProofDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """Shows that one function of the mission works."""

    function: Annotated[
        str, Meta(pattern=r"^[a-z0-9_]+/[a-z0-9_]+$", description="what it proves: `platform/function` of the mission")
    ]
    says: Annotated[Bilingual, Meta(description="the proof in a sentence that an official can read")]
    rests_on: Annotated[
        list[Annotated[str, Meta(pattern=ADDRESS)]],
        Meta(
            min_length=1,
            description="addresses of the declarations without which it must fail, each tried: "
            "`alerts.toml#alert.nearly_full`",
        ),
    ]
    at: Annotated[str, Meta(description="the instant at which the clock stands, ISO 8601 with offset")]
    given: Annotated[list[Step], Meta(description="steps that lead up to it")] = []
    when: Annotated[
        list[Step], Meta(description="what happens, through HTTP, the folder of incoming files, or the passing of time")
    ] = []
    then: Annotated[list[Step], Meta(min_length=1, description="what must then be seen")]


class ProofsFile(Struct, forbid_unknown_fields=True, kw_only=True):
    """proofs/*.toml"""

    proof: Annotated[list[ProofDeclaration], Meta(description="the proofs")] = []


class Address(Struct, frozen=True):
    """Where a declaration stands in its pack: `entities.toml#entity.OffStreetParking`."""

    file: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}#{'.'.join(self.path)}"


def address(text: str) -> Address:
    """Read `file.toml#key.key`. Raises InvalidInput for a text of another form."""
    file, separator, keys = text.partition("#")
    path = tuple(keys.split("."))
    if not separator or not all(path):
        raise InvalidInput(
            "not the address of a declaration",
            seen=text,
            allowed="file.toml#key.key",
            fix="write it as alerts.toml#alert.nearly_full",
        )
    return Address(file, path)
