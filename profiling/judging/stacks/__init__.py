"""Folded stacks compared and brought into trees and tables. Pure."""
