"""AprilTags keep the form in which S4's cameras send them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from espfleet.domain.apriltags import check_tag, tag_message
from espfleet.domain.messages import ProtocolError

FIELDS = {"smartcam_ip": "192.0.2.9", "tag_id": 5, "yaw": -12.5, "distance_cm": 61.25, "timestamp": 123456}


def test_viewers_hear_the_same_flat_fields_and_when_the_hub_got_them() -> None:
    told = tag_message(check_tag({"event": "apriltag_data", **FIELDS}), 1_763_670_000_123)
    assert json.loads(told) == {"event": "apriltag_data", **FIELDS, "server_timestamp": 1_763_670_000.123}
    assert list(json.loads(told)) == ["event", *FIELDS, "server_timestamp"]


def test_the_older_nested_form_becomes_flat() -> None:
    assert check_tag({"event": "apriltag_data", "data": FIELDS}) == FIELDS


def test_nobody_can_set_the_time_of_the_hub() -> None:
    assert check_tag({**FIELDS, "server_timestamp": 1}) == FIELDS


@pytest.mark.parametrize(
    "values",
    [{}, {"tag_id": [1]}, {"tag_id": {"a": 1}}, {"yaw": float("nan")}, {"name": "x" * 65}, {"tag_id": 2**60},
     {"a\nb": 1}, {f"f{n}": n for n in range(33)}, {"event": "apriltag_data", "data": {}}],
)  # fmt: skip
def test_what_is_no_tag_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        check_tag(values)
