"""The example services, run as their pages say."""
