"""The command line: its commands, and what `--help` says of each."""
