"""Between pika and plain values: what workers send passes, whatever pika thinks of it."""

import importlib.util
import math
import ssl
import struct
import time
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pika import data, frame, spec
from pika.credentials import ExternalCredentials, PlainCredentials
from pika.exceptions import (
    AMQPError,
    ConnectionClosedByBroker,
    InvalidFrameError,
    ProbableAccessDeniedError,
)
from pika.spec import BasicProperties

from bridge.message.message import CUT_HEADER, UNDECODABLE_HEADERS, Message
from bridge.rabbitmq import pika_tables
from bridge.rabbitmq.amqp import (
    BODY_LIMIT,
    IOLoop,
    Refusal,
    SelectConnection,
    Tls,
    cause,
    from_pika,
    limit_bodies,
    parameters,
    refusal,
    to_pika,
)
from bridge.rabbitmq.consuming.copies import dead_letter
from tests.authority import Authority


def pikas_own():
    """pika's module of tables once more, as it is without us."""
    spec = importlib.util.find_spec("pika.data")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PIKAS_OWN = pikas_own()
pika_tables.install()


def table(*fields: bytes) -> bytes:
    """A table on the wire; each field is `short_name + kind + value`."""
    inner = b"".join(fields)
    return struct.pack(">I", len(inner)) + inner


def field(name: bytes, kind: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + kind + value


def decoded(encoded: bytes) -> dict:
    found, offset = data.decode_table(b"before" + encoded + b"behind", len(b"before"))
    assert offset == len(b"before" + encoded)
    return found


def encoded(headers: dict) -> bytes:
    pieces: list[bytes] = []
    data.encode_table(pieces, headers)
    return b"".join(pieces)


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=30), max_size=2))
@example({"é" * 127: "€" * 300, "": ""})
@example({str(number): "é" * number for number in range(12)})
def test_a_table_of_text_is_encoded_as_pika_encodes_it(headers):
    pieces: list[bytes] = []
    assert data.encode_table(pieces, headers) == len(b"".join(pieces))
    theirs: list[bytes] = []
    PIKAS_OWN.encode_table(theirs, headers)
    assert b"".join(pieces) == b"".join(theirs)


def through_the_wire(properties: BasicProperties) -> dict:
    return from_pika(BasicProperties().decode(b"".join(properties.encode())))


# --- tables ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "meant"),
    [
        (b"t", b"\x01", True),
        (b"b", b"\xff", -1),
        (b"B", b"\xff", 255),
        (b"s", struct.pack(">h", -2), -2),
        (b"u", struct.pack(">H", 65535), 65535),
        (b"I", struct.pack(">i", -3), -3),
        (b"i", struct.pack(">I", 2**32 - 1), 2**32 - 1),
        (b"l", struct.pack(">q", -(2**63)), -(2**63)),
        (b"f", struct.pack(">f", 0.25), 0.25),
        (b"d", struct.pack(">d", 0.1), 0.1),
        (b"D", struct.pack(">Bi", 2, 314), Decimal("3.14")),
        (b"S", struct.pack(">I", 2) + "é".encode(), "é"),
        (b"S", struct.pack(">I", 1) + b"\xff", b"\xff"),
        (b"x", struct.pack(">I", 1) + b"a", b"a"),
        (b"T", struct.pack(">Q", 1700000000), datetime.fromtimestamp(1700000000, UTC)),
        (b"V", b"", None),
        (b"A", struct.pack(">I", 2) + b"VV", [None, None]),
        (b"F", table(field(b"n", b"V", b"")), {"n": None}),
    ],
)
def test_a_value_of_every_kind_is_read_and_can_be_sent_again(kind, value, meant):
    found = decoded(table(field(b"a", kind, value)))
    assert found == {"a": meant}
    assert decoded(encoded(found)) == found


@pytest.mark.parametrize("year_in", [1_700_000_000_000, 2**64 - 1])
def test_a_timestamp_in_milliseconds_costs_the_headers_and_not_the_message(year_in):
    found = decoded(table(field(b"at", b"T", struct.pack(">Q", year_in))))
    assert set(found) == {UNDECODABLE_HEADERS}


def nested(depth: int, kind: bytes) -> bytes:
    inner = b"V" if kind == b"A" else b""
    for _ in range(depth):
        name = b"" if kind == b"A" else b"\x01n"
        inner = name + kind + struct.pack(">I", len(inner)) + inner
    return table(inner if kind == b"F" else b"\x01n" + inner)


@pytest.mark.parametrize("kind", [b"A", b"F"])
def test_what_is_nested_past_reason_costs_the_headers_and_not_the_message(kind):
    assert set(decoded(nested(40, kind))) == {"n"}
    for depth in (51, 230, 260, 500, 20_000):
        assert set(decoded(nested(depth, kind))) == {UNDECODABLE_HEADERS}
    assert set(decoded(nested(40, kind))) == {"n"}


@pytest.mark.parametrize("kind", [b"A", b"F"])
def test_a_table_with_more_values_than_any_worker_needs_is_not_decoded(kind):
    def of(values):
        piece = b"V" if kind == b"A" else b"\0V"
        return table(field(b"n", kind, struct.pack(">I", len(piece) * values) + piece * values))

    assert set(decoded(of(999))) == {"n"}
    assert set(decoded(of(1_000))) == {UNDECODABLE_HEADERS}
    assert set(decoded(table(*[b"\0V"] * 60_000))) == {UNDECODABLE_HEADERS}
    assert set(decoded(of(999))) == {"n"}


@pytest.mark.parametrize(
    "inner",
    [
        b"\x01",  # ends within a name
        field(b"a", b"?", b""),  # a kind that does not exist
        field(b"a", b"S", struct.pack(">I", 99) + b"x"),  # longer than its table
        field(b"a", b"S", struct.pack(">I", 2**32 - 1)),
        field(b"a", b"F", struct.pack(">I", 99)),
        field(b"a", b"A", struct.pack(">I", 2) + b"VI\0\0"),  # ends behind its table
    ],
)
def test_a_table_that_is_damaged_ends_where_it_says_that_it_ends(inner):
    assert set(decoded(table(inner))) == {UNDECODABLE_HEADERS}


@given(st.binary(max_size=120))
@example(b"\xff" * 40)
def test_any_bytes_are_a_table_or_headers_that_cannot_be_decoded(inner):
    found = decoded(table(inner))
    if UNDECODABLE_HEADERS not in found:
        message = dead_letter("q", b"", {"headers": found}, "not-json", "why")
        to_pika(message, "1-1", "swf-bridge-attempt").encode()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)).map(
        lambda at: at.replace(microsecond=0, tzinfo=UTC)
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3)
    ),
    max_leaves=4,
)


@given(st.dictionaries(st.text(max_size=60), VALUES, max_size=3))
@example({str(number): number for number in range(12)})
def test_any_headers_come_back_as_they_were_sent(headers):
    assert decoded(encoded(headers)) == headers


# --- properties --------------------------------------------------------------------------------


def test_properties_keep_their_names_and_the_attempt_is_added_to_the_headers():
    given_ = {"correlation_id": "c", "delivery_mode": 2, "timestamp": 7, "headers": {"mine": 1}}
    found = through_the_wire(to_pika(Message("", "q", b"", given_), "1-1", "swf-bridge-attempt"))
    assert found == {**given_, "headers": {"mine": 1, "swf-bridge-attempt": "1-1"}}


def test_headers_are_there_also_where_none_were_sent():
    assert through_the_wire(BasicProperties()) == {"headers": {}}


def test_a_header_name_that_is_not_utf8_costs_the_headers_and_not_the_message():
    found = through_the_wire(BasicProperties(correlation_id="c", headers={b"\xfe": "x"}))
    assert found["correlation_id"] == "c"
    assert set(found["headers"]) == {UNDECODABLE_HEADERS}


def test_a_property_that_is_not_utf8_stays_in_bytes_and_can_be_sent_again():
    found = through_the_wire(BasicProperties(correlation_id=b"\xff" * 255))
    message = dead_letter("q", b"", found, "not-json", "why")
    again = through_the_wire(to_pika(message, "1-1", "swf-bridge-attempt"))
    assert again["correlation_id"] == b"\xff" * 255


def test_properties_behind_headers_that_cannot_be_decoded_are_read():
    flags = BasicProperties.FLAG_HEADERS | BasicProperties.FLAG_CORRELATION_ID
    bad = table(field(b"at", b"T", struct.pack(">Q", 2**63)))
    raw = struct.pack(">H", flags) + bad + b"\x01c"
    found = from_pika(BasicProperties().decode(raw))
    assert found["correlation_id"] == "c"
    assert set(found["headers"]) == {UNDECODABLE_HEADERS}


def test_pika_itself_is_as_strict_as_before_with_what_we_send():
    with pytest.raises((AMQPError, TypeError)):
        encoded({"a": object()})
    with pytest.raises(AMQPError):
        encoded({"a" * 256: 1})


# --- connecting --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("tls")).issue("worker")
    return made.cert, made.key


def test_a_connection_is_watched_and_never_ended_for_being_blocked():
    found = parameters("amqp://ann:s3cret@broker:5673/%2Fv", Tls(), "publisher")
    assert (found.host, found.port, found.virtual_host) == ("broker", 5673, "/v")
    assert found.credentials == PlainCredentials("ann", "s3cret")
    assert found.heartbeat == 8
    assert found.connection_attempts == 1
    assert found.blocked_connection_timeout is None
    assert found.ssl_options is None
    assert found.client_properties["connection_name"].startswith("swf-bridge publisher ")


def test_amqps_checks_the_brokers_name_and_certificate():
    found = parameters("amqps://ann:s3cret@broker", Tls(), "publisher")
    assert found.port == 5671
    assert found.ssl_options.server_hostname == "broker"
    assert found.ssl_options.context.verify_mode == ssl.CERT_REQUIRED
    assert found.ssl_options.context.check_hostname
    assert found.credentials == PlainCredentials("ann", "s3cret")


def test_a_ca_of_ones_own_is_the_only_one_trusted(tmp_path):
    authority = Authority(tmp_path)
    found = parameters("amqps://ann:s3cret@broker", Tls(ca=authority.ca), "publisher")
    assert len(found.ssl_options.context.get_ca_certs()) == 1


def test_a_certificate_logs_in_where_the_address_names_nobody(certificate):
    tls = Tls(cert=certificate[0], key=certificate[1])
    assert isinstance(parameters("amqps://broker", tls, "p").credentials, ExternalCredentials)
    named = parameters("amqps://ann:s3cret@broker", tls, "p").credentials
    assert named == PlainCredentials("ann", "s3cret")


def test_a_certificate_that_cannot_be_read_is_an_error_of_this_address(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        parameters("amqps://broker", Tls(ca=tmp_path / "missing"), "p")


# --- headers that only the bridge may set -------------------------------------------------------


def received(body: bytes, headers: dict) -> tuple[bytes, dict]:
    channel = SimpleNamespace()
    limit_bodies(channel)
    bodies = channel._content_assembler
    bodies.process(frame.Method(1, spec.Basic.Deliver()))
    complete = bodies.process(frame.Header(1, len(body), BasicProperties(headers=headers)))
    for at in range(0, len(body), 2**17):
        complete = bodies.process(frame.Body(1, body[at : at + 2**17]))
    return complete[2], complete[1].properties.headers


@pytest.mark.parametrize("body", [b"", b"abc"])
def test_a_worker_cannot_say_that_its_body_was_cut(body):
    assert received(body, {CUT_HEADER: 10**9, "a": "b"}) == (body, {"a": "b"})
    assert received(body, None) == (body, None)


def test_a_body_that_was_cut_and_published_again_keeps_its_full_size():
    body, headers = received(b"x" * (BODY_LIMIT + 1), {CUT_HEADER: 7})
    assert len(body) == BODY_LIMIT
    assert received(body, headers) == (body, {CUT_HEADER: BODY_LIMIT + 1})


def test_a_worker_cannot_say_that_its_headers_were_left_out():
    assert decoded(encoded({UNDECODABLE_HEADERS: "why", "a": "b"})) == {"a": "b"}


# --- frames ------------------------------------------------------------------------------------


class Reading(SelectConnection):
    """Only what reads: the frames that come out of the bytes that are put in."""

    LOOP = IOLoop()

    def __init__(self):
        super().__init__(custom_ioloop=self.LOOP, internal_connection_workflow=False)
        self.frames: list[object] = []

    def _process_frame(self, frame_value):
        self.frames.append(frame_value)


FRAMES = st.one_of(
    st.builds(frame.Heartbeat),
    st.builds(frame.Body, st.integers(1, 9), st.binary(max_size=300)),
    st.builds(lambda tag: frame.Method(1, spec.Basic.Ack(delivery_tag=tag)), st.integers(1, 2**40)),
    st.builds(
        lambda size: frame.Header(1, size, BasicProperties(message_id="x")), st.integers(0, 2**40)
    ),
)


@given(st.lists(FRAMES, max_size=20), st.lists(st.integers(1, 400), min_size=1))
def test_frames_are_read_whole_however_the_bytes_come(frames, sizes):
    encoded = b"".join(each.marshal() for each in frames)
    reading, rest, number = Reading(), encoded, 0
    while rest:
        size = sizes[number % len(sizes)]
        reading._on_data_available(rest[:size])
        rest, number = rest[size:], number + 1
    assert [each.marshal() for each in reading.frames] == [each.marshal() for each in frames]
    assert reading.bytes_received == len(encoded)


def test_the_header_with_which_rabbitmq_refuses_our_protocol_is_read():
    reading = Reading()
    reading._on_data_available(b"AMQP\0\0\x09\x01")
    assert isinstance(reading.frames[0], frame.ProtocolHeader)


def test_what_is_no_frame_is_an_error_at_once():
    with pytest.raises(InvalidFrameError):
        Reading()._on_data_available(b"HTTP/1.1 400 Bad Request")
    with pytest.raises(InvalidFrameError):
        Reading()._on_data_available(frame.Heartbeat().marshal()[:-1] + b"\0")


def test_many_small_frames_that_come_at_once_take_time_in_proportion_to_their_number():
    def least(count: int) -> float:
        received = frame.Heartbeat().marshal() * count
        taken = []
        for _ in range(3):
            started = time.process_time()
            Reading()._on_data_available(received)
            taken.append(time.process_time() - started)
        return min(taken)

    assert math.log(least(40_000) / least(5_000), 8) < 1.6


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("access to vhost '/' refused for user 'a': connection limit (3) is reached", "LIMIT"),
        ("connection refused for user 'a': user connection limit (3) is reached", "LIMIT"),
        ("connection refused: node connection limit (3) is reached", "LIMIT"),
        (
            "number of channels opened for user 'a' has reached the maximum allowed user limit of"
            " (3)",
            "LIMIT",
        ),
        ("vhost connection limit not found", "LOGIN"),
        ("access to vhost \"a's\" refused for user 'b'", "LOGIN"),
    ],
)
def test_a_refusal_that_pika_has_wrapped_is_told_in_rabbitmqs_words(words, kind):
    closed = ConnectionClosedByBroker(530, f"NOT_ALLOWED - {words}")
    wrapped = ProbableAccessDeniedError(repr(closed))
    assert cause(wrapped) == cause(closed) == f"530 NOT_ALLOWED - {words}"
    assert refusal(wrapped) is refusal(closed) is Refusal[kind]


@pytest.mark.parametrize("text", ["x", "ConnectionClosedByBroker: (530) 'cut", "(530) f(x)", ""])
def test_another_text_is_told_as_it_is(text):
    assert cause(ProbableAccessDeniedError(text)) == (text or "ProbableAccessDeniedError")


def test_what_could_not_be_reached_has_refused_nothing():
    assert refusal(ConnectionRefusedError(111, "Connection refused")) is None
    assert refusal(ConnectionClosedByBroker(320, "CONNECTION_FORCED - limit (3)")) is None
    assert refusal(None) is None
