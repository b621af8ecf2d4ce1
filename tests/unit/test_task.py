import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.task import Completed, Failed, Heartbeat, cut, task_id, utf16_length
from tests.unit.bridge_parts import a_task

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
PAIR = "\U0001f600"
HALF = "\ud83d"


@pytest.mark.parametrize(
    ("text", "length"), [("", 0), ("abc", 3), ("é€", 2), (PAIR, 2), (HALF, 1), (f"a{PAIR}b", 4)]
)
def test_a_length_is_counted_in_utf16_code_units(text, length):
    assert utf16_length(text) == length


def test_a_text_at_the_limit_stays_as_it_is_and_one_beyond_ends_in_an_ellipsis():
    assert cut("x" * 256, 256) == "x" * 256
    assert cut("x" * 257, 256) == "x" * 255 + "…"
    assert cut(PAIR * 128, 256) == PAIR * 128


def test_a_cut_never_leaves_half_of_a_character():
    assert cut(PAIR * 129, 256) == PAIR * 127 + "…"
    assert cut("a" + PAIR * 128, 256) == "a" + PAIR * 127 + "…"


@given(ANY_TEXT, st.integers(1, 40))
def test_a_cut_fits_its_limit_and_begins_as_the_text_does(text, limit):
    found = cut(text, limit)
    assert utf16_length(found) <= limit
    if utf16_length(text) <= limit:
        assert found == text
    else:
        assert found.endswith("…")
        assert text.startswith(found[:-1])


def test_the_id_of_a_task_is_the_first_half_of_its_tokens_sha256():
    assert task_id("token") == hashlib.sha256(b"token").hexdigest()[:32]
    assert a_task("token").id == Completed("token").task == task_id("token")


@given(ANY_TEXT)
def test_any_token_has_an_id_that_does_not_tell_it(token):
    found = task_id(token)
    assert len(found) == 32
    assert set(found) <= set("0123456789abcdef")


def test_neither_a_task_nor_a_reply_tells_its_token_or_its_contents():
    secret = "s3cret"
    shown = [
        a_task(secret, input=secret),
        Completed(secret, secret),
        Failed(secret, secret, secret),
        Heartbeat(secret, secret),
    ]
    for each in shown:
        assert secret not in repr(each)
        assert task_id(secret) in repr(each)
