"""`python -m refers_bench` is the command line."""

from refers_bench.cli import main

if __name__ == "__main__":
    main()
