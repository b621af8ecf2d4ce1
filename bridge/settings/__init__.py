"""The settings of the bridge, how they are read, and which values are valid."""
