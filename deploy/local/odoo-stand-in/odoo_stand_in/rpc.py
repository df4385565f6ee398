"""What other programs call: /jsonrpc, and what the web client's call_kw can reach."""

import base64
import json

import psycopg2

from . import users
from .attachments import Attachments
from .database import Pool
from .http_service import Response
from .registry import Registry
from .settings import Settings
from .users import AccessDenied


def failure(ident: object, name: str, message: str, code: int = 200) -> dict:
    title = 'Odoo Session Expired' if code == 100 else 'Odoo Server Error'
    data = {'name': name, 'message': message, 'arguments': [message], 'context': {}, 'debug': ''}
    return {'jsonrpc': '2.0', 'id': ident, 'error': {'code': code, 'message': title, 'data': data}}


class Rpc:
    def __init__(self, settings: Settings, pool: Pool, registry: Registry, attachments: Attachments) -> None:
        self._database = settings.db_name
        self._pool = pool
        self._registry = registry
        self._attachments = attachments

    def json(self, body: bytes) -> Response:
        """Only log-in. Not held back by dbfilter or db_name: it opens what PostgreSQL lets the role into."""
        try:
            call = json.loads(body)
            ident, params = call.get('id'), call['params']
            wanted, (database, login, password) = (params['service'], params['method']), params['args'][:3]
        except (ValueError, KeyError, TypeError, AttributeError):
            return Response(400, b'Invalid JSON data')
        try:
            if wanted not in (('common', 'login'), ('common', 'authenticate')):
                raise LookupError(f'the stand-in has no {".".join(wanted)}')
            uid = users.authenticate(self._pool, str(database), str(login), str(password)).uid
            answer: dict = {'jsonrpc': '2.0', 'id': ident, 'result': uid}
        except AccessDenied:
            answer = {'jsonrpc': '2.0', 'id': ident, 'result': False}
        except (psycopg2.Error, LookupError) as error:
            answer = failure(ident, f'{type(error).__module__}.{type(error).__name__}', str(error).strip())
        return Response(200, json.dumps(answer).encode(), 'application/json; charset=utf-8')

    def call(self, model: str, method: str, args: list) -> object:
        """Raises LookupError for what only Odoo can do."""
        if (model, method) == ('ir.config_parameter', 'get_param'):
            return self._registry.parameter(args[0]) or False
        with self._pool.transaction(self._database) as sql:
            if (model, method) == ('ir.attachment', 'create'):
                content = base64.b64decode(args[0].get('datas') or '', validate=True)
                return self._attachments.create(sql, str(args[0]['name']), content, 'application/octet-stream')
            if (model, method) == ('ir.attachment', 'read'):
                found = [(ident, self._attachments.read(sql, ident=ident)) for ident in args[0]]
                return [{'id': ident, 'datas': one and base64.b64encode(one[0]).decode()} for ident, one in found]
        raise LookupError(f'the stand-in has no {model}.{method}')
