"""The journal: the tasks in hand, kept on disk, and the slots that they hold."""
