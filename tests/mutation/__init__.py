"""Mutation testing: each change to a decision must be seen by a test, or be explained."""
