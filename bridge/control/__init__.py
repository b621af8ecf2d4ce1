"""What the operator's commands ask of the running daemon."""
