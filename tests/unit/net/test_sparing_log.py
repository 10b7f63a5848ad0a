"""A log that no stranger can flood."""

import structlog

from zerosum.net.sparing_log import SparingLog


def test_a_log_of_clients_faults_is_bounded_and_says_what_it_left_out() -> None:
    now_s = 100.0
    with structlog.testing.capture_logs() as said:
        log = SparingLog("x", lines_max=2, period_s=5.0, clock_s=lambda: now_s)
        for number in range(5):
            log.warning("refused", number=number)
        log.warning("closed")
        now_s += 4.9
        log.warning("refused", number=5)
        now_s += 0.1
        log.warning("refused", number=6)
        log.error("refused", number=7)
        log.error("refused", number=8)
    assert [(each["event"], each["log_level"], each.get("number"), each.get("left_out")) for each in said] == [
        ("refused", "warning", 0, None),
        ("refused", "warning", 1, None),
        ("closed", "warning", None, None),
        ("refused", "warning", 6, 4),
        ("refused", "error", 7, None),
    ]
