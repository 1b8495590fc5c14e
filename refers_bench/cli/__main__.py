"""`python -m refers_bench.cli` is the command line, too."""

from refers_bench.cli import main

if __name__ == "__main__":
    main()
