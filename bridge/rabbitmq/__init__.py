"""RabbitMQ: connections, declarations, publishing and consuming."""
