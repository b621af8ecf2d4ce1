"""Baseline (a): what the two SWF calls of a task cost with boto3, and no broker at all."""

import sys
import threading

import boto3
from botocore.config import Config


def main(domain: str, task_list: str, threads: int) -> None:
    """Poll and complete, for ever, on so many threads."""
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        read_timeout=70,
        max_pool_connections=threads,
    )
    client = boto3.client("swf", config=config)

    def work() -> None:
        while True:
            task = client.poll_for_activity_task(domain=domain, taskList={"name": task_list})
            if task.get("taskToken"):
                client.respond_activity_task_completed(taskToken=task["taskToken"], result="ok")

    for _ in range(threads):
        threading.Thread(target=work).start()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
