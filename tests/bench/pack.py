"""The pack that is measured: car parks with a derived value, a range, an index and three rules."""

from pathlib import Path

FILES = {
    "pack.toml": """\
[pack]
name = "bench"
implements = []
sector = "transport"
""",
    "entities.toml": """\
[entity.BenchParking]
grade = "open"
headline = ["availableSpotNumber"]

[entity.BenchParking.property]
name = { type = "text" }
location = { type = "point" }
totalSpotNumber = { type = "integer", min = 0 }
availableSpotNumber = { type = "integer", min = 0, max = "totalSpotNumber", index = true }
occupancy = { type = "number", unit = "C62", derive = "1 - availableSpotNumber / totalSpotNumber" }
""",
    "alerts.toml": """\
[alert.nearly_full]
on = "BenchParking"
when = "occupancy >= 0.95"
clear = "occupancy < 0.9"
for = "10 min"
severity = "info"

[alert.full]
on = "BenchParking"
when = "availableSpotNumber = 0"

[alert.emptying]
on = "BenchParking"
when = "rate(availableSpotNumber) < -500"
severity = "critical"
""",
    "sources.toml": """\
[source.gates]
connector = "file"
entity = "BenchParking"
files = ["gates-*.csv"]
id = "urn:ngsi-ld:BenchParking:{number}"
at = "time"
set = { availableSpotNumber = "cast(free as integer)" }
""",
    "text/en.toml": """\
[pack]
name = "Car parks"
about = "What the bench measures."

[entity.BenchParking]
name = "Car park"
property.name = "Name"
property.location = "Place"
property.totalSpotNumber = "Spaces"
property.availableSpotNumber = "Free spaces"
property.occupancy = "Occupancy"

[alert]
nearly_full = { name = "Nearly full", about = "95 % have been taken for ten minutes." }
full = { name = "Full", about = "No space is free." }
emptying = { name = "Filling fast", about = "More than 500 spaces a second are taken." }
""",
    "text/zh.toml": """\
[pack]
name = "停车场"
about = "用于性能测量。"

[entity.BenchParking]
name = "停车场"
property.name = "名称"
property.location = "位置"
property.totalSpotNumber = "总车位"
property.availableSpotNumber = "空余车位"
property.occupancy = "占用率"

[alert]
nearly_full = { name = "即将满位", about = "占用率达到 95% 并持续 10 分钟。" }
full = { name = "满位", about = "没有空余车位。" }
emptying = { name = "车位骤减", about = "每秒减少超过 500 个车位。" }
""",
    "README.md": "# bench\n\nCar parks that the bench measures.\n",
}


def write_pack(folder: Path) -> Path:
    """Write the pack below a folder of packs, and give that folder."""
    for name, text in FILES.items():
        file = folder / "bench" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder
