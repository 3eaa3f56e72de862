"""What the portal reads in a pack: views.toml."""

from typing import Annotated

from msgspec import Meta, Struct

from hutong.engines.sense.declarations import EntitiesFile
from hutong.kernel.packs import NAMED, Faults, Packs


class FigureDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """A key figure of a platform: a sum over its things that report; silent and suspect ones are left out.

    Without `total` it counts the things that report, of all that there are.
    """

    on: Annotated[str, Meta(description="the type of the things it sums over")]
    total: Annotated[
        str, Meta(description="the property summed; without it, how many things report, of all that there are")
    ] = ""
    of: Annotated[
        str, Meta(description="the property whose sum over the same things is the whole that it is a part of")
    ] = ""


class ColourDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """A property of listed values, each with a colour that a standard gives it."""

    by: Annotated[str, Meta(description="the property, which has `values`")]
    colours: Annotated[
        dict[str, Annotated[str, Meta(pattern=r"^#[0-9a-f]{6}$", examples=["#ffcc00"])]],
        Meta(description="a colour for each value"),
    ]


class ViewsFile(Struct, forbid_unknown_fields=True):
    """views.toml"""

    figure: Annotated[
        dict[str, FigureDeclaration], Meta(description="key figures by name, most important first", extra=NAMED)
    ] = {}
    colour: Annotated[
        dict[str, ColourDeclaration],
        Meta(description="for types by name: the property that colours its things on maps and in lists"),
    ] = {}


FILES = {"views.toml": ViewsFile}


def check_views(packs: Packs, faults: Faults) -> None:
    """Key figures sum numbers of types that the same pack declares."""
    for pack, views in packs.of(ViewsFile):
        entities = next((file for file in pack.files.values() if isinstance(file, EntitiesFile)), None)
        types = entities.entity if entities else {}
        for name, colour in views.colour.items():
            declared = types[name].property.get(colour.by) if name in types else None
            values = declared.values or [] if declared else []
            for seen in [colour.by] if not values else [one for one in colour.colours if one not in values]:
                faults.add(
                    "unknown-property",
                    "no such value, or a property without listed values",
                    seen=seen,
                    where=pack.where("views.toml", "colour", name),
                    allowed=", ".join(values) or "a type of this pack, and a property of it with `values`",
                )
        for name, figure in views.figure.items():
            numbers = (
                [key for key, declared in types[figure.on].property.items() if declared.type in ("integer", "number")]
                if figure.on in types
                else []
            )
            if figure.on not in types:
                faults.add(
                    "unknown-type",
                    "the pack declares no such type",
                    seen=figure.on,
                    where=pack.where("views.toml", "figure", name, "on"),
                    allowed=", ".join(types),
                )
                continue
            for key in ("total", "of"):
                seen = getattr(figure, key)
                if seen and seen not in numbers:
                    faults.add(
                        "unknown-property",
                        "no such number of this type",
                        seen=seen,
                        where=pack.where("views.toml", "figure", name, key),
                        allowed=", ".join(numbers),
                    )
