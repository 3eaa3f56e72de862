"""What may be the value of an attribute of each kind (clauses 4.5.2, 4.5.3, 4.5.18 to 4.5.24, 4.6.3, 4.6.5).

Each function gives the value back as it is stored, and raises InvalidInput with a path below the value.
"""

from typing import Any

from hutong.kernel.errors import HutongError, InvalidInput
from hutong.standards.ngsi_ld.errors import located
from hutong.standards.ngsi_ld.uris import NULL, is_uri, read_uri

VALUE_DEPTH_MAX = 32


def read_value(value: Any, deep_nulls: bool, depth: int = 0) -> Any:
    """A JSON value of a Property. With `deep_nulls`, NGSI-LD Nulls inside become None."""
    cls = type(value)
    if cls is str:
        if value == NULL:
            if deep_nulls and depth:
                return None
            raise InvalidInput("NGSI-LD Null has no place here", seen=value)
    elif cls is int:
        _check_integer(value)
    elif cls is dict or cls is list:
        return _read_compound(value, deep_nulls, depth)
    elif value is None:
        raise InvalidInput("null is no value in NGSI-LD", fix=f"leave it out; in a merge write {NULL}")
    return value


def _read_compound(value: Any, deep_nulls: bool, depth: int) -> Any:
    _check_depth(depth)
    if type(value) is dict and value.get("@type") == "@json":
        _check_literal(value, depth)
        return value  # a JSON literal may hold null: clause 4.5.0
    place = ""
    try:
        if type(value) is dict:
            for place, member in value.items():
                value[place] = read_value(member, deep_nulls, depth + 1)
        else:
            for i, member in enumerate(value):
                place = f"[{i}]"
                value[i] = read_value(member, deep_nulls, depth + 1)
    except HutongError as error:
        raise located(error, place) from None
    return value


def _check_integer(value: int) -> None:
    if not -(2**63) <= value < 2**63:
        raise InvalidInput("an integer too large", seen=value, allowed="64 bits", fix="send it as a text")


def _check_depth(depth: int) -> None:
    if depth >= VALUE_DEPTH_MAX:
        raise InvalidInput("a value nested too deeply", allowed=f"at most {VALUE_DEPTH_MAX} levels")


def _check_literal(value: Any, depth: int = 0) -> None:
    """What is inside raw JSON is nobody's business, within the bounds that every store keeps."""
    if type(value) is int:
        _check_integer(value)
    elif type(value) is dict or type(value) is list:
        _check_depth(depth)
        for member in value.values() if type(value) is dict else value:
            _check_literal(member, depth + 1)


def read_object(value: Any) -> Any:
    """The object of a Relationship: a URI, or several."""
    if type(value) is list and value and all(is_uri(part) and part != NULL for part in value):
        return value
    return read_uri(value, "the object")


def read_language_map(value: Any) -> Any:
    """Language tags, each with a text or several."""
    if type(value) is not dict or not value:
        raise InvalidInput("no language map", seen=value, allowed="an object: language tag to text or texts")
    for tag, text in value.items():
        if not (tag == "@none" or (tag and tag.isascii() and tag.replace("-", "").isalnum())):
            raise InvalidInput("no language tag", where=tag, seen=tag, allowed="zh, en-GB, @none")
        texts = text if type(text) is list else [text]
        if not all(type(part) is str and part != NULL for part in texts):
            raise InvalidInput("not a text", where=tag, seen=text, allowed="a text, or an array of texts")
    return value


def read_terms(value: Any) -> list[str]:
    """The terms of a VocabProperty, one or several, not yet expanded."""
    parts = value if type(value) is list else [value]
    if not parts or not all(type(part) is str and part != NULL for part in parts):
        raise InvalidInput("not a term", seen=value, allowed="a text, or an array of texts")
    return parts


def read_json(value: Any) -> Any:
    """Raw JSON: an object, or several."""
    if type(value) is dict or (type(value) is list and all(type(part) is dict for part in value)):
        _check_literal(value)
        return value
    raise InvalidInput("no JSON object", seen=value, allowed="an object, or an array of objects")


def read_value_list(value: Any, deep_nulls: bool) -> Any:
    """An ordered array of values."""
    if type(value) is not list:
        raise InvalidInput("not an array", seen=value, allowed="an array of values")
    return read_value(value, deep_nulls)


def read_object_list(value: Any) -> list[str]:
    """An ordered array of URIs, each given alone or as `{"object": URI}`; stored alone."""
    if type(value) is not list:
        raise InvalidInput("not an array", seen=value, allowed='URIs, or {"object": URI}')
    uris = []
    for i, part in enumerate(value):
        uri = part["object"] if type(part) is dict and list(part) == ["object"] else part
        if uri == NULL or not is_uri(uri):
            raise InvalidInput("the object is no URI", where=f"[{i}]", seen=part, allowed="a URI")
        uris.append(uri)
    return uris
