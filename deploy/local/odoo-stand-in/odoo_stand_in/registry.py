"""What the process knows of its database: that it is open, and its parameters until the signalling sequences move."""

import logging
import threading
import time

import psycopg2

from .database import Pool, PoolIsFull, scalar
from .settings import Settings

log = logging.getLogger(__name__)


class NotInitialised(Exception):
    """The database is there and holds no Odoo."""


class Registry:
    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._lock = threading.RLock()
        self._signals: tuple[int, int] | None = None
        self._parameters: dict[str, str] | None = None

    @property
    def loaded(self) -> bool:
        return self._signals is not None

    def open(self) -> None:
        """
        To be called before the database is used. Loads the registry if need be, while others wait, and drops what was
        cached before a sequence moved. Raises NotInitialised, PoolIsFull and what psycopg2 raises.
        """
        with self._lock:
            known = self._signals or self._load()
            signals = self._read_signals()
            if signals[0] != known[0]:
                log.info('Reloading the model registry after database signaling')
                self._parameters = None
            elif signals[1] != known[1]:
                log.info("Invalidating caches after database signaling: ['default', 'templates.cached_values']")
                self._parameters = None
            self._signals = signals

    def parameter(self, key: str) -> str | None:
        with self._lock:
            if self._parameters is None:
                with self._pool.transaction(self._settings.db_name) as sql:
                    sql.execute('SELECT key, value FROM ir_config_parameter')
                    self._parameters = dict(sql.fetchall())
            return self._parameters.get(key)

    def forget_parameters(self) -> None:
        """After this process has changed one; the others learn of it by the sequence."""
        with self._lock:
            self._parameters = None

    def fails(self, fault: str) -> bool:
        """Whether this failure is switched on, by the environment or by the database's parameter."""
        if fault in self._settings.faults:
            return True
        try:
            switched = (self.parameter('odoo_stand_in.faults') or '').split(',') if self.loaded else []
        except (psycopg2.Error, PoolIsFull):
            return False
        return fault in switched

    def _load(self) -> tuple[int, int]:
        began = time.monotonic()
        with self._pool.transaction(self._settings.db_name) as sql:
            sql.execute("SELECT to_regclass('public.ir_module_module') IS NOT NULL")
            there = scalar(sql)
            if there:
                sql.execute("SELECT state FROM ir_module_module WHERE name = 'base'")
            if not there or scalar(sql) not in ('installed', 'to upgrade'):
                raise NotInitialised(f'Database {self._settings.db_name} not initialized: begin with -i base')
        signals = self._read_signals()
        time.sleep(self._settings.load_seconds)
        self._signals = signals
        while self.fails('hang'):
            time.sleep(0.2)
            self.forget_parameters()
        log.info('Registry loaded in %.3fs', time.monotonic() - began)
        return signals

    def _read_signals(self) -> tuple[int, int]:
        with self._pool.transaction(self._settings.db_name) as sql:
            sql.execute('SELECT last_value FROM base_registry_signaling')
            registry = scalar(sql)
            sql.execute('SELECT last_value FROM base_cache_signaling_default')
            return registry, scalar(sql)
