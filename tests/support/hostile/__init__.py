"""What a hostile or broken sender may send, and what must hold of each piece of it."""
