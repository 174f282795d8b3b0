"""Images: where their bytes are, what they are, whether they are whole, and new pixels when a recipe asks for them."""
