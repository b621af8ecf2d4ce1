"""RabbitMQ: connections, declarations, publishing, watched queues; and consuming."""
