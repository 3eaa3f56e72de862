"""NGSI-LD (ETSI GS CIM 009 v1.8.1): the wire format, to and from the ports of the sense engine.

No storage, no HTTP framework, no network. README.md names the clauses covered.
"""
