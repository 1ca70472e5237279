"""What crosses a wire: the words, numbers, messages and forms that Fuma shares with others. Knows no other room."""
