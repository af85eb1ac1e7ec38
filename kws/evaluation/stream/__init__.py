"""A spotter on a stream of clips: the three modes, long streams, pictures of them."""
