"""A pack with properties of every grade, whose secrets are values that stand nowhere else."""

from pathlib import Path
from typing import Any

OCCUPANTS, CONTACT, PATIENTS, SECRET_WARD = 731731, "needle-by-agreement", 828282, "needle-ward"
PLACE = [120.137313, 30.273131]
NEEDLES = (str(OCCUPANTS), CONTACT, str(PATIENTS), SECRET_WARD, "120.137", "30.2731", "0.000013")
"""What nobody unknown may read anywhere: values, a place, and what is derived from a closed value."""

FILES = {
    "pack.toml": '[pack]\nname = "guarded"\nimplements = []\nsector = "health"\n',
    "entities.toml": """\
[entity.Shelter]
grade = "open"
headline = ["beds", "occupants"]

[entity.Shelter.property]
name = { type = "text" }
beds = { type = "integer", min = 0 }
warmth = { type = "number", unit = "CEL", min = -40, max = 60, outside = "reject" }
status = { type = "text", values = ["open", "closed"] }
inspected = { type = "datetime" }
location = { type = "point", grade = "closed" }
occupants = { type = "integer", grade = "closed", index = true }
contact = { type = "text", grade = "agreement" }
crowding = { type = "number", derive = "beds / occupants" }

[entity.Ward.property]
name = { type = "text" }
location = { type = "point" }
patients = { type = "integer" }
""",
    "alerts.toml": """\
[alert.crowded]
on = "Shelter"
when = "occupants > beds"
severity = "critical"

[alert.few_beds]
on = "Shelter"
when = "beds < 20"

[alert.many_patients]
on = "Ward"
when = "patients > 0"
""",
    "text/en.toml": """\
[pack]
name = "Guarded"
about = "Shelters and wards."

[entity.Shelter]
name = "Shelter"
property.name = "Name"
property.beds = "Beds"
property.warmth = "Warmth"
property.status = { name = "Status", values.open = "Open", values.closed = "Closed" }
property.inspected = "Inspected"
property.location = "Place"
property.occupants = "Occupants"
property.contact = "Contact"
property.crowding = "Crowding"

[entity.Ward]
name = "Ward"
property.name = "Name"
property.location = "Place"
property.patients = "Patients"

[alert]
crowded = { name = "Crowded", about = "More people than beds." }
few_beds = { name = "Few beds", about = "Fewer than 20 beds." }
many_patients = { name = "Many patients", about = "There are patients." }
""",
    "text/zh.toml": """\
[pack]
name = "受限"
about = "庇护所和病房。"

[entity.Shelter]
name = "庇护所"
property.name = "名称"
property.beds = "床位"
property.warmth = "温度"
property.status = { name = "状态", values.open = "开放", values.closed = "关闭" }
property.inspected = "检查时间"
property.location = "位置"
property.occupants = "人数"
property.contact = "联系人"
property.crowding = "拥挤"

[entity.Ward]
name = "病房"
property.name = "名称"
property.location = "位置"
property.patients = "病人"

[alert]
crowded = { name = "拥挤", about = "人多于床位。" }
few_beds = { name = "床位少", about = "少于 20 张床位。" }
many_patients = { name = "有病人", about = "有病人。" }
""",
    "README.md": "# guarded\n\nShelters and wards for tests of who may see what.\n",
}
SHELTER, WARD = "urn:ngsi-ld:Shelter:1", f"urn:ngsi-ld:Ward:{SECRET_WARD}"
THINGS: list[dict[str, Any]] = [
    {
        "id": SHELTER,
        "type": "Shelter",
        "name": "North",
        "beds": 10,
        "location": {"type": "Point", "coordinates": PLACE},
        "occupants": OCCUPANTS,
        "contact": CONTACT,
    },
    {"id": "urn:ngsi-ld:Shelter:2", "type": "Shelter", "name": "South", "beds": 15},
    {
        "id": WARD,
        "type": "Ward",
        "name": SECRET_WARD,
        "location": {"type": "Point", "coordinates": PLACE},
        "patients": PATIENTS,
    },
]


def write_pack(folder: Path) -> Path:
    """Write the pack below a folder of packs, and give that folder."""
    for name, text in FILES.items():
        file = folder / "guarded" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder
