"""SWF's clock is the one that counts, and it is never taken to be ahead of itself."""

import time
from email.utils import formatdate

import pytest

from bridge.swf.clock import SwfClock, seconds_of


def test_swfs_time_is_told_by_its_last_answer_however_wrong_ours_is():
    clock = SwfClock()
    assert clock.now() is None
    for skew in (-600, 600, 0):
        swf = time.time() + skew
        assert clock.note(formatdate(swf, usegmt=True)) == int(swf)
        assert -1.0 <= clock.now() - swf <= 0.1


@pytest.mark.parametrize("date", ["", "soon", None, 7, "Mon, 99 Foo 2026 99:99:99 GMT", "\ud800"])
def test_a_date_that_is_none_is_not_taken_note_of(date):
    clock = SwfClock()
    clock.note("Sat, 28 Nov 2026 15:00:00 GMT")
    before = clock.now()
    assert clock.note(date) is None
    assert 0 <= clock.now() - before < 1


def test_a_date_without_a_zone_is_gmt():
    assert seconds_of("Thu, 01 Jan 1970 00:01:00 -0000") == 60
    assert seconds_of("Thu, 01 Jan 1970 00:01:00 GMT") == 60
