"""Files of trained networks for the device on which they will run, checked there before they are handed over."""
