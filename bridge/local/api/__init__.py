"""The HTTP API of the local SWF: requests, operations, admin verbs, and injected faults."""
