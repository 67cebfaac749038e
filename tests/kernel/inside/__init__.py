"""What runs in the guest, on the standard library and our own light modules."""
