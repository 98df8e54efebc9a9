"""Handlers: each takes a message to one destination, and lives in a module of its own.

A handler's module is loaded when the handler is first named, and its client library when it first sends.
"""
