"""`python -m uvicorn_worker APP` is the command `uvicorn-worker APP`."""

from uvicorn_worker.cli.command import main

if __name__ == "__main__":
    main()
