"""The run: prepare, submit, poll and download every task, in one loop."""
