"""What is in hand: the tasks on disk, and the slots that they hold."""
