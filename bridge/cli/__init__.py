"""The commands, one module each.

A module offers ``add_parser(subparsers)`` and imports what is slow to load (pydantic, boto3, pika)
only when its command runs: ``--help`` answers at once.
"""
