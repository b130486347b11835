"""Fakes that ship, for tests of this server and of programs that use it."""
