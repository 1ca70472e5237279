"""What tests stand on: servers of their own, and Fuma seen from outside."""
