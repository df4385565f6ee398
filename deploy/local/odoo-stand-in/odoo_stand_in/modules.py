"""-i, -u, --load-language and neutralize: what is done to a database, not with it."""

import logging
import uuid
from pathlib import Path

import psycopg2
from psycopg2.extensions import cursor

from .attachments import Attachments
from .database import Pool, scalar
from .registry import NotInitialised
from .settings import Settings

log = logging.getLogger(__name__)

#: Of the project: the tables, names and keys of Odoo 18 that anybody outside of it touches.
SHAPE = Path(__file__).resolve().parents[2] / 'template' / 'odoo-shape.sql'

#: What each module brings along. Installing `base` installs the first three.
DEPENDS: dict[str, tuple[str, ...]] = {
    'base': ('web', 'bus'),
    'web': ('base',),
    'bus': ('base',),
    'mail': ('base',),
    'contacts': ('mail',),
    'crm': ('contacts',),
    'project': ('mail',),
    'account': ('mail',),
    'sale_management': ('account',),
    'stock': ('mail',),
}

NEUTRALIZE = """
UPDATE ir_cron SET active = false WHERE cron_name NOT LIKE 'Base: Auto-vacuum%';
UPDATE ir_mail_server SET active = false;
INSERT INTO ir_mail_server (name, smtp_host, active) VALUES ('neutralized: no mail leaves', 'invalid', true);
INSERT INTO ir_config_parameter (key, value) VALUES ('database.is_neutralized', 'true')
  ON CONFLICT (key) DO UPDATE SET value = excluded.value;
""".strip()


def create_if_missing(settings: Settings, pool: Pool) -> bool:
    """
    Whether the database was created just now: as Odoo does it for a role that may. Raises InsufficientPrivilege for one
    that may not, and OperationalError when the server cannot be reached or refuses the role.
    """
    server = pool.borrow('postgres')
    try:
        server.autocommit = True
        with server.cursor() as sql:
            sql.execute('SELECT 1 FROM pg_database WHERE datname = %s', (settings.db_name,))
            if sql.fetchone():
                return False
            quoted = psycopg2.extensions.quote_ident(settings.db_name, server)
            sql.execute(f'CREATE DATABASE {quoted} TEMPLATE template0')
            return True
    finally:
        pool.discard(server)


def load(settings: Settings, pool: Pool, init: tuple[str, ...]) -> None:
    """
    Installs `init`, updates what -u names, activates languages. A name that is no module is a warning and no error.
    What fails leaves no half state and raises.
    """
    marked = False
    try:
        with pool.transaction(settings.db_name) as sql:
            _create_tables(sql, settings, init)
            marked = _mark(sql, init, settings.update)
        with pool.transaction(settings.db_name) as sql:
            _load_marked(sql, settings)
            for language in settings.load_language:
                sql.execute('UPDATE res_lang SET active = true WHERE code = %s', (language,))
                if sql.rowcount == 0:
                    log.warning('there is no language %s', language)
    except Exception:
        if marked:
            _reset(settings, pool)
        raise
    # After the commit, for a server that reads between the signal and the commit would keep what is old.
    with pool.transaction(settings.db_name) as sql:
        sql.execute("SELECT nextval('base_registry_signaling')")


def _create_tables(sql: cursor, settings: Settings, init: tuple[str, ...]) -> None:
    sql.execute("SELECT to_regclass('public.ir_module_module') IS NOT NULL")
    if scalar(sql):
        return
    if not init:
        raise NotInitialised(f'Database {settings.db_name} not initialized: begin with -i base')
    log.info('creating the tables')
    sql.execute(SHAPE.read_text(encoding='utf-8'))
    sql.execute('DELETE FROM ir_module_module')
    sql.execute('DELETE FROM ir_attachment')
    for key, value in {
        'database.uuid': str(uuid.uuid4()),
        'database.secret': str(uuid.uuid4()),
        'web.base.url': f'http://localhost:{settings.http_port}',
    }.items():
        sql.execute('UPDATE ir_config_parameter SET value = %s WHERE key = %s', (value, key))


def _mark(sql: cursor, init: tuple[str, ...], update: tuple[str, ...]) -> bool:
    """Whether there is anything to load."""
    unknown = [name for name in (*init, *update) if name not in DEPENDS and name != 'all']
    if unknown:
        log.warning('invalid module names, ignored: %s', ', '.join(unknown))
    sql.execute(
        "INSERT INTO ir_module_module (name, state) SELECT unnest(%s::text[]), 'to install' ON CONFLICT DO NOTHING",
        (sorted(_with_dependencies(init)),),
    )
    installed = sql.rowcount
    sql.execute(
        "UPDATE ir_module_module SET state = 'to upgrade' WHERE state = 'installed' AND (name = ANY(%s) OR %s)",
        (list(update), 'all' in update or 'base' in update),
    )
    return installed + sql.rowcount > 0


def _with_dependencies(names: tuple[str, ...]) -> set[str]:
    wanted: set[str] = set()
    todo = [name for name in names if name in DEPENDS]
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo.extend(DEPENDS[name])
    return wanted


def _load_marked(sql: cursor, settings: Settings) -> None:
    sql.execute("SELECT name FROM ir_module_module WHERE state = 'to install' ORDER BY id")
    for (name,) in sql.fetchall():
        icon = f'<svg xmlns="http://www.w3.org/2000/svg"><title>{name}</title></svg>'.encode()
        Attachments(settings).create(sql, f'{name} icon', icon, 'image/svg+xml')
    sql.execute(
        "UPDATE ir_module_module SET state = 'installed', latest_version = %s WHERE state LIKE 'to %%' RETURNING name",
        (settings.module_version,),
    )
    loaded = sorted(name for (name,) in sql.fetchall())
    sql.execute("SELECT value FROM ir_config_parameter WHERE key = 'odoo_stand_in.faults'")
    faults = settings.faults | set((scalar(sql) or '').split(','))
    if 'view' in faults:
        log.warning('invalid custom view(s) for model res.partner')
    if 'update' in faults:
        sql.execute('SELECT 1 FROM table_of_the_fault_update')
    log.info('%d modules loaded: %s', len(loaded), ', '.join(loaded))


def _reset(settings: Settings, pool: Pool) -> None:
    with pool.transaction(settings.db_name) as sql:
        sql.execute("UPDATE ir_module_module SET state = 'installed' WHERE state = 'to upgrade'")
        sql.execute("DELETE FROM ir_module_module WHERE state = 'to install'")
    log.warning('Transient module states were reset')


def neutralize(settings: Settings, pool: Pool) -> None:
    """Or prints what it would do, if asked to."""
    if settings.stdout:
        print(f'BEGIN;\n{NEUTRALIZE}\nCOMMIT;')
        return
    with pool.transaction(settings.db_name) as sql:
        sql.execute(NEUTRALIZE)
    log.info('Neutralization finished')
