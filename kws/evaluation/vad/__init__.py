"""The voice activity detector judged, and its parameters found."""
