"""All inputs, by name: importing this registers them."""

from . import broker_inputs, own_inputs, swf_inputs
from .inputs import INPUTS

__all__ = ["INPUTS", "broker_inputs", "own_inputs", "swf_inputs"]
