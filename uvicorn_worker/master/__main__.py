"""`python -m uvicorn_worker.master APP`: what the command `gunicorn` takes, with our worker and our master."""

from uvicorn_worker.master.application import Application

if __name__ == "__main__":
    Application().run()
