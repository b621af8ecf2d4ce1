"""Settings as the daemon would read them from an environment that holds nothing else."""

import os
from collections.abc import Mapping
from unittest.mock import patch

from bridge.settings.settings import Settings


def settings_of(environ: Mapping[str, str]) -> Settings:
    """Load what these variables set, and the files of their ``CREDENTIALS_DIRECTORY``."""
    with patch.dict(os.environ, environ, clear=True):
        return Settings.load()
