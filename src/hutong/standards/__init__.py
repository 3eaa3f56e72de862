"""One module per public standard: wire format to and from the ports of an engine. No storage."""
