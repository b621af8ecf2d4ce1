"""Settings for tests, given without their prefix over ones that work."""

import pytest

from bridge.errors import ConfigError
from tests.environment import settings_of

GOOD = {"SWF_BRIDGE_DOMAIN": "demo", "SWF_BRIDGE_TASK_LISTS": "images,emails"}


def load(**given):
    return settings_of(GOOD | {f"SWF_BRIDGE_{name}": value for name, value in given.items()})


def problems(**given):
    with pytest.raises(ConfigError) as caught:
        load(**given)
    return list(caught.value.problems)
