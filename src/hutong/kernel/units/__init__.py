"""Units of measure by their UN/CEFACT Recommendation 20 codes (revision 17), with exact conversion.

`units.toml` holds codes and symbols by quantity; names and factors are composed from the parts of the symbol. Only
units of one quantity convert into each other: a torque is no energy and ppm is no mass concentration, whatever their
dimensions say.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from hutong.kernel.errors import InvalidInput, OutOfRange

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

LARGEST = 1e200  # times the largest factor it is still a finite number

Values = TypeVar("Values", float, "NDArray[np.float64]", "pl.Series", "pl.Expr")


class Unit(msgspec.Struct, frozen=True):
    """A unit. A value in it times `factor` plus `offset` is the value in the coherent SI unit of its quantity."""

    code: str
    symbol: str
    name_en: str
    name_zh: str
    quantity: str
    factor: Fraction
    offset: Fraction = Fraction(0)


class Conversion(msgspec.Struct, frozen=True):
    """`(value * multiply + add) / divide`: integers where they can be, so that 35 mm are 0.035 m to the last digit."""

    multiply: float
    add: float
    divide: float

    def __call__(self, values: Values) -> Values:
        """Convert a number, numpy array, or polars series or expression; missing stays missing.

        Raises OutOfRange for a single number that is too large to convert.
        """
        _check_size(values)
        if self.multiply != 1:
            values = values * self.multiply
        if self.add:
            values = values + self.add
        return values / self.divide if self.divide != 1 else values


def _check_size(values: object) -> None:
    if isinstance(values, int | float) and not abs(values) < LARGEST:
        raise OutOfRange("a number too large to convert", seen=values, allowed=f"less than {LARGEST:g}")


def units() -> Mapping[str, Unit]:
    """All units known, by code, in the order of their quantities."""
    return _tables().units


def unit(code: str) -> Unit:
    """The unit with this code. Raises InvalidInput with a suggestion for a code that is unknown."""
    found = _tables().units.get(code)
    if found is None:
        raise InvalidInput(
            "not a known unit code", seen=code, allowed="a code of UN/CEFACT Recommendation 20", fix=_suggestion(code)
        )
    return found


def convert(values: Values, from_code: str, to_code: str) -> Values:
    """Values in another unit of the same quantity; see `conversion` for errors."""
    return conversion(from_code, to_code)(values)


@lru_cache(maxsize=4096)
def conversion(from_code: str, to_code: str) -> Conversion:
    """How to get from one unit to another.

    Raises InvalidInput for an unknown code and for units of different quantities.
    """
    source, target = unit(from_code), unit(to_code)
    if source.quantity != target.quantity:
        same = [f"{u.code} {u.symbol}" for u in units().values() if u.quantity == target.quantity][:8]
        raise InvalidInput(
            f"{source.quantity} cannot be given as {target.quantity}",
            seen=f"{source.code} ({source.symbol})",
            allowed=", ".join(same),
            fix=f"send values of {target.quantity}, or declare a unit of {source.quantity}",
        )
    factor, add = source.factor / target.factor, (source.offset - target.offset) / target.factor
    return Conversion(float(factor.numerator), float(add * factor.denominator), float(factor.denominator))


# --- symbols ------------------------------------------------------------------------------------------------------

_SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_TERM = re.compile(r"([^⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]*)")
_LENGTHS = {"m", "in", "ft", "yd", "mile"}
_POWERS_EN = {1: "{}", 2: "{} squared", 3: "{} cubed", 4: "{} to the fourth power"}
_POWERS_ZH = {1: "{}", 2: "二次方{}", 3: "三次方{}", 4: "四次方{}"}


class _Term(NamedTuple):
    """An atom with a prefix and a power, such as `µm³`: one of it is 10^-6 m to the third."""

    prefix: str
    atom: str
    power: int


class _Tables:
    """units.toml, read once."""

    def __init__(self) -> None:
        text = files(__name__).joinpath("units.toml").read_text("utf-8")
        declared = tomllib.loads(text)
        self.atoms: dict[str, tuple[str, str, str, str]] = {k: tuple(v) for k, v in declared["atom"].items()}
        self.prefixes: dict[str, tuple[str, str, Fraction]] = {"": ("", "", Fraction(1))}
        for base, table in ((10, declared["prefix"]), (2, declared["binary"])):
            self.prefixes |= {k: (en, zh, Fraction(base) ** power) for k, (en, zh, power) in table.items()}
        found: dict[str, Unit] = {}
        for quantity, declaration in declared["quantity"].items():
            dimensions = []
            for code, row in self._rows(declaration):
                factor, dimension = self.amount(row["is"])
                dimensions.append(dimension)
                offset = Fraction(row.get("offset", 0))
                found[code] = Unit(code, row["symbol"], row["en"], row["zh"], quantity, factor, offset)
            if any(dimension != dimensions[0] for dimension in dimensions):
                raise ValueError(f"units.toml: the units of {quantity} differ in dimension")
        self.units = MappingProxyType(found)

    def _rows(self, declaration: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
        pairs = declaration.get("units", "").split()
        for code, symbol in zip(pairs[::2], pairs[1::2], strict=True):
            terms = self.terms(symbol)
            names = {"en": self._name(terms, 0), "zh": self._name(terms, 1)}
            yield code, {"symbol": symbol, "is": f"1 {symbol}", **names}
        yield from declaration.get("named", {}).items()

    def terms(self, symbol: str) -> list[_Term]:
        """`kJ/(kg·K)` as terms; those below the stroke have negative powers."""
        above, _, below = symbol.partition("/")
        found = []
        for side, sign in ((above, 1), (below.strip("()"), -1)):
            for part in filter(None, side.split("·")):
                matched = _TERM.fullmatch(part)
                if matched is None:
                    raise ValueError(f"units.toml: {symbol}: not a product of units: {part}")
                if matched[1] != "1":
                    power = sign * int(matched[2].translate(_SUPERSCRIPTS) or 1)
                    found.append(_Term(*self._atom(matched[1]), power))
        return found

    def _atom(self, token: str) -> tuple[str, str]:
        for cut in range(3):
            if token[:cut] in self.prefixes and token[cut:] in self.atoms:
                return token[:cut], token[cut:]
        raise ValueError(f"units.toml: no such unit: {token}")

    def amount(self, text: str) -> tuple[Fraction, dict[str, int]]:
        """`1852/3600 m/s` as an exact number of coherent SI units, and their dimension as powers of base units."""
        number, _, symbol = text.partition(" ")
        factor, dimension = Fraction(number), dict[str, int]()
        for prefix, atom, power in self.terms(symbol):
            definition = self.atoms[atom][3]
            inner, parts = self.amount(definition) if definition else (Fraction(1), {atom: 1})
            factor *= (self.prefixes[prefix][2] * inner) ** power
            for base, exponent in parts.items():
                dimension[base] = dimension.get(base, 0) + exponent * power
        return factor, {base: exponent for base, exponent in dimension.items() if exponent}

    def _name(self, terms: list[_Term], language: int) -> str:
        above, below = [t for t in terms if t.power > 0], [t for t in terms if t.power < 0]
        if language == 1:
            name = "".join(self._chinese(t, len(above)) for t in above)
            return name + ("每" + "".join(self._chinese(t, len(below)) for t in below) if below else "")
        name = " ".join(map(self._english, above))
        return (
            f"{name or 'reciprocal'} {'per ' if name else ''}{' '.join(map(self._english, below))}" if below else name
        )

    def _english(self, term: _Term) -> str:
        name, power = self.prefixes[term.prefix][0] + self.atoms[term.atom][0], abs(term.power)
        if term.atom in _LENGTHS and power in (2, 3):
            return ("square " if power == 2 else "cubic ") + name
        return _POWERS_EN[power].format(name)

    def _chinese(self, term: _Term, company: int) -> str:
        whole, short = self.atoms[term.atom][1:3]
        name, power = self.prefixes[term.prefix][1] + (short if term.prefix or company > 1 else whole), abs(term.power)
        if term.atom in _LENGTHS and power in (2, 3):
            return ("平方" if power == 2 else "立方") + name
        return _POWERS_ZH[power].format(name)


@cache
def _tables() -> _Tables:
    return _Tables()


def _plain(text: str) -> str:
    """`km/h`, `KM/H`, `μg/m3` and `ug/m³` as people type them, in one form."""
    return re.sub(r"[\s·^]", "", text.casefold()).replace("μ", "u").translate(_SUPERSCRIPTS)


def _suggestion(text: str) -> str:
    """A code for what was probably meant: the same symbol or name, else a similar spelling."""
    for key in (str, _plain):
        for found in units().values():
            if key(text) in (key(found.symbol), key(found.code), key(found.name_en), key(found.name_zh)):
                return f"write {found.code} for {found.name_en} ({found.symbol})"
    names = {name: found for found in units().values() for name in (found.code.casefold(), found.name_en)}
    near = [names[name] for name in difflib.get_close_matches(text.casefold(), names, n=3)]
    return f"did you mean {', '.join(f'{u.code} ({u.name_en})' for u in near)}" if near else "see the list of units"
