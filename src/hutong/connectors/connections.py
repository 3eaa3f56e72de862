"""The connections of a city: addresses and secrets of brokers, servers and databases, kept out of packs.

They stand in `connections.toml` of the data folder, which nobody else may read (mode 600):

    [connection.city_broker]
    url = "mqtts://broker.example:8883"
    user = "hutong"
    password = "…"

An address in the environment, `HUTONG_CONNECTION_CITY_BROKER`, goes before the file's.
"""

import ssl
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from hutong.kernel.errors import InvalidInput

FILE: Final = "connections.toml"
ENVIRONMENT: Final = "HUTONG_CONNECTION_"


class Connection(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How to reach something. Its text says nothing that is secret."""

    url: str
    user: str = ""
    password: str = ""
    ca: str = ""  # file with the certificates of the authority to trust, where it is not one that the system knows
    headers: dict[str, str] = {}  # for HTTP
    version: Literal["mqtt3.1.1", "mqtt5.0"] = "mqtt5.0"
    charset: str = ""  # for MySQL: in which its texts are sent

    def __repr__(self) -> str:
        return "Connection(…)"

    def tls(self) -> ssl.SSLContext:
        """What to trust. Raises InvalidInput when the file named is no such file."""
        try:
            return ssl.create_default_context(cafile=self.ca or None)
        except OSError as error:
            raise InvalidInput(
                "the authority's file cannot be read", where="ca", seen=self.ca, fix=str(error)
            ) from None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    connection: dict[str, Connection]


def read_connections(data: Path, environment: Mapping[str, str]) -> Mapping[str, Connection]:
    """The connections of a data folder, and those of the environment. Raises InvalidInput."""
    found: dict[str, Connection] = {}
    path = data / FILE
    if path.exists():
        if path.stat().st_mode & 0o077:
            raise InvalidInput(
                "others may read the secrets in this file",
                where=str(path),
                seen=oct(path.stat().st_mode & 0o777),
                allowed="0o600",
                fix=f"chmod 600 {path}",
            )
        try:
            found |= msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).connection
        except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
            raise InvalidInput(f"it cannot be read: {error}", where=str(path), fix="see docs/howto/mqtt.md") from None
    for name, url in environment.items():
        if name.startswith(ENVIRONMENT) and url:
            key = name.removeprefix(ENVIRONMENT).lower()
            found[key] = msgspec.structs.replace(found[key], url=url) if key in found else Connection(url=url)
    return found
