"""The mission: what the plans ask for, as data."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hutong.kernel.mission import Mission, packaged_mission, read_mission


@pytest.fixture(scope="module")
def mission() -> Mission:
    return read_mission()


def test_nothing_of_the_mission_is_missing(mission: Mission) -> None:
    assert len(mission.platforms) == 162
    assert Counter(function.kind for function in mission.functions().values()) == {"runs": 513, "tracked": 32}
    assert len(mission.sectors) == 22
    assert sum(len(platform.asked) for platform in mission.platforms.values()) == 448
    assert {platform.sector for platform in mission.platforms.values()} == mission.sectors.keys()


def test_a_platform_reads_as_written(mission: Mission) -> None:
    platform = mission.platforms["smart_parking_guidance_system"]
    assert platform.zh.startswith("智能停车诱导系统")
    assert (platform.sector, platform.kind, platform.engines) == ("transport", "software", ("sense", "match"))
    assert [function.id.partition("/")[2] for function in platform.functions] == [
        "public_parking_information",
        "collect_real_time",
        "publish_dynamic_parking",
    ]
    assert [(asked.city, asked.lead) for asked in platform.asked] == [
        ("hangzhou", ("市城管委",)),
        ("yichun", ("市人社局",)),
    ]
    assert mission.sectors["transport"].zh == "交通"


def test_every_function_says_what_must_be_possible(mission: Mission) -> None:
    for platform in mission.platforms.values():
        assert platform.functions, platform.id
        assert platform.engines, platform.id
        for function in platform.functions:
            assert function.id.startswith(f"{platform.id}/")
            assert len(function.text) > 20, function.id


def test_it_is_said_in_words_of_ours(mission: Mission, shared: Callable[[str], Path]) -> None:
    plans = "".join(re.sub(r"\s", "", path.read_text(encoding="utf-8")) for path in shared("policies").glob("*.txt"))
    texts = [
        text
        for platform in mission.platforms.values()
        for text in (platform.zh, *(function.text for function in platform.functions))
    ]
    runs = [run for text in texts for run in re.findall(r"[\u4e00-\u9fff，。；：、]{16,}", text)]
    assert [run for run in runs if any(run[n : n + 16] in plans for n in range(len(run) - 15))] == []


def test_a_key_that_nothing_reads_is_refused(tmp_path: Path) -> None:
    text = (packaged_mission() / "credit.toml").read_text(encoding="utf-8")
    (tmp_path / "credit.toml").write_text(text.replace("kind =", "kin =", 1), encoding="utf-8")
    with pytest.raises(msgspec.ValidationError):
        read_mission(tmp_path)
