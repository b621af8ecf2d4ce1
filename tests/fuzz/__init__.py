"""The fuzzer: whatever a worker could send, decoded, answered for, and encoded as a dead letter."""
