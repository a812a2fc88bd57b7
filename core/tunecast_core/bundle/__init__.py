"""What a bundle is made of: layers, archives, and how files get in and out of them."""
