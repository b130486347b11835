"""What the services need of the outside, as Protocols: one a file, all async, keyword-only after the first argument.

Absent is ``None``, ``False`` or empty; failure is an exception of ``errors``. Stores never call models: vectors are passed in.
Optional abilities are Protocols of their own, found with ``isinstance``.
"""
