"""An SWF of its own for worker authors and tests: the activity half of Amazon SWF over HTTP.

Long polls, time-outs, cancellation, limits and errors are the service's; deciders, signatures
and persistence it has not. It imports nothing of the bridge and the bridge imports nothing of it.
"""

from bridge.local.client import LocalClient
from bridge.local.control import Control, ControlError
from bridge.local.server import LocalSwf

__all__ = ["Control", "ControlError", "LocalClient", "LocalSwf"]
