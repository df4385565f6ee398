"""What is answered at which path."""

import html
import json
import logging
import time
from collections.abc import Callable

import psycopg2

from . import users
from .attachments import Attachments
from .database import Pool, PoolIsFull, scalar
from .http_service import Request, Response
from .registry import NotInitialised, Registry
from .rpc import Rpc, failure
from .sessions import Session, SessionStore, token_of
from .settings import Settings
from .users import AccessDenied, User

log = logging.getLogger(__name__)

#: The address of a page for people without a database; every platform closes it at its edge.
SELECTOR = '/web/database/selector'
BUNDLES = {
    '/web/assets/1/web.assets_web.min.js': 'application/javascript',
    '/web/assets/1/web.assets_web.min.css': 'text/css',
}
LEAK_BYTES = 32 * 1024 * 1024


class Site:
    def __init__(self, settings: Settings, pool: Pool, registry: Registry) -> None:
        self._settings = settings
        self._pool = pool
        self._registry = registry
        self._attachments = Attachments(settings)
        self._sessions = SessionStore(settings.data_dir)
        self._rpc = Rpc(settings, pool, registry, self._attachments)
        self._leaked: list[bytes] = []
        #: These do without the database.
        self._open: dict[str, Callable[[Request], Response]] = {
            '/web/health': self._health,
            SELECTOR: lambda _: _page('Databases', '<p>The list of databases is closed.</p>'),
            '/web/database/manager': lambda _: _page('Databases', '<p>disabled by the administrator</p>'),
            '/jsonrpc': lambda request: self._rpc.json(request.body),
        }
        self._pages: dict[str, Callable[[Request], Response]] = {
            '/': lambda _: _redirect('/odoo'),
            '/web': lambda _: _redirect('/odoo'),
            '/odoo': self._client,
            '/web/login': self._login,
        }
        self._rest: dict[str, Callable[[Request], Response]] = {
            '/websocket/health': lambda _: _json({'status': 'pass'}),
            '/web/session/authenticate': self._authenticate,
            '/web/session/get_session_info': self._get_session_info,
            '/web/dataset/call_kw': self._call_kw,
        }

    def answer(self, request: Request) -> Response:
        """Never raises; what goes wrong is 500 and in the log."""
        try:
            self._sessions.prepare()
            is_open = self._open_database()
            if request.path in self._open:
                return self._open[request.path](request)
            if request.path in self._pages:
                return self._pages[request.path](request) if is_open else _redirect(SELECTOR)
            if is_open and request.path in self._rest:
                return self._rest[request.path](request)
            if is_open and request.path in BUNDLES:
                return self._bundle(request.path)
            return Response(404, b'Not Found')
        except PoolIsFull as error:
            log.error('%s', error)
            return Response(500, str(error).encode())
        except Exception:
            log.exception('Exception during request handling')
            return Response(500, b'Internal Server Error')

    def _open_database(self) -> bool:
        """Waits while the registry loads. False: there is no such database, or nobody answers."""
        try:
            self._registry.open()
            return True
        except (psycopg2.Error, NotInitialised) as error:
            log.warning('the database cannot be opened: %s', str(error).strip())
            return False

    def _health(self, request: Request) -> Response:
        if self._registry.fails('health'):
            raise RuntimeError('the fault "health" is switched on')
        if request.query.get('db_server_status', '').lower() not in ('1', 'true'):
            return _json({'status': 'pass'})
        try:
            with self._pool.transaction('postgres') as sql:
                sql.execute('SELECT 1')
            return _json({'status': 'pass', 'db_server_status': True})
        except psycopg2.Error:
            return _json({'status': 'fail', 'db_server_status': False}, 500)

    def _login(self, request: Request) -> Response:
        if self._registry.fails('login'):
            raise RuntimeError('the fault "login" is switched on')
        if self._registry.fails('memory'):
            self._leaked.append(b'\1' * LEAK_BYTES)
        session = self._sessions.load(request.session_id)
        csrf = session.csrf_token(self._secret())
        error = ''
        if request.method == 'POST':
            if request.form.get('csrf_token') != csrf:
                return Response(400, b'Session expired (invalid CSRF token)')
            try:
                user = self._authenticated(request, request.form.get('login', ''), request.form.get('password', ''))
                return _redirect('/odoo', self._start_session(session, user))
            except AccessDenied:
                error = '<p class="error">Wrong login/password</p>'
        self._sessions.save(session)
        if self._registry.parameter('database.is_neutralized'):
            error += '<p>This is a neutralized database.</p>'
        form = f"""{error}<form method="post" action="/web/login">
<input type="hidden" name="csrf_token" value="{csrf}"/>
<input name="login"/><input name="password" type="password"/><button>Log in</button></form>"""
        return _page('Log in', form, session.sid)

    def _client(self, request: Request) -> Response:
        session = self._sessions.load(request.session_id)
        user = self._user(session)
        if user is None:
            return _redirect('/web/login')
        info = html.escape(json.dumps(self._session_info(user)))
        css, js = (next(path for path, kind in BUNDLES.items() if ending in kind) for ending in ('css', 'javascript'))
        return _page('Odoo', f'<link rel="stylesheet" href="{css}"/><script src="{js}"></script><pre>{info}</pre>')

    def _authenticate(self, request: Request) -> Response:
        def act(params: dict) -> tuple[object, str | None]:
            if not self._settings.serves_database(params['db'], request.host):
                raise LookupError('Database not found.')
            user = self._authenticated(request, str(params['login']), str(params['password']))
            sid = self._start_session(self._sessions.load(request.session_id), user)
            return self._session_info(user), sid

        return _json_rpc(request, act)

    def _get_session_info(self, request: Request) -> Response:
        return self._for_user(request, lambda user, _: self._session_info(user))

    def _call_kw(self, request: Request) -> Response:
        def act(_: User, params: dict) -> object:
            return self._rpc.call(params['model'], params['method'], params.get('args', []))

        return self._for_user(request, act)

    def _for_user(self, request: Request, act: Callable[[User, dict], object]) -> Response:
        user = self._user(self._sessions.load(request.session_id))
        if user is None:
            return _json(failure(None, 'odoo.http.SessionExpiredException', 'Session expired', code=100))
        return _json_rpc(request, lambda params: (act(user, params), None))

    def _bundle(self, path: str) -> Response:
        """From the filestore; built first when its row or its file is missing."""
        with self._pool.transaction(self._settings.db_name) as sql:
            found = self._attachments.read(sql, url=path)
            if not found:
                sql.execute("SELECT string_agg(name, ' ' ORDER BY name) FROM ir_module_module")
                content = f'/* The stand-in of Odoo has nothing to show. Modules: {scalar(sql)} */\n'.encode()
                sql.execute('DELETE FROM ir_attachment WHERE url = %s', (path,))
                self._attachments.create(sql, path.rsplit('/', 1)[1], content, BUNDLES[path], path)
                log.info('asset bundle built: %s', path)
                found = content, BUNDLES[path]
        return Response(200, *found)

    def _authenticated(self, request: Request, login: str, password: str) -> User:
        """Raises AccessDenied. An administrator's log-in tells the instance its address, unless that is frozen."""
        user = users.authenticate(self._pool, self._settings.db_name, login, password)
        if user.is_administrator and not self._registry.parameter('web.base.url.freeze'):
            with self._pool.transaction(self._settings.db_name) as sql:
                sql.execute(
                    "UPDATE ir_config_parameter SET value = %s WHERE key = 'web.base.url'",
                    (f'{request.scheme}://{request.host}',),
                )
            with self._pool.transaction(self._settings.db_name) as sql:
                sql.execute("SELECT nextval('base_cache_signaling_default')")
            self._registry.forget_parameters()
        return user

    def _start_session(self, before: Session, user: User) -> str:
        session = self._sessions.replace(before)
        token = token_of(self._secret(), user.uid, user.login, user.password_hash)
        session.data = {'uid': user.uid, 'login': user.login, 'token': token, 'seen': 0}
        self._note_use(session)
        self._sessions.save(session)
        return session.sid

    def _user(self, session: Session) -> User | None:
        """Who is logged in; nobody any more when the secret, the log-in name or the password has changed since."""
        if 'uid' not in session.data:
            return None
        user = users.find(self._pool, self._settings.db_name, session.data['uid'])
        if user is None or session.data['token'] != token_of(self._secret(), user.uid, user.login, user.password_hash):
            return None
        if time.time() - session.data['seen'] > 3600:
            self._note_use(session)
            self._sessions.save(session)
        return user

    def _note_use(self, session: Session) -> None:
        """At the first request of a session and then hourly."""
        session.data['seen'] = time.time()
        with self._pool.transaction(self._settings.db_name) as sql:
            sql.execute(
                'INSERT INTO res_device_log (session_identifier, user_id, last_activity)'
                " VALUES (%s, %s, now() AT TIME ZONE 'UTC')",
                (session.sid[:42], session.data['uid']),
            )

    def _secret(self) -> str:
        return self._registry.parameter('database.secret') or ''

    def _session_info(self, user: User) -> dict:
        return {
            'uid': user.uid,
            'db': self._settings.db_name,
            'username': user.login,
            'name': user.name,
            'partner_id': user.partner_id,
            'user_context': {'lang': user.lang, 'uid': user.uid},
            'company_name': user.company,
            'web.base.url': self._registry.parameter('web.base.url'),
            'server_version': '18.0 (stand-in)',
        }


def _json_rpc(request: Request, act: Callable[[dict], tuple[object, str | None]]) -> Response:
    """`act` takes the params and gives the result and the session to set."""
    try:
        call = json.loads(request.body)
        ident, params = call.get('id'), call['params']
    except (ValueError, KeyError, AttributeError):
        return Response(400, b'Invalid JSON data')
    try:
        result, sid = act(params)
        return _json({'jsonrpc': '2.0', 'id': ident, 'result': result}, session_id=sid)
    except AccessDenied as error:
        return _json(failure(ident, 'odoo.exceptions.AccessDenied', str(error)))
    except LookupError as error:
        return _json(failure(ident, 'odoo.exceptions.AccessError', str(error)))


def _json(data: object, status: int = 200, session_id: str | None = None) -> Response:
    return Response(status, json.dumps(data).encode(), 'application/json; charset=utf-8', session_id=session_id)


def _page(title: str, body: str, session_id: str | None = None) -> Response:
    head = f'<!DOCTYPE html><html><head><title>{title} | stand-in for Odoo</title></head>'
    return Response(200, f'{head}<body>{body}</body></html>'.encode(), session_id=session_id)


def _redirect(location: str, session_id: str | None = None) -> Response:
    return Response(303, b'', location=location, session_id=session_id)
