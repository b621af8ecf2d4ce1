"""The bridge's virtual host is deleted, with all that was in it, and made again."""

from contextlib import closing

from bridge.local import LocalSwf
from tests.acceptance.harness import Start
from tests.brokers import Vhost
from tests.worker import Worker


def test_work_goes_on_once_it_stands_again(swf: LocalSwf, vhost: Vhost, start: Start) -> None:
    bridge = start()
    bridge.wait_connected()
    vhost.api.delete_vhost(vhost.name)
    bridge.wait("broker.lost", connection="publisher")
    vhost.api.add_vhost(vhost.name)
    bridge.wait_connected(60, count=2)
    with closing(Worker(vhost.url)) as worker:
        worker.queue()
        task_id = swf.submit("echo")
        worker.complete(worker.take())
        assert swf.wait_closed(task_id, 10)
    assert bridge.stop() == 0
