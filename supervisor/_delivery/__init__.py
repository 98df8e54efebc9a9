"""Delivery: a message that was accepted goes in; its handler has it, or the outbox says why not, when it comes out."""
