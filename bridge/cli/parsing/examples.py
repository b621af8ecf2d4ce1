"""The examples and exit codes that each command's ``--help`` prints below the options.

The key is the command line without the program's name. ``tests/unit/test_cli_help.py`` checks that
every command is listed here, and that the parser accepts every example.
"""

from typing import NamedTuple

DONE = {0: "done"}
LINE = {64: "the command line is wrong"}
SETTINGS = {78: "a setting is wrong; each is told on a line of its own"}
DAEMON = {69: "no daemon answers, or it is stopping"}
LEFT = {70: "the daemon could not do it, or not all of it"}
ASKED = DONE | LINE | DAEMON | LEFT
LOCAL = DONE | LINE | {69: "no local SWF answers", 70: "it refused"}


class Usage(NamedTuple):
    """Examples as pairs of purpose and command line, and the meaning of each exit code."""

    examples: tuple[tuple[str, str], ...]
    codes: dict[int, str]

    def __str__(self) -> str:
        lines = ["examples:"]
        for meant, command in self.examples:
            lines += [f"  # {meant}", f"  {command}"]
        lines += ["", "exit codes:"]
        return "\n".join([*lines, *(f"  {code:<3} {means}" for code, means in self.codes.items())])


USAGES: dict[str, Usage] = {
    "": Usage(
        (
            ("are the settings in order, and can AWS and RabbitMQ be reached?",
             "swf-bridge check --connect"),
            ("how does the daemon stand, and what is there to do?", "swf-bridge status"),
        ),
        DONE | LINE | {69: "a peer or the daemon does not answer", 70: "a part failed"} | SETTINGS,
    ),
    "run": Usage(
        (
            ("in a terminal, with settings from a file that is written as a shell reads it",
             "(set -a; . ./bridge.env; swf-bridge run)"),
            ("with every step in the log",
             "SWF_BRIDGE_LOG_LEVEL=DEBUG SWF_BRIDGE_LOG_FORMAT=text swf-bridge run"),
        ),
        {0: "asked to stop; what is left stands in the journal"} | LINE
        | {70: "a part of the daemon failed, or another process holds the journal"} | SETTINGS,
    ),
    "check": Usage(
        (
            ("the settings of this shell", "swf-bridge check"),
            ("those of the service, and whether AWS and RabbitMQ take them",
             "swf-bridge check --service --connect"),
        ),
        {0: "nothing is wrong"} | LINE
        | {69: "a peer cannot be reached, or the service not be looked at (only root can)",
           78: "something is wrong; marked ✗"},
    ),
    "config": Usage(
        (
            ("what is set, and where", "swf-bridge config --service | grep -vE ' default( |$)'"),
            ("a first file of settings",
             "(umask 077; swf-bridge config --example > /etc/swf-bridge/bridge.env)"),
        ),
        DONE | LINE | {69: "the service cannot be looked at (only root can)"} | SETTINGS,
    ),
    "status": Usage(
        (
            ("look on", "swf-bridge status --watch"),
            ("each finding on a line, for a script",
             "swf-bridge status --json --instance eu-west-1 | jq -c '.findings[]'"),
        ),
        {0: "nothing is wrong"} | LINE
        | {69: "no daemon answers", 70: "something is wrong, marked ✗"},
    ),
    "tasks": Usage(
        (
            ("the oldest tasks in hand", "swf-bridge tasks list --limit 10"),
            ("all of one, as JSON", "swf-bridge tasks show 1f0c8a --payload --json"),
        ),
        ASKED,
    ),
    "tasks list": Usage(
        (
            ("what has waited for ten minutes", "swf-bridge tasks list --older-than 10m"),
            ("ids that RabbitMQ has not confirmed",
             "swf-bridge tasks list --state waiting --json | jq -r .id"),
        ),
        ASKED,
    ),
    "tasks show": Usage(
        (
            ("by the beginning of its id", "swf-bridge tasks show 1f0c8a"),
            ("with token and input", "swf-bridge tasks show 1f0c8a --payload"),
        ),
        ASKED,
    ),
    "tasks republish": Usage(
        (
            ("a queue was purged: which tasks would be published again?",
             "swf-bridge tasks republish --type Video.encode --dry-run"),
            ("publish them again", "swf-bridge tasks republish --type Video.encode"),
        ),
        ASKED,
    ),
    "tasks fail": Usage(
        (
            ("one task", "swf-bridge tasks fail 1f0c8a --reason 'order was withdrawn'"),
            ("all of a list that are older than a day, without a question",
             "swf-bridge tasks fail --list demo/images --older-than 1d --yes"),
        ),
        ASKED | {69: "no daemon answers, it is stopping, or SWF could not be told"},
    ),
    "dead": Usage(
        (
            ("what could not be accepted, and why", "swf-bridge dead list"),
            ("a bridge with another account's keys had taken them: try them with this one",
             "swf-bridge dead replay --code token-invalid"),
        ),
        ASKED,
    ),
    "dead list": Usage(
        (
            ("the first ten", "swf-bridge dead list --limit 10"),
            ("up to a thousand with body and headers, for a script",
             "swf-bridge dead list --json --payload --limit 1000"),
        ),
        ASKED,
    ),
    "dead show": Usage(
        (
            ("the first of the list", "swf-bridge dead show 1"),
            ("by its id, with body and headers", "swf-bridge dead show 9c1e04 --payload"),
        ),
        ASKED,
    ),
    "dead replay": Usage(
        (
            ("how many would that be?", "swf-bridge dead replay --all --dry-run"),
            ("only these two", "swf-bridge dead replay 9c1e04 77b2aa"),
        ),
        ASKED,
    ),
    "dead drop": Usage(
        (
            ("what is older than a week, without a question",
             "swf-bridge dead drop --older-than 7d --yes"),
            ("one", "swf-bridge dead drop 9c1e04"),
        ),
        ASKED,
    ),
    "pause": Usage(
        (
            ("one list, while its workers are installed anew",
             "swf-bridge pause images --for 30m --reason 'new encoders'"),
            ("all of them", "swf-bridge pause --all"),
        ),
        ASKED,
    ),
    "resume": Usage(
        (
            ("one list", "swf-bridge resume images"),
            ("all of them", "swf-bridge resume --all"),
        ),
        ASKED,
    ),
    "drain": Usage(
        (
            ("stop the daemon, and wait until it has ended", "swf-bridge drain"),
            ("one of several", "swf-bridge drain --instance eu-west-1"),
        ),
        {0: "it has ended, and everything is handed on"} | LINE
        | {69: "no daemon answers", 70: "something is left, a part failed, or it drains on"},
    ),
    "topology": Usage(
        (
            ("have an administrator create it all",
             "swf-bridge topology > swf.json && rabbitmqctl import_definitions swf.json"),
            ("with the permissions of a worker that takes one activity type",
             "swf-bridge topology --worker encoder=Video.encode.2.0"),
        ),
        DONE | LINE
        | {69: "RabbitMQ cannot be reached", 78: "a setting is wrong, or RabbitMQ refuses"},
    ),
    "units": Usage(
        (
            ("a service of what pip installed", "swf-bridge units /etc/systemd/system"),
            ("look at them first", "swf-bridge units . && cat swf-bridge.service"),
        ),
        DONE | LINE | {70: "they cannot be written, or could not be started"},
    ),
    "local": Usage(
        (
            ("an SWF, a RabbitMQ and a bridge, until Ctrl-C",
             "swf-bridge local --with-broker --with-bridge"),
            ("submit a task there, and wait for its end",
             "swf-bridge local submit Greeter.say World --wait"),
        ),
        LOCAL | {69: "no local SWF answers, or it cannot be started"},
    ),
    "local run": Usage(
        (
            ("beside a bridge of your own", "swf-bridge local run --domain demo --hold 5"),
            ("as slow as over a long line", "swf-bridge local run --latency 0.2"),
        ),
        {0: "asked to stop"} | LINE
        | {69: "its address is taken, or RabbitMQ or the bridge cannot be started"},
    ),
    "local submit": Usage(
        (
            ("a task whose cancellation is requested at its second heartbeat",
             "swf-bridge local submit Video.encode@2.0 '{\"steps\": 15}' --cancel-after beats:2"),
            ("a thousand, and the table of their ends",
             "swf-bridge local submit Text.echo hello --count 1000 --wait"),
        ),
        LOCAL | {70: "it refused, or --wait did not see every task completed"},
    ),
    "local cancel": Usage(
        (
            ("by the id that submit printed", "swf-bridge local cancel 3"),
            ("at another address",
             "swf-bridge local cancel 3 --endpoint http://127.0.0.1:9191"),
        ),
        LOCAL,
    ),
    "local terminate": Usage(
        (
            ("by the id that submit printed", "swf-bridge local terminate 3"),
            ("at another address",
             "swf-bridge local terminate 3 --endpoint http://127.0.0.1:9191"),
        ),
        LOCAL,
    ),
    "local show": Usage(
        (
            ("what happened to a task, in order", "swf-bridge local show 3"),
            ("its result", "swf-bridge local show 3 --payload --json | jq -r .result"),
        ),
        LOCAL,
    ),
    "local list": Usage(
        (
            ("what is open", "swf-bridge local list --state open"),
            ("what failed within ten minutes, as JSON lines",
             "swf-bridge local list --state failed --since 10m --json"),
        ),
        LOCAL,
    ),
    "conformance": Usage(
        (
            ("a worker that has the three activities of the defaults",
             "swf-bridge conformance --worker 'node worker.mjs'"),
            ("one that only echoes, with a report for CI",
             "swf-bridge conformance --worker ./worker.sh --echo Greeter.say@1.0 --fail none"
             " --slow none --junit report.xml"),
        ),
        {0: "the worker passes"} | LINE
        | {69: "no RabbitMQ can be reached, or it or the bridge not be started",
           70: "a check failed"},
    ),
}  # fmt: skip
"""By command, such as ``tasks list``; the empty string is the program itself."""
