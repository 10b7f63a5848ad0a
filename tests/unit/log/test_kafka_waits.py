"""For how long nothing that was sent has been acknowledged."""

from __future__ import annotations

from zerosum.log.kafka.sending import TRIED_S, Waits


def test_it_is_counted_from_the_first_message_that_waits_and_again_from_each_acknowledgement() -> None:
    waits = Waits()
    assert waits.seconds(5.0) == 0.0
    waits.sent(10.0)
    waits.sent(11.0)
    assert waits.seconds(13.0) == 3.0
    waits.ended(14.0, well=True)
    assert waits.seconds(15.0) == 1.0
    waits.ended(16.0, well=True)
    assert waits.seconds(99.0) == 0.0


def test_a_failure_is_no_acknowledgement_and_is_forgotten_when_nobody_tries_any_more() -> None:
    waits = Waits()
    waits.sent(10.0)
    waits.ended(40.0, well=False)
    assert (waits.seconds(41.0), waits.failures) == (31.0, 1)
    waits.sent(42.0)
    assert waits.seconds(50.0) == 40.0
    waits.ended(60.0, well=False)
    assert waits.seconds(60.0 + TRIED_S) == 50.0 + TRIED_S
    assert waits.seconds(61.0 + TRIED_S) == 0.0
    waits.sent(100.0)
    assert waits.seconds(100.2) < 0.3, "what was before is forgotten"
    waits.ended(100.5, well=True)
    assert waits.seconds(101.0) == 0.0
