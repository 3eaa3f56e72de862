"""An attribute and what a change says of parts of it (ETSI GS CIM 009, clauses 5.6.17 and 5.6.4; RFC 7396)."""

from typing import Any

from hutong.engines.sense.ports import Attribute

NULL = "urn:ngsi-ld:null"


def alike(one: Attribute, other: Attribute) -> bool:
    """Whether two attributes say the same, whenever they said it."""
    return (
        one.value == other.value
        and one.value.__class__ is other.value.__class__
        and one.unit == other.unit
        and one.kind == other.kind
        and one.sub == other.sub
        and one.object_type == other.object_type
    )


def merged(old: Attribute, new: Attribute, deep: bool) -> Attribute:
    """The old attribute with the parts that the new one gives."""
    value = old.value if new.value is None else new.value
    if deep and isinstance(old.value, dict) and isinstance(new.value, dict):
        value = _merge_patch(old.value, new.value)
    sub = dict(old.sub or {})
    for key, one in (new.sub or {}).items():
        if one.value == NULL:
            sub.pop(key, None)
        else:
            sub[key] = merged(sub[key], one, deep) if key in sub else one
    gone = {key for key, one in (new.sub or {}).items() if one.value == NULL}
    return Attribute(
        kind=(new.kind or old.kind) if new.value is not None else old.kind,
        value=value,
        observed_at=new.observed_at if new.observed_at is not None or "observedAt" in gone else old.observed_at,
        unit=new.unit if new.unit is not None or "unitCode" in gone else old.unit,
        marks=new.marks,
        sub=sub or None,
        object_type=new.object_type or old.object_type,
        created_at=old.created_at,
    )


def _merge_patch(old: Any, new: Any) -> Any:
    """RFC 7396, with `urn:ngsi-ld:null` in place of null."""
    if not isinstance(new, dict):
        return new
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in new.items():
        if value == NULL or value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_patch(merged.get(key), value)
    return merged
