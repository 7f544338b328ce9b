"""Commands for runs that nobody looks at."""
