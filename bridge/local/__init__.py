"""A local SWF for worker authors and tests: the activity half of Amazon SWF over HTTP.

Long polls, time-outs, cancellation, limits and errors are as in the service, without deciders,
signatures and persistence. It imports only ``bridge.bounds``, and the daemon never imports it.
"""

from bridge.local.client import LocalClient
from bridge.local.control import Control, ControlError
from bridge.local.server import LocalSwf

__all__ = ["Control", "ControlError", "LocalClient", "LocalSwf"]
