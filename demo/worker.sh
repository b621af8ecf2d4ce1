#!/bin/sh
# A worker in shell, for three types of activity. It needs amqp-tools and jq.
#
#   AMQP_URL=amqp://guest:guest@localhost demo/worker.sh upcase|check|encode
#
# takes one task after the other; start several for more at once. A reply is published persistent,
# and only then the task is acknowledged: a worker that dies leaves its task to another one.
# (amqp-publish has no confirms; it ends when the broker has answered its goodbye, which comes
# after the reply was taken.)
set -eu
: "${AMQP_URL:=amqp://guest:guest@localhost}" "${REPLY_QUEUE:=swf.replies}"

main() {
    case ${1:-} in
        upcase) consume upcase Text.upcase.1.0 ;;
        check) consume check Order.check.1.0 ;;
        encode) consume encode Video.encode.2.0 ;;
        task) perform "$2" ;;
        *) sed -n 2,4p "$0" >&2; exit 64 ;;
    esac
}

# The queue goes with its last consumer, which is right for a trial. For more have an operator
# declare a durable one with its binding, and leave -e and -r away.
# This ends when the broker is away or the exchange not there yet: try again, for ever.
consume() {
    until amqp-consume -u "$AMQP_URL" -p 1 -q "worker.$1" -e swf.activities -r "$2" "$0" task "$1"
    do
        sleep 0.5
    done
}

# The task is on standard input. amqp-consume acknowledges it when this exits 0. When it does not,
# amqp-consume would sit there with the task: it is ended, and the task goes to the next worker.
perform() {
    task=$(cat)
    token=$(printf '%s' "$task" | sed 's/.*"taskToken": *"\([^"]*\)".*/\1/')
    "$1" || reply '{"status": "failed", "reason": "the worker cannot do this task"}' ||
        { kill "$PPID"; exit 1; }
}

reply() { # reply BODY [OPTIONS]
    body=$1; shift
    printf '%s' "$body" | amqp-publish -u "$AMQP_URL" -r "$REPLY_QUEUE" -p \
        -C application/json -H "swf-task-token: $token" "$@"
}

answer() { # answer JQ-PROGRAM: reply with what the program makes of the task
    made=$(printf '%s' "$task" | jq -c "$1") && reply "$made"
}

upcase() { answer '{status: "completed", result: (.input // "" | ascii_upcase)}'; }

# The input is {"order": 7, "amount": 120}.
check() {
    answer '.input | fromjson | if .amount > 0
        then {status: "completed", result: {order, accepted: true}}
        else {status: "failed", reason: "amount must be positive", details: {order, amount}}
        end'
}

# The input is {"steps": 5}. A heartbeat before each step asks SWF whether to go on.
encode() {
    steps=$(printf '%s' "$task" | jq '.input | fromjson | .steps') &&
        mine=$(amqp-declare-queue -u "$AMQP_URL" -q "worker.beats.$$") || return
    step=0
    while beat && [ "$step" -lt "$steps" ]; do
        sleep 0.2 # the work
        step=$((step + 1))
    done
    amqp-delete-queue -u "$AMQP_URL" -q "$mine" >/dev/null
    case $said in
        closed) ;; # timed out or terminated: nobody waits for a reply
        cancel) reply "{\"status\": \"canceled\", \"details\": \"step $step\"}" ;;
        *) reply "{\"status\": \"completed\", \"result\": \"step $step\"}" ;;
    esac
}

beat() {
    reply "{\"status\": \"heartbeat\", \"details\": \"step $step\"}" -t "$mine"
    said=$(timeout 30 amqp-consume -u "$AMQP_URL" -q "$mine" -c 1 cat | jq -r '
        if .open | not then "closed" elif .cancelRequested then "cancel" else "go on" end')
    [ "$said" = "go on" ]
}

main "$@"
