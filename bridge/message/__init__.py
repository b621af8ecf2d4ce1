"""The wire contract (contract §§2 and 3): every byte to and from workers, and the routing key."""
