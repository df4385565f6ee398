import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type OdooConf, odooConf } from './odoo-conf.js';

const conf: OdooConf = {
  databaseHost: 'shard-1.databases.svc',
  databasePort: 5432,
  role: 'mesh_o7f3a',
  database: 'mesh_o7f3a',
  password: 's3cret',
  adminPassword: 'r4ndom',
  databasePool: 8,
  memoryLimitBytes: 402_653_184,
};

it('is the file a real Odoo 18 ran with, restarting itself at the memory limit of its pod', () => {
  expect(odooConf(conf)).toBe(`[options]
addons_path = /opt/odoo/odoo/addons,/opt/odoo/addons
data_dir = /var/lib/odoo
db_host = shard-1.databases.svc
db_port = 5432
db_user = mesh_o7f3a
db_password = s3cret
db_name = mesh_o7f3a
dbfilter = ^mesh_o7f3a$
db_maxconn = 8
list_db = False
proxy_mode = True
workers = 0
max_cron_threads = 1
http_port = 8069
admin_passwd = r4ndom
without_demo = all
server_wide_modules = base,web
limit_memory_soft = 402653184
limit_memory_hard = 0
limit_time_cpu = 0
limit_time_real = 0
`);
});

it('what only looks dangerous stands for itself', () => {
  const password = '%(db_host)s ; # = [options] : $x';
  expect(odooConf({ ...conf, password })).toContain(`\ndb_password = ${password}\n`);
});

it.each([
  ['a line end', 'a\nlist_db = True'],
  ['a carriage return', 'a\rlist_db = True'],
  ['a line end of other alphabets', 'a\u0085b'],
  ['a line separator', 'a\u2028b'],
  ['nothing', ''],
  ['a blank before', ' a'],
  ['a blank behind', 'a '],
  ['a tab', 'a\tb'],
  ['a NUL', 'a\0b'],
  ['what is not ASCII', 'passwört'],
  ['a word that Odoo takes for a boolean', 'True'],
  ['another one', 'false'],
])('refuses a password with %s', (_, password) => {
  expect(() => odooConf({ ...conf, password })).toThrow('odoo.conf cannot hold this value of db_password');
});

it('does not say the password that it refuses', () => {
  expect(() => odooConf({ ...conf, password: 'hunter2\nhunter2' })).not.toThrow('hunter2');
});

it.each(['a,b', 'a.*', '%d', 'A', 'a-b', '1a', ''])('refuses %j as the name of database and role', (name) => {
  expect(() => odooConf({ ...conf, database: name })).toThrow('db_name');
  expect(() => odooConf({ ...conf, role: name })).toThrow('db_user');
});

it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('refuses %d as a number', (number) => {
  for (const field of ['databasePort', 'databasePool', 'memoryLimitBytes'] as const)
    expect(() => odooConf({ ...conf, [field]: number })).toThrow('whole number');
});

it('no text field can add an option or change another: each is its own value, or refused', () => {
  const any = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.stringMatching(/^[ -~]{0,40}$/),
    fc.constantFrom('\n', '\r\n', ';', '#', '=', '%', '[x]').map((part) => `a${part}list_db = True`),
  );
  const fields = { databaseHost: 'db_host', password: 'db_password', adminPassword: 'admin_passwd' } as const;
  const expected = readAsPython(odooConf(conf));
  let accepted = 0;
  fc.assert(
    fc.property(fc.constantFrom(...(Object.keys(fields) as (keyof typeof fields)[])), any, (field, value) => {
      let text: string;
      try {
        text = odooConf({ ...conf, [field]: value });
      } catch {
        return;
      }
      accepted += 1;
      expect(readAsPython(text)).toEqual({ ...expected, [fields[field]]: value });
    }),
  );
  expect(accepted).toBeGreaterThan(10);
});

/** As RawConfigParser does with its defaults: no inline comments, no interpolation, blanks stripped. */
function readAsPython(text: string): Record<string, string> {
  const options: Record<string, string> = {};
  let last: string | undefined;
  for (const line of text.split(/\r\n|\r|\n/).slice(1)) {
    if (/^\s*([#;]|$)/.test(line)) continue;
    if (/^\s/.test(line) && last) options[last] += `\n${line.trim()}`;
    else {
      const [, name, value] = /^(.*?)\s*[=:]\s*(.*)$/.exec(line.trim())!;
      last = name!.toLowerCase();
      options[last] = value!;
    }
  }
  return options;
}
