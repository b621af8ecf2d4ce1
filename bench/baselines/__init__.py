"""What the bridge is held against. These two stay as they are, so that figures stay comparable."""
