"""Tries a worker against the contract: the real bridge, a local SWF, and a look from both sides.

It stands outside the daemon, which never imports it, and takes nothing of its code: a mistake that
both made would not be seen. So it has an AMQP client of its own, in `amqp`.
"""
