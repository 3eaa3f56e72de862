"""Documents that clients keep hold the same promises on every store."""

import msgspec
import pytest

from hutong.engines.sense import documents
from hutong.engines.sense.documents import Document, DocumentKind, DropDocument, KeepDocument
from hutong.kernel.access import Actor
from hutong.kernel.clock import MINUTE
from hutong.kernel.errors import AlreadyExists, NotFound, TooLarge
from tests.contract.core import NOON, Core

OWNER = Actor(id="li", roles=("staff",), tenants=("port",))


def document(id: str, body: bytes = b"{}", tenant: str = "", kind: DocumentKind = "context") -> Document:
    return Document(tenant=tenant, kind=kind, id=id, body=body, owner=OWNER)


def test_a_kept_document_is_there_with_its_times_and_its_owner(core: Core) -> None:
    kept = core.ask(KeepDocument(document=document("urn:a", b'{"a":"\xe6\xbc\x8f"}')))
    assert kept == core.documents.get("", "context", "urn:a")
    assert (kept.created_at, kept.modified_at, kept.owner) == (NOON, NOON, OWNER)
    core.minutes(1)
    core.ask(KeepDocument(document=document("urn:a", b"[]")))
    again = core.documents.get("", "context", "urn:a")
    assert again is not None
    assert (again.body, again.created_at, again.modified_at) == (b"[]", NOON, NOON + MINUTE)


def test_new_and_known_ids_are_told_apart(core: Core) -> None:
    with pytest.raises(NotFound):
        core.ask(KeepDocument(document=document("urn:a"), only="known"))
    core.ask(KeepDocument(document=document("urn:a"), only="new"))
    with pytest.raises(AlreadyExists):
        core.ask(KeepDocument(document=document("urn:a", b"[]"), only="new"))
    found = core.documents.get("", "context", "urn:a")
    assert found is not None
    assert found.body == b"{}"


def test_tenants_and_kinds_are_kept_apart(core: Core) -> None:
    keys: tuple[tuple[str, DocumentKind], ...] = (("", "context"), ("port", "context"), ("", "registration"))
    for tenant, kind in keys:
        core.ask(KeepDocument(document=document("urn:a", kind.encode() + tenant.encode(), tenant, kind)))
    core.ask(DropDocument(tenant="port", kind="context", id="urn:a"))
    assert core.documents.get("port", "context", "urn:a") is None
    assert [one.body for one in core.documents.each()] == [b"context", b"registration"]
    assert [one.body for one in core.documents.each("registration")] == [b"registration"]


def test_lists_are_in_order_of_creation_and_come_in_pages(core: Core) -> None:
    for id_ in ("urn:c", "urn:a", "urn:b"):
        core.ask(KeepDocument(document=document(id_)))
        core.minutes(1)
    core.ask(KeepDocument(document=document("urn:c")))
    assert [one.id for one in core.documents.list("", "context", 10)] == ["urn:c", "urn:a", "urn:b"]
    assert [one.id for one in core.documents.list("", "context", 1, 1)] == ["urn:a"]
    assert core.documents.count("", "context") == 3


def test_streaming_goes_beyond_a_page(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hutong.store.sql.documents.PAGE", 2)
    for n in range(5):
        core.ask(KeepDocument(document=document(f"urn:{n}")))
    assert [one.id for one in core.documents.each("context")] == [f"urn:{n}" for n in range(5)]


def test_dropping_what_is_not_there_is_told(core: Core) -> None:
    with pytest.raises(NotFound):
        core.ask(DropDocument(kind="context", id="urn:a"))
    core.ask(KeepDocument(document=document("urn:a")))
    assert core.ask(DropDocument(kind="context", id="urn:a")) is True
    assert core.documents.get("", "context", "urn:a") is None


def test_a_repeat_of_the_command_gets_the_first_answer(core: Core) -> None:
    first = core.ask(KeepDocument(document=document("urn:a"), only="new"), "k")
    assert core.ask(KeepDocument(document=document("urn:a"), only="new"), "k") == first
    assert core.ask(DropDocument(kind="context", id="urn:a"), "d") is True
    assert core.ask(DropDocument(kind="context", id="urn:a"), "d") is True


def test_too_many_and_too_long_ones_are_refused(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = msgspec.structs.replace(documents.RULES["context"], most=1)
    monkeypatch.setattr(documents, "DOCUMENT_BYTES_MAX", 10)
    monkeypatch.setattr(documents, "RULES", {**documents.RULES, "context": rules})
    with pytest.raises(TooLarge):
        core.ask(KeepDocument(document=document("urn:a", b" " * 11)))
    core.ask(KeepDocument(document=document("urn:a")))
    core.ask(KeepDocument(document=document("urn:a", b"[]")))
    core.ask(KeepDocument(document=document("urn:a", tenant="port")))
    with pytest.raises(TooLarge):
        core.ask(KeepDocument(document=document("urn:b")))


def test_listeners_hear_of_changes_when_they_are_durable(core: Core) -> None:
    heard: list[tuple[tuple[str, str, str], bool]] = []

    def listener(kind: str, tenant: str, id: str) -> None:
        heard.append(((kind, tenant, id), core.documents.get(tenant, kind, id) is not None))

    core.kept.listeners.append(listener)
    core.ask(KeepDocument(document=document("urn:a", tenant="port")))
    with pytest.raises(AlreadyExists):
        core.ask(KeepDocument(document=document("urn:a", tenant="port"), only="new"))
    core.ask(DropDocument(tenant="port", kind="context", id="urn:a"))
    assert heard == [(("context", "port", "urn:a"), True), (("context", "port", "urn:a"), False)]
