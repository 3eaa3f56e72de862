"""Every code that a fault of a declaration or a file can have, and what it means."""

from collections.abc import Mapping

from hutong.kernel.packs.faults import CODES

_EXPRESSIONS = {
    "expression-aggregate": "an aggregate is not of one property, or missing where one is needed",
    "expression-history": "`previous` or `rate` stands where no observation before is at hand",
    "expression-name": "an expression names a column or a function that there is not",
    "expression-syntax": "an expression cannot be read, is too large, or is more than one expression over one row",
    "expression-type": "an expression, or an argument in it, is of a type that does not fit",
    "expression-unit": "an expression mixes units that do not go together",
}
_SCALES = {
    "bad-table": "a dated table is not in order: its dates, or its values",
}
_SENSE = {
    "bad-type": "a property of this type cannot be derived",
    "circular-derivation": "properties are derived from one another in a circle",
    "derived-property": "a source or simulation sets a property that is derived",
    "reserved-name": "a property has a name that means something else in expressions",
    "reject-needs-numbers": "a range that refuses values is given by an expression",
    "unknown-property": "an entity type does not have this property",
    "unknown-type": "no pack declares this entity type",
    "circular-rollup": "rollups are made of one another in a circle",
    "rollup-groups": "a rollup or forecast asks for what its target cannot have: a group, or the thing itself",
    "when-or-silent": "an alert has neither `when` nor `silent_for`, or both",
}
_CONNECTORS = {
    "id-is-no-uri": "a template of ids does not begin as a URI does",
    "key-not-for-connector": "a key of a source does not go with its connector",
    "no-template": "a template does not name what it is filled with, or names something else",
}
_LAKE = {
    "file-changed": "a file of the history is not what the ledger remembers",
    "file-dropped": "a file of the history is there and not in its table",
    "file-missing": "a file of the history is not there",
    "file-unknown": "a file of the history stands in its table and the ledger knows nothing of it",
}
FAULT_CODES: Mapping[str, str] = {**CODES, **_EXPRESSIONS, **_SCALES, **_SENSE, **_CONNECTORS, **_LAKE}
