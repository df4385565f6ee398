"""The cron thread: due jobs a while after the start and then at intervals, and at once on NOTIFY cron_trigger."""

import logging
import select
import threading

from .database import Pool
from .registry import Registry
from .settings import Settings

log = logging.getLogger(__name__)

DUE = """
SELECT id FROM ir_cron WHERE active AND (nextcall <= now() AT TIME ZONE 'UTC' OR id IN
  (SELECT cron_id FROM ir_cron_trigger WHERE call_at <= now() AT TIME ZONE 'UTC')) ORDER BY id
"""
#: The first time of the job's own rhythm that lies ahead: once for all the times that were missed.
DONE = """
UPDATE ir_cron SET lastcall = now() AT TIME ZONE 'UTC', nextcall = coalesce(
  (SELECT min(t) FROM generate_series(nextcall, (now() AT TIME ZONE 'UTC') + every, every) t
   WHERE t > now() AT TIME ZONE 'UTC'), nextcall)
FROM (SELECT id AS job, (interval_number || ' ' || interval_type)::interval AS every FROM ir_cron) rhythm
WHERE id = %s AND job = id
"""


class CronThread(threading.Thread):
    """
    Holds a connection to the database `postgres`, which every Odoo of the server wakes. When that connection ends, so
    does the thread, with a traceback, and nobody starts another: that is Odoo's behaviour, and the reason for the
    liveness probe that counts threads.
    """

    def __init__(self, number: int, settings: Settings, pool: Pool, registry: Registry) -> None:
        super().__init__(name=f'odoo.service.cron.cron{number}', daemon=True)
        self._wait = settings.poll_seconds + number
        self._database = settings.db_name
        self._pool = pool
        self._registry = registry

    def run(self) -> None:
        listener = self._pool.borrow('postgres')
        with listener.cursor() as sql:
            sql.execute('LISTEN cron_trigger')
        listener.commit()
        while True:
            select.select([listener], [], [], self._wait)
            listener.poll()
            listener.notifies.clear()
            if not self._registry.loaded:
                continue
            if self._registry.fails('cron'):
                raise RuntimeError('the fault "cron" is switched on')
            try:
                self._run_due()
            except Exception:
                log.warning('Exception in cron', exc_info=True)

    def _run_due(self) -> None:
        self._registry.open()
        with self._pool.transaction(self._database) as sql:
            sql.execute(DUE)
            due = [row[0] for row in sql.fetchall()]
        for job in due:
            self._run(job)

    def _run(self, job: int) -> None:
        with self._pool.transaction(self._database) as sql:
            # Another process may have it, or have done it.
            still_due = f'SELECT cron_name FROM ir_cron WHERE id = %s AND id IN ({DUE}) FOR NO KEY UPDATE SKIP LOCKED'
            sql.execute(still_due, (job,))
            row = sql.fetchone()
            if row is None:
                return
            due_triggers = "cron_id = %s AND call_at <= now() AT TIME ZONE 'UTC'"
            sql.execute(f'DELETE FROM ir_cron_trigger WHERE {due_triggers}', (job,))
            sql.execute(DONE, (job,))
        log.info('Job %r (%d) done', row[0], job)
