"""Amazon SWF: calls, credentials, errors, and the threads that wait for SWF's answers."""
