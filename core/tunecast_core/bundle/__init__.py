"""Layers and archives of a bundle: capturing, packing, reading and installing them."""
