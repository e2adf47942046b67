"""``python -m diffgauss``: the command line."""

from diffgauss.cli import main

if __name__ == "__main__":
    main()
