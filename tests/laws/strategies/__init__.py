"""Strategies of the laws: programs, drawn as the text that is run and that is printed where a law fails."""
