export interface OdooConf {
  readonly databaseHost: string;
  readonly databasePort: number;
  readonly role: string;
  readonly database: string;
  readonly password: string;
  /** Of the database manager, which no route reaches. */
  readonly adminPassword: string;
  readonly databasePool: number;
  /** The pod's memory limit. */
  readonly memoryLimitBytes: number;
}

/** Where Odoo keeps what it writes; everything else of the container is read-only. */
export const dataDir = '/var/lib/odoo';
export const filestoreDir = `${dataDir}/filestore`;
export const httpPort = 8069;

/**
 * The file Odoo 18 reads, as it was run (facts: odoo-in-a-pod §3). The soft limit is the pod's: Odoo restarts itself in
 * place before the kernel kills it. The hard one stays 0: with it Odoo stored broken assets and served them (§4).
 * Throws on a value that could end its line or be read as something else, without saying the value.
 */
export function odooConf(conf: OdooConf): string {
  const database = identifier('db_name', conf.database);
  const options: Record<string, string | number> = {
    addons_path: '/opt/odoo/odoo/addons,/opt/odoo/addons',
    data_dir: dataDir,
    db_host: text('db_host', conf.databaseHost),
    db_port: whole('db_port', conf.databasePort),
    db_user: identifier('db_user', conf.role),
    db_password: text('db_password', conf.password),
    db_name: database,
    dbfilter: `^${database}$`,
    db_maxconn: whole('db_maxconn', conf.databasePool),
    list_db: 'False',
    proxy_mode: 'True',
    workers: 0,
    max_cron_threads: 1,
    http_port: httpPort,
    admin_passwd: text('admin_passwd', conf.adminPassword),
    without_demo: 'all',
    server_wide_modules: 'base,web',
    limit_memory_soft: whole('limit_memory_soft', conf.memoryLimitBytes),
    limit_memory_hard: 0,
    limit_time_cpu: 0,
    limit_time_real: 0,
  };
  const lines = Object.entries(options).map(([name, value]) => `${name} = ${value}`);
  return `[options]\n${lines.join('\n')}\n`;
}

/**
 * Odoo reads the file with Python's RawConfigParser: a value ends with its line and loses blanks at its ends; `%`, `;`,
 * `#` and `=` in it stand for themselves. Odoo then takes the bare words below for something else than text.
 */
function text(name: string, value: string): string {
  // Printable ASCII: what counts as a blank or ends a line beyond it differs between readers and locales.
  if (!/^[!-~](?:[ -~]*[!-~])?$/.test(value) || /^(?:true|false|none)$/i.test(value))
    throw new Error(`odoo.conf cannot hold this value of ${name}: one line of printable ASCII, no blanks at its ends`);
  return value;
}

/** Odoo splits db_name at commas, and a dbfilter is a regular expression with %h and %d replaced. */
function identifier(name: string, value: string): string {
  if (!/^[a-z][a-z0-9_]{0,62}$/.test(value))
    throw new Error(`${name} in odoo.conf is 1 to 63 of a-z, 0-9 and _, a letter first`);
  return value;
}

function whole(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`${name} in odoo.conf is a whole number above 0`);
  return value;
}
