"""Tests in a real engine."""
