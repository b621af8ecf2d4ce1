"""The commands of ``swf-bridge``, one module each, in three rooms, and what they share.

A command's module has ``add_parser(subparsers)``. It imports slow libraries (pydantic, boto3, pika)
inside the functions that need them, so that ``--help`` answers at once.
"""
