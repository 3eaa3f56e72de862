"""Units: codes, names, exact conversion, and what is said of a wrong one."""

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hutong.kernel.errors import InvalidInput, OutOfRange
from hutong.kernel.units import conversion, convert, unit, units

CODES = st.sampled_from(sorted(units()))


@pytest.mark.parametrize(
    ("code", "symbol", "name_en", "name_zh", "quantity"),
    [
        ("C62", "1", "one", "一", "number"),
        ("P1", "%", "percent", "百分比", "number"),
        ("CEL", "°C", "degree Celsius", "摄氏度", "temperature"),
        ("MTR", "m", "metre", "米", "length"),
        ("4H", "µm", "micrometre", "微米", "length"),
        ("KMH", "km/h", "kilometre per hour", "千米每小时", "speed"),
        ("GQ", "µg/m³", "microgram per cubic metre", "微克每立方米", "mass_concentration"),
        ("GP", "mg/m³", "milligram per cubic metre", "毫克每立方米", "mass_concentration"),
        ("59", "ppm", "part per million", "百万分率", "number"),
        ("A97", "hPa", "hectopascal", "百帕", "pressure"),
        ("KWH", "kW·h", "kilowatt hour", "千瓦时", "energy"),
        ("MQH", "m³/h", "cubic metre per hour", "立方米每小时", "volume_flow"),
        ("L2", "l/min", "litre per minute", "升每分钟", "volume_flow"),
        ("D10", "S/m", "siemens per metre", "西门子每米", "conductivity"),
        ("MSK", "m/s²", "metre per second squared", "米每二次方秒", "acceleration"),
        ("B11", "J/(kg·K)", "joule per kilogram kelvin", "焦耳每千克开", "specific_heat_capacity"),
        ("C92", "m⁻¹", "reciprocal metre", "每米", "wave_number"),
        ("2N", "dB", "decibel", "分贝", "level"),
    ],
)
def test_what_a_code_stands_for(code: str, symbol: str, name_en: str, name_zh: str, quantity: str) -> None:
    found = unit(code)
    assert (found.symbol, found.name_en, found.name_zh, found.quantity) == (symbol, name_en, name_zh, quantity)


@pytest.mark.parametrize(  # figures of the SI brochure, NIST SP 811 and the Recommendation itself
    ("code", "factor"),
    [
        ("KMT", 1000),
        ("INH", 0.0254),
        ("NMI", 1852),
        ("HAR", 10_000),
        ("ACR", 4046.873),
        ("GLL", 3.785412e-3),
        ("KMH", 0.2777778),
        ("KNT", 0.5144444),
        ("DD", 0.01745329),
        ("ANN", 31_557_600),
        ("LBR", 0.4535924),
        ("GQ", 1e-9),
        ("M1", 1e-3),
        ("23", 1000),
        ("MQH", 2.777778e-4),
        ("BAR", 1e5),
        ("HN", 133.3224),
        ("PS", 6894.757),
        ("KWH", 3.6e6),
        ("BTU", 1055.056),
        ("HJ", 735.4988),
        ("AMH", 3600),
        ("G42", 1e-4),
        ("C17", 1e-6),
        ("CUR", 3.7e10),
        ("P72", 2.777778e-10),
        ("4L", 8e6),
        ("E63", 8_388_608),
        ("FAH", 0.5555556),
    ],
)
def test_factors_to_si(code: str, factor: float) -> None:
    assert float(unit(code).factor) == pytest.approx(factor, rel=5e-7)


@pytest.mark.parametrize(
    ("value", "source", "target", "result"),
    [
        (35.0, "MMT", "MTR", 0.035),
        (25.0, "CEL", "KEL", 298.15),
        (212.0, "FAH", "CEL", 100.0),
        (-40.0, "CEL", "FAH", -40.0),
        (36.0, "KMH", "MTS", 10.0),
        (95.0, "P1", "C62", 0.95),
        (0.1, "GP", "GQ", 100.0),
        (1.0, "DBW", "DBM", 31.0),
        (1.0, "RPM", "RPS", 1 / 60),
    ],
)
def test_conversions_are_exact_to_the_last_digit(value: float, source: str, target: str, result: float) -> None:
    assert convert(value, source, target) == result


def test_arrays_and_frames_convert_as_numbers_do() -> None:
    assert convert(np.array([0.0, 100.0]), "CEL", "FAH").tolist() == [32.0, 212.0]
    series = convert(pl.Series("t", [25.0, None]), "CEL", "KEL")
    assert series.to_list() == [298.15, None]
    frame = pl.DataFrame({"speed": [36.0, 72.0]}).select(convert(pl.col("speed"), "KMH", "MTS"))
    assert frame["speed"].to_list() == [10.0, 20.0]


@pytest.mark.parametrize("value", [10**400, 1e300, float("inf"), float("nan")])
def test_numbers_beyond_measure_are_refused(value: float) -> None:
    with pytest.raises(OutOfRange, match="too large to convert"):
        convert(value, "KMT", "MMT")


@given(st.floats(-1e9, 1e9), CODES, CODES)
def test_there_and_back_is_where_one_started(value: float, a: str, b: str) -> None:
    assume(unit(a).quantity == unit(b).quantity)
    scale = abs(value) + abs(float(unit(a).offset / unit(a).factor)) + abs(float(unit(b).offset / unit(a).factor))
    assert convert(convert(value, a, b), b, a) == pytest.approx(value, rel=1e-12, abs=1e-12 * scale)


@given(CODES)
def test_a_unit_is_itself(code: str) -> None:
    assert convert(12345, code, code) == 12345
    assert unit(code).code == code
    assert unit(code).factor > 0
    assert unit(code).name_en
    assert unit(code).name_zh


def test_units_of_a_quantity_convert_into_each_other() -> None:
    quantities: dict[str, list[str]] = {}
    for code, found in units().items():
        quantities.setdefault(found.quantity, []).append(code)
    for first, *others in quantities.values():
        assert all(convert(1.0, other, first) != 0 for other in others)
    assert len(units()) > 650


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("km/h", "write KMH for kilometre per hour"),
        ("ug/m3", "write GQ for microgram per cubic metre"),
        ("μg/m³", "write GQ"),  # with a Greek mu
        ("MW", "write MAW for megawatt"),
        ("mW", "write C31 for milliwatt"),
        ("kwh", "write KWH for kilowatt hour"),
        ("摄氏度", "write CEL"),
        ("Celsius", "did you mean CEL"),
        ("kilometer", "did you mean KMT"),
        ("?", "see the list of units"),
    ],
)
def test_an_unknown_code_gets_a_suggestion(written: str, meant: str) -> None:
    with pytest.raises(InvalidInput, match=meant):
        unit(written)


def test_units_of_different_quantities_do_not_convert() -> None:
    with pytest.raises(InvalidInput, match=r"number cannot be given as mass_concentration.*GQ µg/m³"):
        conversion("59", "GQ")
    with pytest.raises(InvalidInput, match="torque cannot be given as energy"):
        convert(1.0, "NU", "JOU")
