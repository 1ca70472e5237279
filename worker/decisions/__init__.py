"""Pure decisions over what was read: no socket, no SQL, no clock."""
