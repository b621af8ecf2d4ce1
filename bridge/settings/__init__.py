"""What an operator may set, and what a value may look like."""
