"""When what goes on: conversations with peers, back-off, and one clock for what comes later."""
