"""The imperative shell: interprets engine commands, and keeps the worker of the embedded mode running."""
