"""`python -m nas`: the command `nas`."""

from nas.cli.main import main

if __name__ == "__main__":
    main(program="python -m nas")
