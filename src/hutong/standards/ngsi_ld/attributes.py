"""Attribute instances: JSON of NGSI-LD to Attribute (clauses 4.5.2 to 4.5.5, 4.5.18 to 4.5.24)."""

from collections.abc import Mapping
from typing import Any

from hutong.engines.sense.ports import Attribute, Mark
from hutong.kernel.errors import HutongError, InvalidInput, Unsupported
from hutong.standards.ngsi_ld.contexts import Context
from hutong.standards.ngsi_ld.errors import located
from hutong.standards.ngsi_ld.geometry import GEOMETRY_TYPES, is_geometry_like, read_geometry
from hutong.standards.ngsi_ld.instants import read_instant
from hutong.standards.ngsi_ld.uris import NULL, is_uri
from hutong.standards.ngsi_ld.values import (
    read_json,
    read_language_map,
    read_object,
    read_object_list,
    read_terms,
    read_value,
    read_value_list,
)

SUB_ATTRIBUTE_DEPTH_MAX = 8
UNIT_LENGTH_MAX = 20

KINDS: Mapping[str, str] = {
    "Property": "P",
    "GeoProperty": "G",
    "Relationship": "R",
    "LanguageProperty": "L",
    "VocabProperty": "V",
    "JsonProperty": "J",
    "ListProperty": "T",
    "ListRelationship": "S",
}
VALUE_MEMBERS: Mapping[str, str] = {
    "P": "value",
    "G": "value",
    "R": "object",
    "L": "languageMap",
    "V": "vocab",
    "J": "json",
    "T": "valueList",
    "S": "objectList",
}
MARKS = {mark.name.lower(): mark for mark in Mark if mark.name}
QUALITY = "quality"  # the sub-Property in which marks are told
GIVEN_BY_SYSTEM = frozenset(["createdAt", "modifiedAt", "deletedAt", "instanceId"])  # read past: clause 5.2.2
_PREVIOUS = frozenset("previous" + what for what in ("Value", "Object", "LanguageMap", "Vocab", "Json", "ValueList"))
_OUTPUT_ONLY = _PREVIOUS | {"previousObjectList", "entity", "entityList", "lang", "entityIdSealed", "entityTypeSealed"}
_ABOUT_A_VALUE = ("observedAt", "unitCode", "datasetId", "valueType", "objectType")
RESERVED = (
    GIVEN_BY_SYSTEM
    | _OUTPUT_ONLY
    | frozenset(VALUE_MEMBERS.values())
    | frozenset(_ABOUT_A_VALUE)
    | frozenset(["expiresAt", "type", "id", "@context", "@type", "@id", "@value"])
)
"""Members that are no attributes; nothing else may be called so (clause 4.5.1)."""

_SENDERS_MARKS = Mark.SIMULATED | Mark.ENTERED | Mark.FORECAST  # the others are the engine's to set
_UNITLESS = "RSLVJ"
_TYPE_MEMBERS = {"R": "objectType", "S": "objectType", "P": "valueType", "T": "valueType", "L": "valueType"}
_NO_VALUE: Any = object()


def split_key(key: str) -> tuple[str, str]:
    """The stored name and the datasetId (`""`: none) of an attribute's key."""
    name, _, dataset = key.partition("@")
    return name, dataset


def dataset_key(name: str, dataset: Any) -> str:
    """The key of the instance of an attribute that has this datasetId. Raises InvalidInput for what is none."""
    if dataset == "@none":
        return name
    if dataset == NULL or not is_uri(dataset):
        raise InvalidInput("no datasetId", where="datasetId", seen=dataset, allowed="a URI, or @none")
    return f"{name}@{dataset}"


class AttributeReader:
    """Reads attributes under one @context.

    `nulls`: NGSI-LD Null deletes, and is not an error; `deep_nulls`: inside values too. `partial`: an instance may lack
    its value and its type. `simplified`: values stand alone (clause 4.5.4).
    """

    __slots__ = ("_deep_nulls", "_names", "_nulls", "_partial", "_simplified")

    def __init__(
        self,
        context: Context,
        *,
        nulls: bool = False,
        deep_nulls: bool = False,
        partial: bool = False,
        simplified: bool = False,
    ) -> None:
        self._names = context.expanded
        self._nulls = nulls
        self._deep_nulls = deep_nulls
        self._partial = partial
        self._simplified = simplified

    def read_member(self, name: str, member: Any, into: dict[str, Attribute], depth: int = 0) -> None:
        """Read what stands under a name: one instance, several, or a bare value."""
        if self._simplified:
            if type(member) is dict and list(member) == ["dataset"] and type(member["dataset"]) is dict:
                for dataset, value in member["dataset"].items():
                    into[dataset_key(name, dataset)] = self._read_bare(value)
            else:
                into[name] = self._read_bare(member)
        elif type(member) is dict:
            key = dataset_key(name, member["datasetId"]) if "datasetId" in member else name
            into[key] = self.read(member, depth)
        elif type(member) is list and member and all(_is_instance(part) for part in member):
            for i, part in enumerate(member):
                try:
                    key = dataset_key(name, part["datasetId"]) if "datasetId" in part else name
                    if key in into:
                        raise InvalidInput(
                            "two instances have the same datasetId",
                            where="datasetId",
                            seen=part.get("datasetId", "none"),
                            allowed="each once, one without",
                        )
                    into[key] = self.read(part, depth)
                except HutongError as error:
                    raise located(error, f"[{i}]") from None
        else:
            into[name] = self._read_bare(member)

    def read(self, raw: dict[str, Any], depth: int = 0) -> Attribute:
        """One instance, given as an object: with a type, or concise."""
        kind_name = raw.get("type")
        kind = KINDS.get(kind_name, "") if type(kind_name) is str else ""
        if not kind:
            kind = self._kind_of(raw)
            if kind == "bare":
                return self._read_bare(raw)
        value_member = VALUE_MEMBERS.get(kind, "")
        value: Any = _NO_VALUE
        observed_at: int | None = None
        unit: str | None = None
        value_type: str | None = None
        sub: dict[str, Attribute] | None = None
        key = ""
        try:
            for key, member in raw.items():
                if key == value_member:
                    value = member
                elif key == "type":
                    pass
                elif key == "observedAt":
                    if member == NULL and self._partial:
                        sub = {**(sub or {}), key: _gone()}
                    else:
                        observed_at = read_instant(member)
                elif key not in RESERVED:
                    sub = {} if sub is None else sub
                    self._read_sub(key, member, sub, depth)
                elif key == "unitCode":
                    if member == NULL and self._partial:
                        sub = {**(sub or {}), key: _gone()}
                    else:
                        unit = _read_unit(member, kind)
                elif key == _TYPE_MEMBERS.get(kind):
                    value_type = self._read_value_type(member, kind)
                else:
                    _check_reserved(key, kind)
            key = value_member
            if value is _NO_VALUE:
                if not self._partial:
                    raise InvalidInput(f"{value_member} is missing")
                value = None
            elif type(value) is not float or kind != "P":  # a number is the commonest value of all, and always fit
                if self._is_null(value, kind):
                    return _gone()
                value = self._read_value(value, kind)
        except HutongError as error:
            raise located(error, key) from None
        marks = 0
        if sub is not None and QUALITY in sub:
            marks, sub = _take_marks(sub)
        return Attribute(kind, value, observed_at, unit, 0, 0, marks, value_type, sub)

    def _read_sub(self, key: str, member: Any, into: dict[str, Attribute], depth: int) -> None:
        if depth >= SUB_ATTRIBUTE_DEPTH_MAX:
            raise InvalidInput("attributes of attributes too deep", allowed=f"{SUB_ATTRIBUTE_DEPTH_MAX} levels")
        self.read_member(self._names[key], member, into, depth + 1)

    def _kind_of(self, raw: dict[str, Any]) -> str:
        """The kind of an instance whose type does not say it; "" where a fragment leaves it open; "bare": a value."""
        given = raw.get("type", raw.get("@type"))
        if given is not None:
            if type(given) is str:
                short = given.removeprefix("https://uri.etsi.org/ngsi-ld/").removeprefix("ngsi-ld:")
                if short in KINDS:
                    return KINDS[short]
                if given in GEOMETRY_TYPES:
                    return "bare"
            raise InvalidInput(
                "no type of attribute",
                where="type",
                seen=given,
                allowed=", ".join(KINDS),
                fix='a value that is an object goes into {"type": "Property", "value": ...}',
            )
        for kind, member in VALUE_MEMBERS.items():
            if member in raw and kind != "G":
                return "G" if member == "value" and is_geometry_like(raw["value"]) else kind
        about = any(member in raw for member in _ABOUT_A_VALUE)
        if self._partial and (about or any(_is_instance(member) for member in raw.values())):
            return ""
        if about:
            raise InvalidInput("value is missing", where="value")
        return "bare"

    def _read_bare(self, value: Any) -> Attribute:
        """An attribute given by its value alone (concise, clause 4.5.2.3; simplified, clause 4.5.4)."""
        if type(value) is str and value == NULL:
            if not self._nulls:
                raise InvalidInput("NGSI-LD Null cannot be stored", seen=value)
            return _gone()
        if is_geometry_like(value):
            return Attribute("G", read_geometry(value))
        if self._simplified and type(value) is dict and len(value) == 1:
            member = next(iter(value))
            for kind in "LVJ":
                if member == VALUE_MEMBERS[kind]:
                    return Attribute(kind, self._read_value(value[member], kind))
        return Attribute("" if self._simplified else "P", read_value(value, self._deep_nulls))

    def _is_null(self, value: Any, kind: str) -> bool:
        """Whether a value is the NGSI-LD Null of its kind (clause 4.5.0). Raises InvalidInput where none may stand."""
        if type(value) is str:
            null = value == NULL
        elif kind == "L":
            null = value == {"@none": NULL}
        else:
            null = kind in ("T", "S") and value == [NULL]
        if null and not self._nulls:
            raise InvalidInput("NGSI-LD Null cannot be stored", seen=NULL, fix="leave the attribute out")
        return null

    def _read_value(self, value: Any, kind: str) -> Any:
        match kind:
            case "P" | "":
                return read_value(value, self._deep_nulls)
            case "G":
                return read_geometry(value)
            case "R":
                return read_object(value)
            case "L":
                return read_language_map(value)
            case "V":
                terms = [self._names[term] for term in read_terms(value)]
                return terms if type(value) is list else terms[0]
            case "J":
                return read_json(value)
            case "T":
                return read_value_list(value, self._deep_nulls)
        return read_object_list(value)

    def _read_value_type(self, value: Any, kind: str) -> str:
        if kind == "L" and value != "langString":
            raise InvalidInput("no valueType of a LanguageProperty", seen=value, allowed="langString")
        if type(value) is not str:
            raise InvalidInput("not the name of a type", seen=value, allowed="a name")
        return self._names[value]


def _gone() -> Attribute:
    """What deletes an attribute, to the engine."""
    return Attribute(value=NULL)


def _is_instance(value: Any) -> bool:
    """Whether a value looks like an attribute rather than like part of a value."""
    if type(value) is not dict:
        return False
    kind = value.get("type", value.get("@type"))
    if type(kind) is str:
        return kind in KINDS or kind.startswith(("ngsi-ld:", "https://uri.etsi.org/ngsi-ld/"))
    return any(member in value for member in VALUE_MEMBERS.values())


def _read_unit(value: Any, kind: str) -> str:
    if kind and kind in _UNITLESS:
        raise InvalidInput("this kind of attribute has no unit", seen=value)
    if type(value) is not str or not 0 < len(value) <= UNIT_LENGTH_MAX or not value.isprintable():
        raise InvalidInput("no unit", seen=value, allowed="a code of UN/CEFACT Recommendation 20, such as CEL")
    return value


def _check_reserved(key: str, kind: str) -> None:
    if key in GIVEN_BY_SYSTEM or key in ("datasetId", "@type"):
        return
    if key == "expiresAt":
        raise Unsupported("attributes do not expire here", fix="leave expiresAt out")
    if key == "@context":
        raise InvalidInput("an @context inside an attribute is not allowed", fix="put it at the top")
    if key in _OUTPUT_ONLY:
        raise InvalidInput("this member is for answers only", fix="leave it out")
    owner = next((name for name, letter in KINDS.items() if letter == kind), "attribute")
    raise InvalidInput(f"a {owner} has no such member", seen=key, fix="leave it out, or change the type")


def _take_marks(sub: dict[str, Attribute]) -> tuple[int, dict[str, Attribute] | None]:
    """The marks that `quality` tells, where it tells nothing else; the sub-attributes without it."""
    told = sub[QUALITY].value
    names = told if type(told) is list else [told]
    if not all(type(name) is str and name in MARKS for name in names):
        return 0, sub
    marks = 0
    for name in names:
        marks |= MARKS[name]
    rest = {name: attribute for name, attribute in sub.items() if name != QUALITY}
    return int(marks & _SENDERS_MARKS), rest or None
