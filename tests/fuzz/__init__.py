"""The fuzzer: what anybody could send to the daemon, byte for byte, done with as it does."""
