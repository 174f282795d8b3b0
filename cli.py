"""Run vldata from a checkout: python cli.py build recipes/quickstart.yaml --out out/quickstart."""

from vldata.cli.main import main

if __name__ == "__main__":
    main()
