"""Tasks that nobody answers in time: their deadlines, and what SWF's history says of them."""
