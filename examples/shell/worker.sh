#!/bin/sh
# A worker in shell, for three types of activity. It needs amqp-tools, jq and procps.
#   AMQP_URL=amqp://guest:guest@localhost worker.sh Text.echo.1.0   a trial: its queue is transient, and goes with it
#   AMQP_URL=… QUEUE=videos worker.sh                               a durable queue, bound before
set -eu
: "${AMQP_URL:=amqp://guest:guest@localhost}" "${REPLY_QUEUE:=swf.replies}" "${QUEUE:=}"

main() {
    if [ "${1:-}" = task ]; then perform; exit; fi
    if [ "$QUEUE" ]; then set -- -q "$QUEUE"; else set -- -q "worker.$1" -e swf.activities -r "$1"; fi
    ANSWERED=$(mktemp -d) && export ANSWERED
    trap 'kill "$consumer"; pkill -P "$consumer"; rm -r "$ANSWERED"; exit' TERM INT # the task goes back
    while :; do # amqp-consume ends when the broker is away, or the exchange not there yet
        amqp-consume -u "$AMQP_URL" -p 1 "$@" "$0" task & consumer=$!
        wait "$consumer" || sleep 0.5
    done
}

# The task is on standard input. amqp-consume acknowledges it when this exits 0, which is after the reply:
# a worker that dies leaves its task to another. Where there is no reply, amqp-consume is ended.
perform() {
    task=$(cat)
    token=${task#*'"taskToken":"'} token=${token%%'"'*}
    id=$(printf '%s' "$token" | sha256sum) id=${id%% *} # it begins with the task's message_id
    if [ -e "$ANSWERED/$id" ]; then return; fi          # delivered twice, and answered
    case $task in
        *'"name":"Text.echo"'*) answer '{status: "completed", result: (.input // "")}' ;;
        *'"name":"Order.check"'*) answer '.input | fromjson | if .amount > 0
            then {status: "completed", result: {order, accepted: true}}
            else {status: "failed", reason: "amount must be positive", details: {order, amount}} end' ;;
        *) encode ;;
    esac || reply '{"status": "failed", "reason": "the worker cannot do this task"}' || { kill "$PPID"; exit 1; }
    : >"$ANSWERED/$id"
}

answer() { made=$(printf '%s' "$task" | jq -c "$1") && reply "$made"; } # what jq makes of the task
reply() { # reply BODY [OPTIONS]; amqp-publish ends when the broker has read it, and hears of no refusal
    printf '%s' "$1" | { shift; amqp-publish -u "$AMQP_URL" -r "$REPLY_QUEUE" -p -H "swf-task-token: $token" "$@"; }
}
encode() { # the input is {"steps": 15}, of 0.2 s each; once a second SWF is asked whether to go on
    steps=$(printf '%s' "$task" | jq '.input | fromjson | .steps') && step=0 || return
    while [ "$step" -lt "$steps" ]; do
        if [ $((step % 5)) = 0 ]; then said=$(beat); fi
        case $said in
            closed) return ;; # timed out or terminated: nobody waits for a reply
            cancel) reply '{"status": "canceled"}'; return ;;
        esac
        sleep 0.2; step=$((step + 1)) # the work
    done
    reply "{\"status\": \"completed\", \"result\": \"step $step\"}"
}
beat() { # says go, cancel or closed; nothing where no answer comes for 30 s: the bridge is away, go on
    mine=$(amqp-declare-queue -u "$AMQP_URL" -d -q "worker.beat.$id")
    reply "{\"status\": \"heartbeat\", \"details\": \"step $step\"}" -t "$mine" >&2
    timeout 30 amqp-consume -u "$AMQP_URL" -q "$mine" -c 1 cat |
        jq -r 'if .open | not then "closed" elif .cancelRequested then "cancel" else "go" end'
    amqp-delete-queue -u "$AMQP_URL" -q "$mine" >/dev/null
}
main "$@"
