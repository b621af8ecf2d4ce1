"""The bridge on a cluster of three RabbitMQ nodes: what each event costs. `make cluster`."""
