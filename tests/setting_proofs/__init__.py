"""For every field of Settings, a function of its name that proves that it is read and that changing it changes behaviour."""
