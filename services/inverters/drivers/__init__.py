"""How each family of inverters is read and commanded."""
