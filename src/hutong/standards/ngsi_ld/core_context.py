"""The core @context (ETSI GS CIM 009, annex B): its terms, and what each stands for.

The terms of v1.9.1 are included, so that what is written under either version reads the same.
"""

import re
from collections.abc import Mapping
from typing import Any

NGSI_LD = "https://uri.etsi.org/ngsi-ld/"
GEOJSON = "https://purl.org/geojson/vocab#"
DEFAULT_VOCABULARY = NGSI_LD + "default-context/"
CORE_URL = NGSI_LD + "v1/ngsi-ld-core-context-v1.8.jsonld"
CORE_URL_STEM = NGSI_LD + "v1/ngsi-ld-core-context"  # of every version

_NAMED_ALIKE = """
    Attribute AttributeList ContextSourceIdentity ContextSourceNotification ContextSourceRegistration Date DateTime
    EntityType EntityTypeInfo EntityTypeList ExecutionResultDetails GeoProperty JsonProperty LanguageProperty
    ListProperty ListRelationship Notification Property Relationship Snapshot SnapshotNotification Subscription
    TemporalProperty Time VocabProperty accept aggrMethods aggrParams aggrPeriodDuration attrs cacheDuration
    collation contextSourceAlias contextSourceInfo contextSourceUptime cooldown csf data detail endpoint entities
    entity entityCount error errors expandValues format geoQ geoproperty georel idPattern information isActive join
    jsonKeys lang linkedMaps localOnly location management managementInterval mode notification notificationTrigger
    notifierInfo notUpdated observationInterval observationSpace omit operations operationSpace ordering pick q
    reason receiverInfo refreshRate registrationId registrationName resultStatus scope scopeQ showChanges snapshotId
    snapshotLifetime snapshotPriority snapshotStatus status subscriptionName sysAttrs temporalQ throttling
    timeInterval timeout timeproperty timerel timesFailed timesSent triggerReason unchanged unitCode updated uri
"""
_NAMED_OTHERWISE = {
    "containedBy": "isContainedBy",
    "entityMap": "hasEntityMap",
    "joinLevel": "hasJoinLevel",
    "key": "hasKey",
    "previousValue": "hasPreviousValue",
    "value": "hasValue",
    "ngsildproof": "ngsildproof",
}
_GEOJSON = """
    Feature FeatureCollection GeometryCollection LineString MultiLineString MultiPoint MultiPolygon Point Polygon
    geometry properties
"""
_ELSEWHERE = {
    "attributeCount": DEFAULT_VOCABULARY + "attributeCount",
    "attributeDetails": DEFAULT_VOCABULARY + "attributeDetails",
    "description": "http://purl.org/dc/terms/description",
    "langString": "http://www.w3.org/1999/02/22-rdf-syntax-ns#langString",
    "title": "http://purl.org/dc/terms/title",
}
_TYPED: Mapping[str, str] = {  # coercion (or container) -> terms, `term:name` where the name differs
    "DateTime": """contextSourceTimeAt createdAt deletedAt endAt endTimeAt expiresAt lastFailure lastNotification
        lastSuccess lastUsedAt modifiedAt notifiedAt observedAt startAt timeAt""",
    "@id": "datasetId entityId instanceId object:hasObject previousObject:hasPreviousObject subscriptionId success "
    "tenant",
    "@vocab": """attributeList attributeName attributeNames attributeTypes attributes objectType:hasObjectType
        previousVocab:hasPreviousVocab propertyNames relationshipNames typeList typeName typeNames
        valueType:hasValueType vocab:hasVocab watchedAttributes""",
    "@json": "contextSourceExtras json:hasJSON previousJson:hasPreviousJson problemDetails",
    "@list": """avg distinctCount entityList jsons languageMaps:hasLanguageMaps max min objectList:hasObjectList
        objectLists:hasObjectLists objects:hasObjects orderBy previousObjectList:hasPreviousObjectList
        previousValueList:hasPreviousValueList snapshotQueries snapshotQueriesDetails snapshotTemporalQueries
        snapshotTemporalQueriesDetails stddev sum sumsq totalCount valueList:hasValueList valueLists:hasValueLists
        values:hasValues vocabs:hasVocabs""",
    "@language": "languageMap:hasLanguageMap previousLanguageMap:hasPreviousLanguageMap",
    "@index": "dataset:hasDataset",
}
_CONTAINERS = ("@list", "@language", "@index")


def _terms() -> dict[str, Any]:
    terms: dict[str, Any] = {"ngsi-ld": NGSI_LD, "geojson": GEOJSON, "id": "@id", "type": "@type"}
    terms |= {name: NGSI_LD + name for name in _NAMED_ALIKE.split()}
    terms |= {name: NGSI_LD + full for name, full in _NAMED_OTHERWISE.items()}
    terms |= {name: GEOJSON + name for name in _GEOJSON.split()}
    terms |= _ELSEWHERE
    for kind, names in _TYPED.items():
        how = {"@container": kind} if kind in _CONTAINERS else {"@type": kind}
        for term, _, full in (name.partition(":") for name in names.split()):
            terms[term] = {"@id": NGSI_LD + (full or term), **how}
    for name in ("bbox", "coordinates"):
        terms[name] = {"@id": GEOJSON + name, "@container": "@list"}
    terms["features"] = {"@id": GEOJSON + "features", "@container": "@set"}
    return terms


CORE_DOCUMENT: Mapping[str, Any] = {
    "@context": {"@version": 1.1, "@protected": True, **_terms(), "@vocab": DEFAULT_VOCABULARY}
}
"""The core @context as a JSON-LD document."""

CORE_TERMS: Mapping[str, str] = {
    term: meaning if isinstance(meaning, str) else meaning["@id"] for term, meaning in _terms().items()
}
"""Each term of the core @context and its URI (or JSON-LD keyword)."""


_core_url = re.compile(re.escape(CORE_URL_STEM) + r"(-v\d+(\.\d+)*)?\.jsonld").fullmatch


def is_core_url(url: str) -> bool:
    """Whether this is the address of the core @context, of any version."""
    return _core_url(url.replace("http://", "https://", 1)) is not None
