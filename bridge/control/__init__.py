"""The control socket, the commands that it serves, and the checks of ``check --connect``."""
