"""Small services with one behaviour each, for measuring for real. Run as scripts."""
