"""`make demo`: tasks from an SWF over RabbitMQ to workers in shell and back, on this machine."""
