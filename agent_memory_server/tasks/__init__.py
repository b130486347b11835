"""Background work over Docket: how a worker finds the app, works through what is pending, and stops."""
