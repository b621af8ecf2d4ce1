from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.settings.validators import amqp_urls, without_login_secrets
from tests.unit.settings_given import load, problems

ANYTHING = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    "good", ["{name}.{version}", "{domain}-{task_list}", "{{{name}}}", "all", "é.#"]
)
def test_a_routing_key_is_a_template_of_plain_fields(good):
    assert load(ROUTING_KEY=good).routing_key == good


@pytest.mark.parametrize(
    "bad",
    [
        "{", "}", "{name", "{}", "{0}", "{input}", "{name.__class__}", "{name[0]}", "{name!r}",
        "{name:>9}",
    ],
)  # fmt: skip
def test_a_routing_key_of_anything_else_is_refused(bad):
    (problem,) = problems(ROUTING_KEY=bad)
    assert problem.startswith("SWF_BRIDGE_ROUTING_KEY: ")


@pytest.mark.parametrize(
    "url",
    [
        "amqp://localhost", "amqp://u:p@h", "amqp://u:@h", "amqps://h:5671/", "amqp://u:p@[::1]:5672/v",
        "amqp://a%40b:%2F%2C%23@h/a%2Fb", "amqp://u:p%25@10.0.0.1:1/%E2%82%AC",
    ],
)  # fmt: skip
def test_a_url_of_a_broker_is_taken_as_it_is(url):
    assert load(AMQP_URL=url).amqp_urls == (url,)


def test_several_urls_keep_their_order():
    two = "amqp://u:p@one/v, amqps://u:p@two/v"
    assert load(AMQP_URL=two).amqp_urls == ("amqp://u:p@one/v", "amqps://u:p@two/v")
    assert load(AMQP_URL=two).shown()["amqp_url"] == "amqp://u:***@one/v,amqps://u:***@two/v"


@pytest.mark.parametrize(
    "url",
    [
        "http://u:SECRET@h", "amqp:/SECRET", "amqp://", "amqp://u:SECRET@", "amqp://u:SECRET@h:0",
        "amqp://u:SECRET@h:99999", "amqp://u:SECRET@h:port", "amqp://u:SECRET#@h/v", "amqp://u:12/SECRET@h/v",
        "amqp://u:SECRET/@h", "amqp://u:SECRET?@h", "amqp://u:SEC%RET@h", "amqp://u:SECRET%ff@h", "amqp://SECRET@h",
        "amqp://:SECRET@h", "amqp://u:SECRET @h", "amqp://u:SECRET@h/a/b", "amqp://u:SECRET@h/?heartbeat=3",
        "amqp://u:SECRET@[h", "amqp://u:SECRET@\u2100", "amqp://u:SE,CRET@h", "amqp://h,", "amqp://u:SECRET@h/%ff",
        "amqp://u:SECRET@h/a#b",
    ],
)  # fmt: skip
def test_a_url_that_cannot_work_is_refused_and_no_part_of_it_is_told(url):
    (problem,) = problems(AMQP_URL=url)
    assert problem.startswith("SWF_BRIDGE_AMQP_URL: ")
    assert not any(part in problem for part in ("SEC", "RET", "99999", "\u2100"))


@given(ANYTHING, ANYTHING, ANYTHING)
def test_whatever_stands_in_a_url_it_is_taken_or_refused_in_a_sentence_of_ours(user, password, end):
    text = f"amqp://{user}:{password}@localhost{end}"
    sentence = refusal(text)
    if sentence is None:
        assert all(url.startswith(("amqp://", "amqps://")) for url in amqp_urls(text))
    else:
        assert sentence.startswith(("must ", "has ", "may ", "URL "))
        assert sentence.isprintable()


@given(st.text(min_size=1))
def test_any_user_password_and_vhost_can_be_given_percent_encoded(text):
    quoted = quote(text.encode("utf-8", "replace"), safe="")
    url = f"amqp://{quoted}:{quoted}@localhost/{quoted}"
    assert amqp_urls(url) == (url,)
    assert quoted not in without_login_secrets(url).split("@")[0].split(":", 2)[2]


def refusal(text):
    """The sentence with which a URL is refused, or None."""
    try:
        amqp_urls(text)
    except ValueError as error:
        return str(error)
    return None
