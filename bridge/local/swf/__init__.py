"""The state of the local SWF: domains, executions, task lists and tasks, and its limits."""
