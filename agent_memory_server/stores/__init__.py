"""The engines that keep the data; ``opening.open_stores`` picks one by URL."""
