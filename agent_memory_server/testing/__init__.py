"""Shipped helps for tests of what is built on this server: install the extra ``testing`` for them."""
