"""A bridge from Amazon SWF activity tasks to RabbitMQ workers and back."""

__version__ = "0.1.0"
