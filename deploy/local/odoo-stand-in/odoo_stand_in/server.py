"""The process: main, http and cron thread, and how it ends."""

import ctypes
import logging
import os
import signal
import sys
import threading
from pathlib import Path

import psycopg2

from . import modules
from .crons import CronThread
from .database import Pool
from .http_service import HttpService
from .registry import Registry
from .settings import Settings
from .site import Site

log = logging.getLogger(__name__)

#: glibc's name for how many places its memory comes from.
M_ARENA_MAX = -8


def run(settings: Settings) -> int:
    """The exit code: 0, 1 when PostgreSQL refuses the role, 255 when loading fails."""
    # An arena for each thread would take 64 MiB of the virtual memory that limit_memory_soft counts.
    ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)
    pool = Pool(settings)
    init = settings.init
    try:
        if modules.create_if_missing(settings, pool):
            init = ('base', *init)
    except psycopg2.errors.InsufficientPrivilege as error:
        log.warning('%s', str(error).strip())
        if settings.stop_after_init:
            return 255
    except psycopg2.Error as error:
        log.critical('PostgreSQL cannot be used: %s', str(error).strip())
        return 1

    registry = Registry(settings, pool)
    server = Server(settings, pool, registry)
    if not settings.stop_after_init:
        server.start()
    try:
        if init or settings.update or settings.load_language:
            modules.load(settings, pool, init)
        registry.open()
        if registry.fails('start'):
            log.critical('the fault "start" is switched on')
            return 1
    except Exception:
        log.critical('Failed to initialize database `%s`', settings.db_name, exc_info=True)
        if settings.stop_after_init:
            return 255
    return 0 if settings.stop_after_init else server.wait()


SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


class Server:
    """Runs until SIGTERM; a second one ends it at once. SIGHUP, or too much memory, starts it again in place."""

    def __init__(self, settings: Settings, pool: Pool, registry: Registry) -> None:
        self._settings = settings
        self._pool = pool
        self._registry = registry
        self._http: HttpService | None = None

    def start(self) -> None:
        """Accepts from now on; who comes waits for the registry. Until `wait` a signal ends the process at once."""
        # The other threads never get one: they inherit this.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        settings = self._settings
        if not settings.no_http:
            site = Site(settings, self._pool, self._registry)
            address = (settings.http_interface, settings.http_port)
            self._http = HttpService(address, settings.proxy_mode, site.answer)
            threading.Thread(target=self._http.serve_forever, name='odoo.service.httpd', daemon=True).start()
            log.info('HTTP service (stand-in) running on port %d', self._http.server_port)
        for number in range(settings.max_cron_threads):
            CronThread(number, settings, self._pool, self._registry).start()
        for one in SIGNALS:
            signal.signal(one, lambda *_: sys.exit(0))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def wait(self) -> int:
        """The exit code, when told to stop. Does not return from a restart."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        restarts = self._is_to_restart()
        log.info('Initiating %s', 'server reload' if restarts else 'shutdown')
        if self._http:
            self._http.shutdown()
            self._http.server_close()
        if restarts:
            os.execv(sys.executable, sys.orig_argv)
        signal.sigtimedwait(SIGNALS, self._settings.stop_seconds)
        return 0

    def _is_to_restart(self) -> bool:
        """Waits until it is to do that, or to stop."""
        while True:
            received = signal.sigtimedwait(SIGNALS, self._settings.poll_seconds)
            if received is None:
                size = int(Path('/proc/self/statm').read_text(encoding='ascii').split()[0]) * os.sysconf('SC_PAGESIZE')
                if 0 < self._settings.limit_memory_soft < size:
                    log.warning('Server memory limit (%d) reached.', size)
                    return True
            elif received.si_signo == signal.SIGHUP:
                return True
            elif self._registry.fails('stop'):
                log.warning('SIGTERM is ignored: the fault "stop" is switched on')
            else:
                return False
