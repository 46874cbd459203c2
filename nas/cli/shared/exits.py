"""Exit statuses of the command line that have a meaning of their own."""

FAILED = 1  # an error, which standard error explains
USAGE = 2  # the words of the command line cannot be used; click's own status
TARGET_MISSED = 3  # a search ended, and none of the networks that it measured on the device meets the target
INTERRUPTED = 130  # Ctrl-C ended the command, as shells have it
