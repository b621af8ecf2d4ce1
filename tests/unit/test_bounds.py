import json
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.bounds import DEPTH, END, TooDeep, TooLarge, decode_json, texts_at_ends
from bridge.daemon import THREAD_STACK

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def nested(opening: str, levels: int) -> str:
    closing = {"[": "]", '{"a":': "}"}[opening]
    return opening * levels + "1" + closing * levels


@given(VALUES, st.booleans(), st.booleans())
def test_what_json_can_say_comes_out_as_it_was(value, escaped, as_bytes):
    text = json.dumps(value, ensure_ascii=escaped)
    assert decode_json(text.encode("utf-8", "surrogatepass") if as_bytes else text) == value


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_as_many_levels_as_the_bound_are_taken_and_one_more_is_not(opening):
    decode_json(nested(opening, DEPTH))
    with pytest.raises(TooDeep):
        decode_json(nested(opening, DEPTH + 1))


@pytest.mark.parametrize("levels", [0, 1, 7])
def test_a_decoder_may_state_a_bound_of_its_own(levels):
    decode_json(nested("[", levels), depth=levels)
    with pytest.raises(TooDeep):
        decode_json(nested("[", levels + 1), depth=levels)


def test_brackets_in_strings_are_no_levels():
    for text in ("[" * 200, '"' + "{" * 200, "\\" + "[" * 200, '\\"' * 200 + "[" * 200):
        assert decode_json(json.dumps({text: [text]})) == {text: [text]}


@given(st.text(alphabet='\\"[]{},:a\n', max_size=30), st.integers(2, 6))
def test_levels_are_counted_whatever_stands_in_strings(text, levels):
    inner = {text: [text, text]}
    for _ in range(levels - 2):
        inner = [text, inner, text]
    document = json.dumps(inner).encode()
    assert decode_json(document, depth=levels, values=document.count(b",") + 7) == inner
    with pytest.raises(TooDeep):
        decode_json(document, depth=levels - 1)


@given(st.text(alphabet='\\"[]{},:a', max_size=9), st.integers(0, 9), st.booleans())
def test_values_are_counted_whatever_stands_in_strings(text, pairs, named):
    value = {f"{n}{text}": text for n in range(pairs)} if named else [text] * pairs
    most = max(pairs, 1)  # a comma between two, and the bracket
    assert decode_json(json.dumps(value), values=most, depth=1) == value
    if pairs:
        with pytest.raises(TooLarge):
            decode_json(json.dumps(value), values=most - 1, depth=1)


@pytest.mark.parametrize("count", [500, 5000, 50_000])
def test_many_strings_are_as_many_values_and_what_stands_in_them_is_none(count):
    for value in (["[" * 5] * count, {f"{n},[": "{" for n in range(count)}):
        document = json.dumps(value)
        assert decode_json(document, depth=1, values=count) == value
        for over in (count - 1, count // 3):
            with pytest.raises(TooLarge):
                decode_json(document, depth=1, values=over)


def test_brackets_side_by_side_are_no_levels():
    assert decode_json("[" + "{}," * 500 + "[]]") == [{}] * 500 + [[]]


@pytest.mark.parametrize("levels", [DEPTH - 1, DEPTH])
def test_levels_are_counted_on_behind_thousands_of_brackets(levels):
    document = "[" * 50 + "{}," * 5000 + "[" * (levels - 50) + "[]" + "]" * levels
    if levels < DEPTH:
        decode_json(document)
    else:
        with pytest.raises(TooDeep):
            decode_json(document)


def test_a_document_over_the_size_is_not_looked_at():
    assert decode_json(b'"aaaa"', size=6) == "aaaa"
    with pytest.raises(TooLarge):
        decode_json(b'"aaaa"', size=5)
    with pytest.raises(TooLarge):
        decode_json("\N{EURO SIGN}", size=2)


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", '{"a":-Infinity}', "", "[", "1 2", "{'a':1}"]
)
def test_what_is_not_json_is_refused(text):
    with pytest.raises((json.JSONDecodeError, ValueError)):
        decode_json(text)


def test_bytes_that_are_not_utf_8_are_told_from_other_faults():
    with pytest.raises(UnicodeDecodeError):
        decode_json(b'"\xff"')
    with pytest.raises(UnicodeDecodeError):
        decode_json("[1]".encode("utf-16"))


def test_no_depth_ends_a_thread_with_the_daemons_stack():
    found = set()

    def decode():
        for opening in ("[", '{"a":', '[{"a":', '"a":[', "]["):
            for levels in (101, 1_000, 5_000, 100_000):
                for closing in ("", "]" * levels, "}" * levels):
                    try:
                        decode_json(opening * levels + closing)
                    except ValueError as error:
                        found.add(type(error).__name__)
                    else:
                        found.add("taken")

    before = threading.stack_size(THREAD_STACK)
    try:
        thread = threading.Thread(target=decode)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join(60)
    assert found == {"TooDeep", "JSONDecodeError"}


@pytest.mark.parametrize("piece", ["{},", '"', '\\"', '"[', "[", "]", '"\\', "a", '":["'])
def test_the_depth_is_counted_in_time_in_proportion_to_the_size(piece):
    def seconds(size):
        document = "[" * 200 + piece * (size // len(piece))
        started = time.process_time()
        with pytest.raises(TooDeep):
            decode_json(document, size=sys.maxsize)
        return time.process_time() - started

    small = min(seconds(10_000) for _ in range(3))
    # Sixteen times the size: a square would cost 256 times as much.
    assert any(seconds(160_000) < 64 * max(small, 0.002) for _ in range(3))


def test_values_are_counted_outside_of_strings_and_more_than_the_bound_are_not_decoded():
    assert decode_json("[1" + ",1" * 300 + "]", values=302) == [1] * 301
    assert decode_json(json.dumps([",[{" * 1_000]), values=10) == [",[{" * 1_000]
    for piece in ("{},", "[],", "1,", '"a",', "[[[[[]]]]],"):
        with pytest.raises(TooLarge):
            decode_json("[" + piece * 1_000 + "1]", values=900)


def test_what_is_too_deep_is_told_as_that_however_many_values_it_has():
    with pytest.raises(TooDeep):
        decode_json("[" * 100_000, values=1_000)


NAMES = ("token", "status")
LONG = "x" * 3 * END
BOTH = {"token": 't"\N{EURO SIGN}', "status": "s"}


@pytest.mark.parametrize(
    "fields",
    [
        {**BOTH, "n": 1, "result": LONG},
        {**BOTH, "result": [LONG]},
        {"result": LONG, **BOTH},
        {"result": {"token": "no", "deep": LONG}, "n": None, **BOTH},
        {"token": "overtaken", "status": "s", "result": LONG, "token2": "x", **BOTH},
        {"token": BOTH["token"], "result": LONG, "n": -1.5e3, "status": "s"},
    ],
)
def test_texts_at_either_end_of_a_document_are_found_without_decoding_it(fields):
    for indent in (None, 2):
        document = json.dumps(fields, indent=indent).encode()
        for each in (document, b"\xef\xbb\xbf " + document + b"\n"):
            assert texts_at_ends(each, NAMES) == BOTH


@pytest.mark.parametrize(
    "document",
    [
        {"result": [LONG, {"token": "no", "status": "no"}]},
        {"result": {"r": LONG, "token": "no", "status": "no"}},
        {"result": [{"token": "no"}, LONG]},
        {"result": LONG + '","token":"no","status":"no"}'},
        {"result": LONG + '\\","token":"no"'},
        [LONG, {"token": "no"}],
        {"token": LONG, "status": 7},
        {"result": LONG, "token": LONG},
    ],
)
def test_texts_that_stand_deeper_or_are_not_whole_are_not_found(document):
    assert texts_at_ends(json.dumps(document).encode(), NAMES) == {}


@settings(max_examples=30)
@given(
    st.dictionaries(st.sampled_from([*NAMES, "a", "b"]), VALUES),
    st.dictionaries(st.sampled_from([*NAMES, "c", "d"]), VALUES),
)
def test_no_text_is_found_that_is_not_the_documents_own(first, last):
    fields = {**first, "long": LONG, **last}
    for name, text in texts_at_ends(json.dumps(fields).encode(), NAMES).items():
        assert fields[name] == text


@given(st.binary(max_size=200))
def test_any_bytes_may_be_looked_through(document):
    assert isinstance(texts_at_ends(b'{"token":' + document + b"}", NAMES), dict)
