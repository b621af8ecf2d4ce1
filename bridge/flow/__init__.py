"""The ways of a task and of its reply, between SWF, journal and RabbitMQ."""
