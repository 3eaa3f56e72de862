"""What the portal reads in a pack: views.toml."""

from typing import Annotated

from msgspec import Meta, Struct

from hutong.engines.sense.declarations import EntitiesFile
from hutong.kernel.packs import NAMED, Faults, Packs


class FigureDeclaration(Struct, forbid_unknown_fields=True, kw_only=True):
    """A key figure of a platform: a sum over its things that report; silent and suspect ones are left out."""

    on: Annotated[str, Meta(description="the type of the things it sums over")]
    total: Annotated[str, Meta(description="the property summed")]
    of: Annotated[
        str, Meta(description="the property whose sum over the same things is the whole that it is a part of")
    ] = ""


class ViewsFile(Struct, forbid_unknown_fields=True):
    """views.toml"""

    figure: Annotated[
        dict[str, FigureDeclaration], Meta(description="key figures by name, most important first", extra=NAMED)
    ]


FILES = {"views.toml": ViewsFile}


def check_views(packs: Packs, faults: Faults) -> None:
    """Key figures sum numbers of types that the same pack declares."""
    for pack, views in packs.of(ViewsFile):
        entities = next((file for file in pack.files.values() if isinstance(file, EntitiesFile)), None)
        types = entities.entity if entities else {}
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
