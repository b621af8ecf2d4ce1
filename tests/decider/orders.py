"""A workflow of simpleflow, as anybody would write it: nothing in it knows of the bridge."""

from simpleflow import Workflow, activity, futures


@activity.with_attributes(name="Text.echo", version="1.0", task_list="demo")
def echo(text):
    """Done by a worker in Node."""


class Orders(Workflow):
    name = "orders"
    version = "1"
    task_list = "decisions"

    def run(self):
        first = self.submit(echo, "first")
        second = self.submit(echo, "second")
        futures.wait(first, second)
        third = self.submit(echo, [first.result["args"], second.result["args"]])
        return third.result["args"]
