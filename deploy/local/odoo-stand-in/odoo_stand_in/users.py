"""Who may log in."""

import json
import logging
from dataclasses import dataclass

from . import passwords
from .database import Pool

log = logging.getLogger(__name__)


class AccessDenied(Exception):
    def __init__(self) -> None:
        super().__init__('Access Denied')


@dataclass(frozen=True)
class User:
    uid: int
    login: str
    password_hash: str
    name: str
    partner_id: int
    lang: str | None
    company: str | None
    is_administrator: bool


WHO = """
SELECT u.id, u.login, u.password, p.name, p.id, p.lang, c.name, EXISTS
  (SELECT FROM ir_model_data d WHERE d.module = 'base' AND d.name = 'user_admin' AND d.res_id = u.id)
FROM res_users u JOIN res_partner p ON p.id = u.partner_id LEFT JOIN res_company c ON c.id = u.company_id
WHERE u.active AND
"""


def authenticate(pool: Pool, database: str, login: str, password: str) -> User:
    """Raises AccessDenied. A hash of fewer rounds than usual is replaced by a better one; the log-in is noted."""
    with pool.transaction(database) as sql:
        sql.execute(f'{WHO} u.login = %s', (login,))
        row = sql.fetchone()
    # Checked outside the transaction: it takes long.
    if row is None or not passwords.verify(password, row[2]):
        log.info('Login failed for db:%s login:%s', database, json.dumps(login))
        raise AccessDenied
    user = User(*row)
    stronger = passwords.hash_password(password) if passwords.is_weak(user.password_hash) else None
    with pool.transaction(database) as sql:
        if stronger:
            sql.execute('UPDATE res_users SET password = %s WHERE id = %s', (stronger, user.uid))
        sql.execute(
            "INSERT INTO res_users_log (create_uid, create_date) VALUES (%s, now() AT TIME ZONE 'UTC')", (user.uid,)
        )
    log.info('Login successful for db:%s login:%s', database, json.dumps(login))
    return find(pool, database, user.uid) or user


def find(pool: Pool, database: str, uid: int) -> User | None:
    with pool.transaction(database) as sql:
        sql.execute(f'{WHO} u.id = %s', (uid,))
        row = sql.fetchone()
    return User(*row) if row else None
