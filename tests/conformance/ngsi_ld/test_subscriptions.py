"""Subscriptions (clauses 5.2.12 to 5.2.15, 5.8) as they are read and told."""

from typing import Any

import pytest

from hutong.engines.sense.ports import Compare, Filter, Selector
from hutong.engines.sense.subscriptions import Kept, On, Subscription
from hutong.kernel.clock import SECOND, instant
from hutong.kernel.errors import HutongError
from hutong.kernel.outbox import ChannelState
from hutong.standards.ngsi_ld.contexts import CORE_CONTEXT, Context, Contexts
from hutong.standards.ngsi_ld.errors import LdContextNotAvailable, TooComplexQuery
from hutong.standards.ngsi_ld.q import read_q
from hutong.standards.ngsi_ld.subscription_answers import write_q, write_subscription
from hutong.standards.ngsi_ld.subscriptions import read_fragment, read_subscription
from hutong.standards.ngsi_ld.type_selection import map_type_selection, read_type_selection

NOW = instant("2026-05-01T10:00:00Z")
ID = "urn:ngsi-ld:Subscription:1"
OWN = {"@context": {"ex": "https://example.org/", "Car": "ex:Car", "speed": "ex:speed"}}
CONTEXTS = Contexts({"https://example.org/context.jsonld": OWN})
ENDPOINT = {"uri": "http://127.0.0.1:9/notify"}


def wire(**members: Any) -> dict[str, Any]:
    given = {"id": ID, "type": "Subscription", "entities": [{"type": "Car"}], "notification": {"endpoint": ENDPOINT}}
    return {name: value for name, value in {**given, **members}.items() if value is not ...}


def context() -> Context:
    return CONTEXTS.resolve("https://example.org/context.jsonld")


def read(**members: Any) -> Subscription:
    return read_subscription(wire(**members), context(), CONTEXTS, now=NOW, id_="urn:made")


def told(one: Subscription, of: Context, state: ChannelState | None = None, now: int = NOW) -> dict[str, Any]:
    kept = Kept("", one, None, NOW, NOW)
    return write_subscription(kept, state, of, now=now, own=True)


def test_names_are_expanded_and_told_back_in_whatever_context_is_asked() -> None:
    one = read(
        watchedAttributes=["speed"],
        q="speed>50;brand==Seat",
        notificationTrigger=["entityUpdated"],
        notification={"attributes": ["speed", "brand"], "endpoint": ENDPOINT},
    )
    assert one.selectors == (Selector(types=(("https://example.org/Car",),)),)
    assert one.watched == ("https://example.org/speed",)
    assert one.on == On.ATTRIBUTE_CREATED | On.ATTRIBUTE_UPDATED | On.ATTRIBUTE_DELETED
    same = told(one, context())
    assert same["q"] == "speed>50;brand==Seat"
    assert {name: same[name] for name in ("entities", "watchedAttributes", "notification")} == {
        "entities": [{"type": "Car"}],
        "watchedAttributes": ["speed"],
        "notification": {"attributes": ["speed", "brand"], "endpoint": ENDPOINT},
    }
    assert told(one, CORE_CONTEXT)["entities"] == [{"type": "https://example.org/Car"}]
    assert told(one, CORE_CONTEXT)["watchedAttributes"] == ["https://example.org/speed"]


def test_everything_given_is_told_back() -> None:
    members = {
        "subscriptionName": "n",
        "description": "d",
        "entities": [{"type": "(Car|Van);Red", "id": "urn:a:1"}, {"type": "*", "idPattern": "^urn"}],
        "geoQ": {"georel": "near;maxDistance==10", "geometry": "Point", "coordinates": [1, 2], "geoproperty": "speed"},
        "scopeQ": "/a/#",
        "lang": "zh",
        "throttling": 1.5,
        "expiresAt": "2027-01-01T00:00:00Z",
        "isActive": False,
        "datasetId": ["urn:x:d", "@none"],
        "jsonldContext": "https://example.org/context.jsonld",
        "notificationTrigger": ["entityDeleted", "attributeDeleted"],
        "notification": {
            "pick": ["id", "speed"],
            "omit": ["scope"],
            "format": "concise",
            "sysAttrs": True,
            "showChanges": True,
            "join": "flat",
            "joinLevel": 2,
            "endpoint": {
                "uri": "mqtts://user:secret@broker:8883/a/b",
                "accept": "application/ld+json",
                "timeout": 500,
                "cooldown": 1000,
                "receiverInfo": [{"key": "X-A", "value": "b"}],
                "notifierInfo": [{"key": "MQTT-QoS", "value": "1"}, {"key": "MQTT-Version", "value": "mqtt3.1.1"}],
            },
        },
    }
    one = read(**members)
    assert told(one, context()) == wire(**members) | {"status": "paused"}
    assert one.throttling == 3 * SECOND // 2
    assert one.selectors[0].types == (
        ("https://example.org/Car", "Red"),
        ("Van", "Red"),
    )
    assert one.selectors[1].types == ()


@pytest.mark.parametrize(
    ("members", "where"),
    [
        ({"type": "Other"}, "type"),
        ({"entities": ...}, ""),
        ({"entities": []}, "entities"),
        ({"entities": [{"id": "urn:a:1"}]}, "entities.[0].type"),
        ({"entities": [{"type": "Car", "id": "nothing"}]}, "entities.[0].id"),
        ({"entities": [{"type": "(Car"}]}, "entities.[0].type"),
        ({"entities": [{"type": "Car", "idPattern": "("}]}, "entities.[0].idPattern"),
        ({"notification": ...}, "notification"),
        ({"notification": {}}, "notification.endpoint"),
        ({"notification": {"endpoint": {"uri": "ftp://a/b"}}}, "notification.endpoint.uri"),
        ({"notification": {"endpoint": {"uri": "mqtt://broker"}}}, "notification.endpoint.uri"),
        ({"notification": {"endpoint": {**ENDPOINT, "accept": "text/html"}}}, "notification.endpoint.accept"),
        ({"notification": {"endpoint": {**ENDPOINT, "timeout": 0}}}, "notification.endpoint.timeout"),
        (
            {"notification": {"endpoint": {**ENDPOINT, "receiverInfo": [{"key": "A\r\nB", "value": "c"}]}}},
            "notification.endpoint.receiverInfo[0]",
        ),
        (
            {"notification": {"endpoint": {**ENDPOINT, "receiverInfo": [{"key": "Host", "value": "c"}]}}},
            "notification.endpoint.receiverInfo[0]",
        ),
        ({"notification": {"endpoint": ENDPOINT, "format": "xml"}}, "notification.format"),
        ({"notification": {"endpoint": ENDPOINT, "attributes": []}}, "notification.attributes"),
        ({"notification": {"endpoint": ENDPOINT, "pick": ["id"], "omit": ["id"]}}, "notification.omit"),
        ({"notification": {"endpoint": ENDPOINT, "pick": ["id"], "attributes": ["a"]}}, "notification.attributes"),
        ({"notification": {"endpoint": ENDPOINT, "showChanges": True, "format": "keyValues"}}, "notification.format"),
        ({"notification": {"endpoint": ENDPOINT, "joinLevel": 1}}, "notification.joinLevel"),
        ({"notificationTrigger": ["soon"]}, "notificationTrigger[0]"),
        ({"timeInterval": 5, "throttling": 5}, "throttling"),
        ({"timeInterval": 5, "watchedAttributes": ["speed"]}, "watchedAttributes"),
        ({"throttling": -1}, "throttling"),
        ({"timeInterval": 0}, "timeInterval"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "soon"}, "expiresAt"),
        ({"q": "speed>"}, "q:7"),
        ({"geoQ": {"georel": "near"}}, "geoQ"),
        ({"scopeQ": "a"}, "scopeQ"),
        ({"isActive": "yes"}, "isActive"),
        ({"datasetId": ["no uri"]}, "datasetId[0]"),
        ({"jsonldContext": "unknown"}, "jsonldContext"),
        ({"colour": "red"}, "colour"),
        ({"id": "nothing"}, ""),
    ],
)
def test_what_is_wrong_is_told_by_place(members: dict[str, Any], where: str) -> None:
    with pytest.raises(HutongError) as caught:
        read(**members)
    assert caught.value.status == 400
    assert caught.value.fault.where.replace(".[", "[") == where.replace(".[", "[")


def test_a_context_that_cannot_be_had_is_told_as_such() -> None:
    with pytest.raises(LdContextNotAvailable):
        read(jsonldContext="https://example.org/other.jsonld")


def test_a_fragment_replaces_and_null_takes_away() -> None:
    one = read(q="speed>50", throttling=5, description="d", expiresAt="2027-01-01T00:00:00Z")
    changed = read_fragment(
        {"throttling": None, "description": "e", "isActive": False}, one, CORE_CONTEXT, CONTEXTS, now=NOW
    )
    assert (changed.throttling, changed.active, changed.where) == (0, False, one.where)
    assert told(changed, context())["description"] == "e"
    assert told(changed, context())["q"] == "speed>50"
    assert read_fragment({"q": None}, one, CORE_CONTEXT, CONTEXTS, now=NOW).where is None
    other = read_fragment({"q": "speed<3"}, one, CORE_CONTEXT, CONTEXTS, now=NOW)
    assert other.where == Compare(("speed",), "<", (3,))


@pytest.mark.parametrize(
    "fragment",
    [
        {"notification": None},
        {"notification": {"format": "keyValues"}},
        {"notification": {"endpoint": None}},
        {"expiresAt": "2020-01-01T00:00:00Z"},
        {"id": "urn:ngsi-ld:Subscription:2"},
        {"entities": None},
        {"type": "Other"},
    ],
)
def test_a_fragment_that_would_break_it_is_refused(fragment: dict[str, Any]) -> None:
    with pytest.raises(HutongError) as caught:
        read_fragment(fragment, read(), CORE_CONTEXT, CONTEXTS, now=NOW)
    assert caught.value.status == 400


def test_status_and_counters() -> None:
    one = read(expiresAt="2026-05-01T11:00:00Z")
    assert told(one, context())["status"] == "active"
    assert told(one, context(), now=NOW + 3600 * SECOND)["status"] == "expired"
    assert "status" not in told(one, context())["notification"]
    good = ChannelState(id="c", kind="subscription", times_sent=3, last_sent_at=NOW)
    assert told(one, context(), good)["notification"] == {
        "endpoint": ENDPOINT,
        "status": "ok",
        "timesSent": 3,
        "lastNotification": "2026-05-01T10:00:00Z",
        "lastSuccess": "2026-05-01T10:00:00Z",
    }
    bad = ChannelState(
        id="c", kind="subscription", times_sent=3, last_sent_at=NOW, times_failed=1, last_failed_at=NOW + 1
    )
    failed = told(one, context(), bad)["notification"]
    assert (failed["status"], failed["timesSent"], failed["timesFailed"]) == ("failed", 4, 1)


def test_what_is_secret_in_an_endpoint_is_for_its_owner() -> None:
    endpoint = {"uri": "mqtt://u:secret@broker/t", "receiverInfo": [{"key": "Authorization", "value": "secret"}]}
    one = read(notification={"endpoint": endpoint})
    other = write_subscription(Kept("", one, None, NOW, NOW), None, context(), now=NOW, own=False)
    assert "secret" not in str(other)
    assert other["notification"]["endpoint"]["uri"] == "mqtt://***@broker/t"


def test_a_query_encoded_as_in_an_address_is_read() -> None:
    assert read(q='brand=="Eiffel%20Tower"').where == Compare(("brand",), "==", ("Eiffel Tower",))


@pytest.mark.parametrize(
    "text",
    [
        "a", "!a", "a==1", 'a!="x","y"', "a>2.5", "a==1..3", "a.b.observedAt>=2026-05-01T10:00:00Z", "a[b.c]==true",
        'a~="^x.*"', "a;b", "a|b", "(a|b);c", "a;b|c;d", 'a=="with \\"quotes\\", and ; | marks"',
    ],
)  # fmt: skip
def test_a_filter_written_and_read_again_is_the_same(text: str) -> None:
    where: Filter = read_q(text, context())
    assert read_q(write_q(where, context()), context()) == where


def test_type_selections() -> None:
    def expand(name: str) -> str:
        return name.upper()

    assert read_type_selection("a", expand) == (("A",),)
    assert read_type_selection("a,b|c", expand) == (("A",), ("B",), ("C",))
    assert read_type_selection("(a;b),c", expand) == (("A", "B"), ("C",))
    assert read_type_selection("a;(b|c)", expand) == (("A", "B"), ("A", "C"))
    assert read_type_selection("*", expand) == ()
    assert map_type_selection("(a;b)|c", expand) == "(A;B)|C"
    for text in ("", "a,", "(a", "a)", ";a", "()", "a b)"):
        with pytest.raises(HutongError):
            read_type_selection(text, expand)
    with pytest.raises(TooComplexQuery):
        read_type_selection(";".join(["(a|b|c|d)"] * 5), expand)
