import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika.spec import Basic

from bridge.message.routing import KEY_LIMIT, ROUTING_FIELDS, RoutingKey, fit
from tests.unit.bridge_parts import a_task

LETTERS = st.characters(exclude_categories=["Cc"], exclude_characters=":/|")
NAME = st.text(LETTERS, min_size=1, max_size=256)
WHOLE = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=256)
TYPE = st.tuples(NAME, NAME.map(lambda name: name[:64]))
DEFAULT = RoutingKey("{name}.{version}")


def key_of(name: str, version: str) -> str:
    return DEFAULT.of(a_task(name=name, version=version))


def test_the_fields_stand_in_the_key_as_they_are():
    assert key_of("Greeter.say", "1.0") == "Greeter.say.1.0"
    assert key_of("a *#\u00e9", "1") == "a *#\u00e9.1"
    full = RoutingKey(".".join("{" + field + "}" for field in ROUTING_FIELDS))
    assert full.of(a_task()) == "demo.list.Greeter.say.1.0"


@given(TYPE)
def test_any_name_that_swf_allows_gives_a_key_that_amqp_takes_the_same_each_time(activity):
    key = key_of(*activity)
    assert key == RoutingKey("{name}.{version}").of(
        a_task("other", name=activity[0], version=activity[1])
    )
    frame = b"".join(Basic.Publish(exchange="x", routing_key=key).encode())
    assert Basic.Publish().decode(frame).routing_key == key


@pytest.mark.parametrize("letter", ["a", "\u00e9", "\u20ac", "\U0001f600"])
def test_a_key_of_255_bytes_stays_and_one_of_256_is_cut_and_hashed(letter):
    room = KEY_LIMIT - len(".1")
    size = len(letter.encode())
    name = letter * (room // size) + "a" * (room % size)
    assert key_of(name, "1") == name + ".1"
    assert len((name + ".1").encode()) == KEY_LIMIT

    cut = key_of(name + "a", "1")
    kept, mark, digits = cut.rpartition("~")
    assert mark
    assert digits == hashlib.sha256(f"{name}a.1".encode()).hexdigest()[:16]
    assert name.startswith(kept)
    assert KEY_LIMIT - size < len(cut.encode()) <= KEY_LIMIT


@given(WHOLE, WHOLE)
def test_keys_over_255_bytes_of_different_types_differ(one, other):
    filler = "x" * KEY_LIMIT
    assert (key_of(filler + one, "1") == key_of(filler + other, "1")) is (one == other)


def test_half_a_surrogate_pair_becomes_a_replacement_character():
    assert fit("a\ud83db") == "a\ufffdb"
    assert fit("\ud83d\ude00") == "\U0001f600"


@pytest.mark.parametrize(
    "template",
    ["{nam}", "{}", "{0}", "{name!r}", "{name:>9}", "{name.upper}", "{name[0]}", "{", "}"],
)
def test_a_template_with_anything_but_the_plain_fields_is_refused(template):
    with pytest.raises(ValueError, match=r".+"):
        RoutingKey(template)
