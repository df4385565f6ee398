/** A kind of row by which an Odoo acts on the world outside. */
export interface Rule {
  readonly table: string;
  readonly what: string;
  /** Columns that `set` and `acts` name. */
  readonly needs: readonly string[];
  readonly set: string;
  /** True of a row that acts. */
  readonly acts: string;
  /** Every Odoo has the table. */
  readonly always?: true;
  /** The table is of another module, which has the column only where this one is installed. */
  readonly shared?: true;
}

/** Of all crons only the one that clears away is left (facts: odoo-measured §4). */
const autovacuum = `SELECT 1 FROM public.ir_model_data d
  WHERE d.module = 'base' AND d.name = 'autovacuum_job' AND d.model = 'ir.cron' AND d.res_id = ir_cron.id`;

const secret = (table: string, columns: readonly string[], what: string): readonly Rule[] =>
  columns.map((column) => ({
    table,
    what,
    needs: [column],
    set: `${column} = NULL`,
    acts: `${column} IS NOT NULL`,
    shared: true as const,
  }));

/** Set to `to`, wherever the column is there. */
const switched = (table: string, column: string, to: 'true' | 'false', what: string): Rule => ({
  table,
  what,
  needs: [column],
  set: `${column} = ${to}`,
  acts: `${column} IS DISTINCT FROM ${to}`,
  shared: true,
});

/** What Odoo 18 and its community modules neutralise, by their tables, and what would go out besides. */
export const rules: readonly Rule[] = [
  {
    table: 'ir_cron',
    what: 'scheduled actions',
    needs: ['id', 'active'],
    set: 'active = false',
    acts: `active AND NOT EXISTS (${autovacuum})`,
    always: true,
  },
  {
    table: 'ir_mail_server',
    what: 'outgoing mail servers',
    needs: ['active', 'smtp_host'],
    set: 'active = false',
    acts: `active AND smtp_host IS DISTINCT FROM 'invalid'`,
    always: true,
  },
  ...secret('ir_mail_server', ['smtp_pass'], 'passwords of outgoing mail'),
  {
    table: 'fetchmail_server',
    what: 'incoming mail servers, which would take the mails away',
    needs: ['active'],
    set: 'active = false',
    acts: 'active',
  },
  ...secret('mail_template', ['mail_server_id'], 'templates with a mail server of their own'),
  {
    table: 'mail_mail',
    what: 'mails that wait to be sent',
    needs: ['state'],
    set: `state = 'cancel'`,
    acts: `state = 'outgoing'`,
  },
  {
    table: 'sms_sms',
    what: 'text messages that wait to be sent',
    needs: ['state'],
    set: `state = 'canceled'`,
    acts: `state = 'outgoing'`,
  },
  {
    table: 'mailing_mailing',
    what: 'mailings that wait to be sent',
    needs: ['state'],
    set: `state = 'draft'`,
    acts: `state IN ('in_queue', 'sending')`,
  },
  {
    table: 'payment_provider',
    what: 'payment providers',
    needs: ['state'],
    set: `state = 'disabled'`,
    acts: `state IS NULL OR state NOT IN ('test', 'disabled')`,
  },
  switched('delivery_carrier', 'prod_environment', 'false', 'carriers in production'),
  {
    table: 'delivery_carrier',
    what: 'carriers outside',
    needs: ['active', 'delivery_type'],
    set: 'active = false',
    acts: `active AND delivery_type NOT IN ('fixed', 'base_on_rule')`,
  },
  {
    table: 'iap_account',
    what: 'bought services',
    needs: ['account_token'],
    set: `account_token = pg_catalog.split_part(account_token, '+', 1) OPERATOR(pg_catalog.||) '+disabled'`,
    acts: `account_token IS NOT NULL AND account_token NOT LIKE '%+disabled'`,
  },
  {
    table: 'ir_act_server',
    what: 'webhooks that are called',
    needs: ['state', 'webhook_url'],
    set: `webhook_url = 'neutralised'`,
    acts: `state = 'webhook' AND webhook_url IS DISTINCT FROM 'neutralised'`,
    shared: true,
  },
  {
    table: 'auth_oauth_provider',
    what: 'log-in by others',
    needs: ['enabled'],
    set: 'enabled = false',
    acts: 'enabled',
  },
  {
    table: 'website',
    what: 'web sites with a domain of their own',
    needs: ['domain'],
    set: 'domain = NULL',
    acts: 'domain IS NOT NULL',
  },
  switched('website', 'cdn_activated', 'false', 'web sites behind a CDN'),
  ...['res_users', 'res_users_settings', 'google_calendar_credentials'].flatMap((table) =>
    secret(
      table,
      ['google_calendar_rtoken', 'google_calendar_token', 'calendar_rtoken', 'calendar_token'],
      'calendars at Google',
    ),
  ),
  ...['res_users', 'res_users_settings', 'microsoft_calendar_credentials'].flatMap((table) =>
    secret(table, ['microsoft_calendar_rtoken', 'microsoft_calendar_token'], 'calendars at Microsoft'),
  ),
  ...['ir_mail_server', 'fetchmail_server'].flatMap((table) =>
    secret(
      table,
      [
        ...['google_gmail_refresh_token', 'google_gmail_access_token'],
        ...['microsoft_outlook_refresh_token', 'microsoft_outlook_access_token'],
      ],
      'mail accounts at Google or Microsoft',
    ),
  ),
  switched('res_company', 'l10n_es_sii_test_env', 'true', 'invoices to the Spanish authority'),
  switched('res_company', 'l10n_es_tbai_test_env', 'true', 'invoices to the Basque authorities'),
  switched('res_company', 'l10n_eg_production_env', 'false', 'invoices to the Egyptian authority'),
  switched('res_company', 'l10n_in_edi_production_env', 'false', 'invoices to the Indian authority'),
  {
    table: 'res_company',
    what: 'invoices to the Hungarian authority',
    needs: ['l10n_hu_edi_server_mode'],
    set: `l10n_hu_edi_server_mode = 'test'`,
    acts: `l10n_hu_edi_server_mode = 'production'`,
    shared: true,
  },
  {
    table: 'account_edi_proxy_client_user',
    what: 'electronic invoices',
    needs: ['edi_mode'],
    set: `edi_mode = 'test'`,
    acts: `edi_mode = 'prod'`,
  },
  {
    table: 'queue_job',
    what: 'queued jobs',
    needs: ['state'],
    set: `state = 'cancelled'`,
    acts: `state IN ('wait_dependencies', 'pending', 'enqueued', 'started')`,
  },
];
