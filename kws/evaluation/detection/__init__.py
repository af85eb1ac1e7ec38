"""A spotter as a detector: misses against false alarms per hour."""
