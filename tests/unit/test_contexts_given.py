"""@contexts from files of this machine, given on the command line."""

from pathlib import Path

import pytest

from hutong.cli.contexts import read_contexts
from hutong.kernel.errors import InvalidInput

pytestmark = pytest.mark.unit


def test_a_file_is_known_by_its_address(tmp_path: Path) -> None:
    (tmp_path / "c.jsonld").write_text('{"@context": {"a": "https://example.org/a"}}')
    found = read_contexts([f"https://example.org/x=1.jsonld={tmp_path / 'c.jsonld'}"])
    assert found == {"https://example.org/x=1.jsonld": {"@context": {"a": "https://example.org/a"}}}


def test_a_folder_is_laid_out_by_address(tmp_path: Path) -> None:
    (tmp_path / "example.org").mkdir()
    (tmp_path / "example.org" / "c.jsonld").write_text('{"@context": {}}')
    assert set(read_contexts([str(tmp_path)])) == {f"{s}://example.org/c.jsonld" for s in ("http", "https")}


@pytest.mark.parametrize(
    ("text", "told"), [("{", "cannot be read as JSON"), ("[]", "no @context in this file"), (None, "cannot be read")]
)
def test_a_file_that_is_no_context_is_named(tmp_path: Path, text: str | None, told: str) -> None:
    file = tmp_path / "c.jsonld"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidInput, match=told) as caught:
        read_contexts([f"http://example.org/c={file}"])
    assert str(file) in str(caught.value)


def test_what_is_neither_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no @context"):
        read_contexts(["example.org"])
