"""What happens: consuming, issuing, claiming, refreshing, publishing, and the command line."""
