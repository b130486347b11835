"""Use cases over the domain and the ports: no settings, no vendor library, no transport."""
