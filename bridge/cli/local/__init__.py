"""The commands for worker authors: a local SWF, and a check of a worker against the contract."""
