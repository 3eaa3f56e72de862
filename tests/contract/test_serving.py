"""The same server over either database: what one process wrote, the next one serves."""

from pathlib import Path

import httpx

from tests.server import Server

CAR_PARK = {
    "id": "urn:ngsi-ld:OffStreetParking:1",
    "type": "OffStreetParking",
    "totalSpotNumber": 100,
    "availableSpotNumber": {"type": "Property", "value": 20, "observedAt": "2026-05-01T02:00:00Z"},
}
PATH = f"/ngsi-ld/v1/entities/{CAR_PARK['id']}"


def test_a_restarted_server_serves_what_was_acknowledged(database_url: str, tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--open", "--store", database_url) as server:
        made = httpx.post(f"{server.url}/ngsi-ld/v1/entities", json=CAR_PARK, trust_env=False)
        assert made.status_code == 201, made.text
        server.kill()
        server.start()
        answer = httpx.get(f"{server.url}{PATH}?options=keyValues", trust_env=False).json()
        assert (answer["availableSpotNumber"], answer["occupancy"]) == (20, 0.8)
        history = httpx.get(f"{server.url}/ngsi-ld/v1/temporal{PATH[11:]}?options=temporalValues", trust_env=False)
        assert history.json()["availableSpotNumber"]["values"] == [[20, "2026-05-01T02:00:00Z"]]
        found = httpx.get(
            f"{server.url}/ngsi-ld/v1/entities",
            params={"type": "OffStreetParking", "q": "availableSpotNumber<=20;occupancy>0.5", "count": "true"},
            trust_env=False,
        )
        assert found.headers["NGSILD-Results-Count"] == "1"
