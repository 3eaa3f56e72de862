"""DateTimes at speed say what the kernel's clock says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.kernel import clock
from hutong.kernel.errors import InvalidInput
from hutong.standards.ngsi_ld import instants
from hutong.standards.ngsi_ld.instants import read_instant, write_instant

INSTANTS = st.integers(clock.instant("0001-01-01T00:00:00Z"), clock.instant("9999-12-31T23:59:59.999999Z"))


@given(INSTANTS)
def test_reading_undoes_writing(at: int) -> None:
    assert read_instant(write_instant(at)) == at


@given(INSTANTS)
def test_both_agree_with_the_clock(at: int) -> None:
    assert write_instant(at) == clock.iso(at)
    assert read_instant(clock.iso(at)) == clock.instant(clock.iso(at))


@given(st.text(alphabet="0123456789-:TZ+.,W ", max_size=28))
def test_no_text_is_read_that_the_clock_would_not_read(text: str) -> None:
    try:
        at = read_instant(text)
    except InvalidInput:
        return
    assert at == clock.instant(text)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-05-01T10:00:00.123Z", "2026-05-01T10:00:00.123000+00:00"),
        ("2026-05-01T10:00:00,5Z", "2026-05-01T10:00:00.500000Z"),
        ("2026-05-01T10:00:00+08:00", "2026-05-01T02:00:00Z"),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59+00:00"),
        ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59+00:00"),
    ],
)
def test_spellings(text: str, same: str) -> None:
    assert read_instant(text) == clock.instant(same)


@pytest.mark.parametrize(
    "text",
    ["2026-02-29T10:00:00Z", "2026-05-01T24:00:00Z", "2026-05-01T10:60:00Z", "2026-05-01T10:00:60Z",
     "2026-05-01 10:00:00Z", "2026-05-01T10:00:00", "2026-05-01", "2026-W01-1T10:00:00Z", "2026-05-01T10:00:00.1x",
     "２０２６-05-01T10:00:00Z", "2026-05-01T1 :00:00Z", "", 5, None, True],
)  # fmt: skip
def test_what_is_no_instant(text: object) -> None:
    with pytest.raises(InvalidInput):
        read_instant(text)


def test_the_memory_of_days_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instants, "_DAYS_KEPT_MAX", 5)
    for day in range(1, 20):
        at = read_instant(f"2026-05-{day:02}T00:00:00Z")
        assert write_instant(at) == f"2026-05-{day:02}T00:00:00Z"
    assert len(instants._day_start) <= 5 + 1
