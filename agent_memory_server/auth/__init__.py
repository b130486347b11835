"""Adapters of authentication: signed tokens of an issuer, and hashes that another server made."""
