"""A bridge from Amazon SWF activity tasks to RabbitMQ workers and back."""

import logging

__all__ = ["__revision__", "__version__"]

try:  # written when the package is built; in a checkout, by its last installation
    from bridge._version import (  # type: ignore[import-not-found,unused-ignore]
        __commit_id__,
        __version__,
    )
except ImportError:
    __version__, __commit_id__ = "0.0", None

__revision__ = (__commit_id__ or "unknown").removeprefix("g")
"""The commit that the package was built from; "unknown" if it was built from an archive."""

# Only the daemon writes a log (telemetry.logs). A command tells what it finds by its output.
logging.getLogger(__name__).addHandler(logging.NullHandler())
