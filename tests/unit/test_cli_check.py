from cli_process import LISTS, swf_bridge


def test_check_tells_what_it_checked_and_what_it_did_not_try():
    ended = swf_bridge("check", **LISTS)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "✓ settings: 2 given, 31 by default",
        "✓ task list demo/images: 2 pollers, 100 in flight",
        "✓ RabbitMQ: amqp://guest:***@localhost:5672/%2F",
        "✓ journal: swf-bridge.db",
        "✓ control: swf-bridge.sock",
        "✓ http: 127.0.0.1:9464",
        "? credentials, region, SWF domains, RabbitMQ: not tried; --connect tries them",
    ]


def test_check_notes_what_will_not_do_what_was_meant():
    ended = swf_bridge("check", **LISTS, SWF_BRIDGE_POLLERS="101")
    assert ended.code == 0
    assert [line for line in ended.out.splitlines() if line.startswith("!")] == [
        "! task list demo/images: more pollers than tasks that may be in flight",
    ]


def test_check_does_not_fail_where_the_terminal_has_no_check_mark():
    ended = swf_bridge("check", **LISTS, PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert ended.code == 0
    assert "\\u2713 settings" in ended.out
