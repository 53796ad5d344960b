"""Tries an exported model out as a server would: in a process of its own, with real files and with broken ones."""
