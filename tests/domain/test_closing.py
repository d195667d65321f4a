from __future__ import annotations

from espfleet.domain.closing import REASON_BYTES, fit_reason, restart_reason, retry_after_ms


def test_a_restart_says_when_to_come_back() -> None:
    assert retry_after_ms(restart_reason(2_345)) == 2_345


def test_other_reasons_ask_for_no_wait() -> None:
    assert retry_after_ms("too slow") is None
    assert retry_after_ms("retry_after_ms=soon") is None


def test_a_long_reason_is_cut_between_characters_so_that_a_close_frame_holds_it() -> None:
    assert fit_reason("too slow") == "too slow"
    for reason in ("x" * 200, "ü" * 100, "€" * 60, "🙂" * 40):
        cut = fit_reason(reason)
        assert len(cut.encode()) <= REASON_BYTES
        assert cut.endswith("…")
        assert set(cut[:-1]) == {reason[0]}
