"""RabbitMQ: connections, what is declared, publishing, consuming."""
