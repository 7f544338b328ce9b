"""The only loop: take what is due, wait for the pacer, act, judge, move, record, put back."""
