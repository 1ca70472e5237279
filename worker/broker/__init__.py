"""The way to the broker: RabbitMQ, or one inside the process."""
