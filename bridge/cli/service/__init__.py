"""The commands of an installation: run the daemon, check and print its settings, its units."""
