"""Opens the instance beside it once, as its first visitor would, so that whoever gets a copy finds its pages made.

Arguments: database. Ends with 0 when every page came."""

import json
import re
import sys
import time
import urllib.error
import urllib.request
from http.cookiejar import CookieJar

SITE = 'http://127.0.0.1:8069'
browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))


def get(path: str) -> str:
    with browser.open(SITE + path, timeout=300) as answer:
        return answer.read().decode('utf-8', 'replace')


def wait_for_it() -> None:
    until = time.monotonic() + 300
    while True:
        try:
            get('/websocket/health')
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def log_in(database: str) -> None:
    call = {'jsonrpc': '2.0', 'params': {'db': database, 'login': 'admin', 'password': 'admin'}}
    request = urllib.request.Request(
        SITE + '/web/session/authenticate', json.dumps(call).encode(), {'content-type': 'application/json'}
    )
    with browser.open(request, timeout=300) as answer:
        said = json.load(answer)
    if 'error' in said:
        raise SystemExit(f"log-in was refused: {said['error'].get('data', {}).get('message')}")


wait_for_it()
pages = [get('/web/login')]
log_in(sys.argv[1])
pages.append(get('/odoo'))
assets = sorted({found for page in pages for found in re.findall(r'["\'](/web/assets/[^"\']+)["\']', page)})
for path in assets:
    get(path)
print(f'{len(assets)} assets')
