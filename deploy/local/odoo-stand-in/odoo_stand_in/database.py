"""Connections to PostgreSQL: at most db_maxconn of the whole process, kept for the next who asks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ, connection, cursor

from .settings import Settings


def scalar(sql: cursor) -> Any:
    """The first column of the next row; None without a row."""
    row = sql.fetchone()
    return row[0] if row else None


class PoolIsFull(Exception):
    def __init__(self) -> None:
        super().__init__('The Connection Pool Is Full')


class Pool:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._idle: list[tuple[str, connection]] = []
        self._open = 0

    @contextmanager
    def transaction(self, database: str) -> Iterator[cursor]:
        """Committed at the end, rolled back on any exception. Raises PoolIsFull and what psycopg2 raises."""
        held = self.borrow(database)
        try:
            with held.cursor() as sql:
                yield sql
            held.commit()
        finally:
            self._give_back(database, held)

    def borrow(self, database: str) -> connection:
        """A connection for good, in no transaction. Counts among db_maxconn."""
        while (idle := self._take_idle(database)) is not None:
            try:
                idle.reset()
                idle.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ)
                return idle
            except psycopg2.Error:
                # The server ended it meanwhile.
                self.discard(idle)
        try:
            return self._connect(database)
        except BaseException:
            with self._lock:
                self._open -= 1
            raise

    def discard(self, held: connection) -> None:
        """Closes what was borrowed and makes room for another."""
        held.close()
        with self._lock:
            self._open -= 1

    def _take_idle(self, database: str) -> connection | None:
        """An idle connection, or None after a place for a new one was taken."""
        with self._lock:
            for entry in reversed(self._idle):
                if entry[0] == database:
                    self._idle.remove(entry)
                    return entry[1]
            if self._open >= self._settings.db_maxconn:
                if not self._idle:
                    raise PoolIsFull
                self._idle.pop(0)[1].close()
                self._open -= 1
            self._open += 1
            return None

    def _connect(self, database: str) -> connection:
        settings = self._settings
        made = psycopg2.connect(
            dbname=database,
            host=settings.db_host,
            port=settings.db_port,
            user=settings.db_user,
            password=settings.db_password,
            application_name=settings.application_name,
        )
        made.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ)
        return made

    def _give_back(self, database: str, held: connection) -> None:
        try:
            held.rollback()
        except psycopg2.Error:
            self.discard(held)
            return
        with self._lock:
            self._idle.append((database, held))
