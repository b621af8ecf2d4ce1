"""The fault bench: the daemon under load on a real RabbitMQ, broken in every way, tasks counted.

`python -m tests.faults` runs a seeded schedule and ends with a table; the tests here run each fault
once. `bench` holds the parts, `account` the measure, `*_faults` what is done to them.
"""
