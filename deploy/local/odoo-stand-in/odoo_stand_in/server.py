"""The process: main, http and cron thread, and how it ends."""

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


def run(settings: Settings) -> int:
    """The exit code: 0, 1 when PostgreSQL refuses the role, 255 when loading fails."""
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


class Server:
    """Runs until SIGTERM; a second one ends it at once. SIGHUP, or too much memory, starts it again in place."""

    def __init__(self, settings: Settings, pool: Pool, registry: Registry) -> None:
        self._settings = settings
        self._pool = pool
        self._registry = registry
        self._woken = threading.Event()
        self._signal: int | None = None
        self._waits = False
        self._http: HttpService | None = None

    def start(self) -> None:
        """Accepts from now on; who comes waits for the registry."""
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(one, self._on_signal)
        settings = self._settings
        if not settings.no_http:
            site = Site(settings, self._pool, self._registry)
            address = (settings.http_interface, settings.http_port)
            self._http = HttpService(address, settings.proxy_mode, site.answer)
            threading.Thread(target=self._http.serve_forever, name='odoo.service.httpd', daemon=True).start()
            log.info('HTTP service (stand-in) running on port %d', self._http.server_port)
        for number in range(settings.max_cron_threads):
            CronThread(number, settings, self._pool, self._registry).start()

    def wait(self) -> int:
        """The exit code, when told to stop. Does not return from a restart."""
        self._waits = True
        wanted = self._next_order()
        log.info('Initiating %s', 'server reload' if wanted == signal.SIGHUP else 'shutdown')
        if self._http:
            self._http.shutdown()
            self._http.server_close()
        if wanted == signal.SIGHUP:
            os.execv(sys.executable, sys.orig_argv)
        self._woken.wait(self._settings.stop_seconds)
        return 0

    def _next_order(self) -> int:
        while True:
            self._woken.wait(self._settings.poll_seconds)
            self._woken.clear()
            if self._signal == signal.SIGTERM and self._registry.fails('stop'):
                log.warning('SIGTERM is ignored: the fault "stop" is switched on')
                self._signal = None
            if self._signal is not None:
                return self._signal
            size = int(Path('/proc/self/statm').read_text(encoding='ascii').split()[0]) * os.sysconf('SC_PAGESIZE')
            if 0 < self._settings.limit_memory_soft < size:
                log.warning('Server memory limit (%d) reached.', size)
                return signal.SIGHUP

    def _on_signal(self, number: int, _: object) -> None:
        if self._signal is not None:
            os._exit(0)
        if not self._waits:
            raise SystemExit(0)
        self._signal = number
        self._woken.set()
