"""What a request gives beside its body: parameters of the address, or members of a Query (clauses 5.2.23, 6.3.20)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hutong.kernel.errors import HutongError, InvalidInput
from hutong.standards.ngsi_ld.errors import InvalidRequest, located
from hutong.standards.ngsi_ld.uris import is_uri

ITEMS_MAX = 1000  # in one comma-separated parameter


class Parameters:
    """Typed reading of parameters; whatever is not known to the operation is an error."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    @classmethod
    def of_address(cls, given: Mapping[str, Sequence[str]], allowed: frozenset[str]) -> "Parameters":
        """From a parsed query string. Raises InvalidRequest for parameters unknown or given twice."""
        for name, values in given.items():
            if name not in allowed:
                raise InvalidRequest(
                    "this operation has no such parameter", where=name, seen=name, allowed=", ".join(sorted(allowed))
                )
            if len(values) != 1:
                raise InvalidRequest(
                    "a parameter is given more than once",
                    where=name,
                    seen=len(values),
                    fix="put several values into one, with commas",
                )
        return cls({name: values[0] for name, values in given.items()})

    @classmethod
    def of_body(cls, given: Mapping[str, Any], allowed: frozenset[str]) -> "Parameters":
        """From members of a JSON object. Raises InvalidInput for members unknown."""
        for name in given:
            if name not in allowed:
                raise InvalidInput("no such member here", where=name, seen=name, allowed=", ".join(sorted(allowed)))
        return cls(given)

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def merged(self, other: "Parameters") -> "Parameters":
        """These, and those of `other` that are not among these."""
        return Parameters({**other._given, **self._given})

    def text(self, name: str, default: str = "") -> str:
        value = self._given.get(name, default)
        if type(value) is not str or (name in self._given and not value):
            raise InvalidInput("not a text", where=name, seen=value, allowed="a text that is not empty")
        return value

    def items(self, name: str, *, pipes: bool = False) -> tuple[str, ...]:
        """A list, from an array or from a text with commas (or `pipes`); empty when not given."""
        if name not in self._given:
            return ()
        value = self._given[name]
        items = (value.replace("|", ",") if pipes else value).split(",") if type(value) is str else value
        if type(items) is not list or not items or not all(type(item) is str and item for item in items):
            raise InvalidInput("no list", where=name, seen=value, allowed="values with commas between")
        if len(items) > ITEMS_MAX:
            raise InvalidInput("too many values", where=name, seen=len(items), allowed=f"at most {ITEMS_MAX}")
        return tuple(items)

    def names(self, name: str, expand: Callable[[str], str]) -> tuple[str, ...]:
        """A list of names, each expanded."""
        try:
            return tuple(dict.fromkeys(expand(item) for item in self.items(name, pipes=True)))
        except HutongError as error:
            raise error if error.fault.where else located(error, name) from None

    def uris(self, name: str, *others: str) -> tuple[str, ...]:
        """A list of URIs, or of `others`."""
        items = self.items(name)
        for item in items:
            if item not in others and not is_uri(item):
                raise InvalidInput("not a URI", where=name, seen=item, allowed=" or ".join(("a URI", *others)))
        return tuple(dict.fromkeys(items))

    def number(self, name: str, default: int | None, least: int = 0) -> int | None:
        """A whole number; from an address it comes as text."""
        value = self._given.get(name, default)
        if type(value) is str and value.isascii() and value.isdecimal() and len(value) < 16:
            value = int(value)
        if value is not None and (type(value) is not int or value < least):
            raise InvalidInput("no whole number", where=name, seen=value, allowed=f"{least} or more")
        return value

    def flag(self, name: str) -> bool | None:
        """true or false; None when not given."""
        value = self._given.get(name)
        if value in ("true", "false"):
            return bool(value == "true")
        if value is not None and type(value) is not bool:
            raise InvalidInput("neither true nor false", where=name, seen=value, allowed="true, false")
        return value

    def one_of(self, name: str, allowed: Sequence[str], default: str = "") -> str:
        """One of a few texts. Raises InvalidRequest otherwise."""
        value = self._given.get(name, default)
        if value not in allowed and name in self._given:
            raise InvalidRequest("no such value", where=name, seen=value, allowed=", ".join(allowed))
        return str(value)

    def raw(self, name: str) -> Any:
        """The value as it came; None when not given."""
        return self._given.get(name)
