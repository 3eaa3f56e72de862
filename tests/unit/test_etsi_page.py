"""The runner of the public ETSI suite: what it reads from Robot Framework's output, and the page it writes."""

from pathlib import Path

import pytest

from tests.conformance.etsi.cases import REASON_LENGTH_MAX, Case, read_cases
from tests.conformance.etsi.page import LATER, TAGGED, UNTAGGED, class_of, counts, page

pytestmark = pytest.mark.unit

OUTPUT = """<robot generator="Robot 7.4.1"><suite name="NGSI-LD" source="/x/TP/NGSI-LD">
<suite name="001 01" source="/x/TP/NGSI-LD/ContextInformation/Provision/Entities/CreateEntity/001_01.robot">
<test name="001_01_01 Create"><tag>5_6_1</tag><status status="PASS"/></test>
<test name="001_01_02 Create Again"><status status="FAIL">expected: 201 != 504 |
of http://localhost:9330/x/urn:x:1234567890123456

Also teardown failed:
404</status></test>
<test name="001_01_03 Tagged"><tag>since_v1.5.1</tag><tag>since_v1.8.1</tag><status status="PASS"/></test>
<test name="001_01_04 Later"><tag>since_v1.9.1</tag><status status="FAIL">{long}</status></test>
</suite>
<suite name="tenants" source="/x/TP/NGSI-LD/CommonBehaviours/Tenancy/060_01.robot">
<test name="060_01_01 Unknown"><tag>since_v1.10.1</tag><status status="SKIP">no</status></test>
</suite></suite></robot>"""


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    output = tmp_path / "output.xml"
    output.write_text(OUTPUT.replace("{long}", "x" * 1000), encoding="utf-8")
    return read_cases(output)


def test_a_case_has_its_folder_its_version_and_its_reason(cases: list[Case]) -> None:
    assert [case.id for case in cases] == ["001_01_01", "001_01_02", "001_01_03", "001_01_04", "060_01_01"]
    assert [class_of(case) for case in cases] == [UNTAGGED, UNTAGGED, TAGGED, LATER, LATER]
    assert cases[0].group == "ContextInformation/Provision/Entities"
    assert cases[4].group == "CommonBehaviours/Tenancy"
    assert cases[1].reason == "expected: 201 != 504 | of http://…/x/urn:x:…"
    assert len(cases[3].reason) == REASON_LENGTH_MAX


def test_only_what_passed_counts_as_passed(cases: list[Case]) -> None:
    found = counts(cases)
    assert str(found[""][UNTAGGED]) == "1 of 2"
    assert found[""][UNTAGGED].share == "50.0%"
    assert str(found["ContextInformation/Provision/Entities"][TAGGED]) == "1 of 1"
    assert str(found["CommonBehaviours/Tenancy"][LATER]) == "0 of 1"


def test_the_page_lists_each_failing_case_with_what_is_known_of_it(cases: list[Case]) -> None:
    text = page(cases, {"001_01_02": "its file is not in the suite"}, "2026-05-01")
    promised, _, later = text.partition("## Failing cases of later versions")
    assert "| ContextInformation/Provision/Entities | 1 of 2 | 1 of 1 | 0 of 1 |" in promised
    assert "| share | 50.0% | 100.0% | 0.0% |" in promised
    assert "its file is not in the suite (expected: 201 != 504 \\|" in promised
    assert "001_01_01" not in text
    assert "001_01_04" in later
    assert "001_01_04" not in promised
