"""The heavy services beside the chat: reading images, searching documents, running agents.

Each is optional, and none of its libraries is imported before it is needed here: they stand inside functions.
"""
