"""Commands about the results of a night: look at them, judge them and check them."""
