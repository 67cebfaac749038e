"""From recordings of imports to what each import costs. Pure, but for `recording.read`, which reads what is on disk."""
