"""`ChangeReload` and `Multiprocess`, where uvicorn has them: programs that start processes for a Server of their own.

    sock = config.bind_socket()
    ChangeReload(config, target=server.run, sockets=[sock]).run()        another process, at each change
    Multiprocess(config, target=server.run, sockets=[sock]).run()        config.workers of them

`target` is called in new interpreters (multiprocessing's `spawn`), so that it and the Config go there by pickle.
`uvicorn_worker.run()` and the command, which need no target, do more: see cli/reloading.py and master/.
"""

from uvicorn_worker.supervisors.basereload import BaseReload
from uvicorn_worker.supervisors.multiprocess import Multiprocess
from uvicorn_worker.supervisors.reload import ChangeReload

__all__ = ["BaseReload", "ChangeReload", "Multiprocess"]
