"""Every message of the running daemon is what config/schemas says."""

from tests.acceptance.harness import Site
from tests.schemas import assert_valid


def test_what_the_daemon_sends_is_valid_by_the_schemas(site: Site) -> None:
    answers = site.worker.queue("answers", bind=None)
    notices = site.worker.queue("notices", bind="#", exchange="swf.cancellations")
    task_id, task = site.hand_out("render", "3", input="\ud800 é \0")
    assert_valid("task", task.json)
    assert_valid("task-headers", task.headers)
    token = task.json["taskToken"]
    site.swf.cancel(task_id)
    site.worker.send({"taskToken": token, "status": "heartbeat"}, reply_to=answers)
    assert_valid("heartbeat-answer", site.worker.take(answers).json)
    assert_valid("cancellation", site.worker.take(notices).json)
    site.worker.reply(task, "canceled")
    assert site.closed(task_id)["state"] == "canceled"
    site.worker.send({"taskToken": token, "status": "heartbeat"}, reply_to=answers)
    closed = site.worker.take(answers).json
    assert_valid("heartbeat-answer", closed)
    assert closed["open"] is False
    site.worker.send(b"no JSON", headers={"mine": "1"})
    assert_valid("dead-letter-headers", site.worker.take("swf.replies.dead").headers)
