"""The flow of tasks and replies between SWF, the journal and RabbitMQ: poll, forward, respond."""
