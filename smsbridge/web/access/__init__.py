"""Who may: passwords, sessions of browsers, tokens of programs, and the brakes on guessing."""
