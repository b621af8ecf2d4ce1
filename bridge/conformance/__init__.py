"""Tests a worker against the contract, with the real bridge as a process and a local SWF.

The daemon never imports it, and it imports only `bridge.bounds` of the daemon's code, as it would
not detect a mistake that it shared with the bridge. So it has its own AMQP client, in `amqp`.
"""
