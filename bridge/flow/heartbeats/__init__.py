"""Heartbeats: of workers, merged, sent to SWF and answered; and those that the bridge sends."""
