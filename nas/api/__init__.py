"""The public Python API, which `import nas` exposes; it composes the other packages, and the command line calls it."""
