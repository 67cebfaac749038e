"""What a directory shows of the service in it, for `init`: read and parsed, never imported, never run."""
