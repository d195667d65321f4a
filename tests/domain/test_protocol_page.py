"""The examples of docs/protocol.md are the golden messages, all of them."""

from __future__ import annotations

import re
from pathlib import Path

from espfleet.domain.closing import CloseCode

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "protocol.md").read_text()
#: Golden messages that show a lesser form of another one.
LESSER = {"hello_least", "welcome_no_room", "refused"}


def test_each_example_is_a_golden_message_and_each_golden_message_an_example() -> None:
    golden = {
        path.read_text().strip() for path in (ROOT / "tests" / "golden").glob("*.json") if path.stem not in LESSER
    }
    shown = {line for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()}
    assert shown == golden


def test_each_close_code_is_explained() -> None:
    table = PAGE.partition("## How it ends")[2].partition("\n## ")[0]
    assert not [code for code in CloseCode if not re.search(rf"^\| {code.value} \|", table, re.MULTILINE)]
