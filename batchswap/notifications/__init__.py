"""Tell people, a dead man's switch and a program how a run ended. A failure here is a warning and nothing more."""
