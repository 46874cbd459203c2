"""Who evaluates networks: this process, several processes, or a Ray cluster; with the machine lock and interrupts."""
