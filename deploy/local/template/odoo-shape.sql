-- A database of Odoo's shape, made by us for the local stack and the tests: it has the tables, names and keys of
-- Odoo 18 that the mesh touches, with a little content. It is not Odoo's schema, and no Odoo runs on it.

CREATE TABLE ir_model_data (id serial PRIMARY KEY, module text NOT NULL, name text NOT NULL, model text NOT NULL, res_id integer, UNIQUE (module, name));
CREATE TABLE ir_config_parameter (id serial PRIMARY KEY, key text NOT NULL UNIQUE, value text NOT NULL, create_uid integer, create_date timestamp, write_uid integer, write_date timestamp);
CREATE TABLE res_lang (id serial PRIMARY KEY, code text NOT NULL UNIQUE, name text NOT NULL, active boolean NOT NULL);
CREATE TABLE res_country (id serial PRIMARY KEY, code varchar(2) NOT NULL UNIQUE, name text NOT NULL);
CREATE TABLE res_partner (id serial PRIMARY KEY, name text, complete_name text, email text, lang text, country_id integer REFERENCES res_country);
CREATE TABLE res_company (id serial PRIMARY KEY, name text NOT NULL UNIQUE, partner_id integer NOT NULL REFERENCES res_partner);
CREATE TABLE res_users (id serial PRIMARY KEY, login text NOT NULL UNIQUE, password text, active boolean DEFAULT true, company_id integer REFERENCES res_company, partner_id integer NOT NULL REFERENCES res_partner, write_date timestamp);
CREATE TABLE res_users_log (id serial PRIMARY KEY, create_uid integer, create_date timestamp);
CREATE TABLE res_device_log (id serial PRIMARY KEY, session_identifier text, user_id integer, last_activity timestamp);
CREATE TABLE ir_module_module (id serial PRIMARY KEY, name text NOT NULL UNIQUE, state text NOT NULL, latest_version text);
CREATE TABLE ir_cron (id serial PRIMARY KEY, cron_name text NOT NULL, active boolean NOT NULL, nextcall timestamp NOT NULL, lastcall timestamp, interval_number integer NOT NULL, interval_type text NOT NULL);
CREATE TABLE ir_cron_trigger (id serial PRIMARY KEY, cron_id integer NOT NULL REFERENCES ir_cron ON DELETE CASCADE, call_at timestamp NOT NULL);
CREATE TABLE ir_mail_server (id serial PRIMARY KEY, name text NOT NULL, smtp_host text, active boolean NOT NULL);
CREATE TABLE ir_attachment (id serial PRIMARY KEY, name text NOT NULL, url text, store_fname text, file_size integer, checksum varchar(40), mimetype text, create_date timestamp);
CREATE TABLE bus_presence (id serial PRIMARY KEY, user_id integer, last_poll timestamp, last_presence timestamp, status text);
CREATE INDEX ir_attachment_store_fname ON ir_attachment (store_fname);

-- What a running Odoo looks at to learn that its caches are old.
CREATE SEQUENCE base_registry_signaling;
CREATE SEQUENCE base_cache_signaling_default;
CREATE SEQUENCE base_cache_signaling_assets;
CREATE SEQUENCE base_cache_signaling_templates;
CREATE SEQUENCE base_cache_signaling_routing;
CREATE SEQUENCE base_cache_signaling_groups;

-- The first value is taken, as Odoo does it: before that nextval would give 1, and last_value stay what it was.
SELECT nextval('base_registry_signaling'), nextval('base_cache_signaling_default'), nextval('base_cache_signaling_assets'),
  nextval('base_cache_signaling_templates'), nextval('base_cache_signaling_routing'), nextval('base_cache_signaling_groups');

-- One of each kind that can belong to somebody.
CREATE VIEW active_users AS SELECT id, login FROM res_users WHERE active;
CREATE MATERIALIZED VIEW company_count AS SELECT count(*) AS companies FROM res_company;
CREATE FUNCTION company_name() RETURNS text LANGUAGE sql STABLE AS 'SELECT name FROM res_company ORDER BY id LIMIT 1';

INSERT INTO res_lang (code, name, active) VALUES ('en_US', 'English (US)', true), ('fr_FR', 'French / Français', true), ('de_DE', 'German / Deutsch', false);
INSERT INTO res_country (code, name) VALUES ('US', 'United States'), ('ZW', 'Zimbabwe'), ('FR', 'France'), ('DE', 'Germany');
INSERT INTO res_partner (name, complete_name, email, lang) VALUES ('My Company', 'My Company', NULL, NULL), ('Mitchell Admin', 'Mitchell Admin', 'admin@example.com', 'en_US');
INSERT INTO res_company (name, partner_id) VALUES ('My Company', 1);
-- The password is "admin", with few rounds.
INSERT INTO res_users (id, login, password, company_id, partner_id) VALUES (2, 'admin', '$pbkdf2-sha512$1000$AAAAAAAAAAAAAAAAAAAAAA$zw9LXfUXx95HsQrLOtn753cx7VApzQx5nFFSowrCayWnlox48rhjcqn11B9RFnkJ36UV2I.5AOP5dAbww/rdbg', 1, 2);
SELECT setval('res_users_id_seq', 10);
INSERT INTO ir_model_data (module, name, model, res_id) VALUES ('base', 'user_admin', 'res.users', 2), ('base', 'main_company', 'res.company', 1);
INSERT INTO ir_config_parameter (key, value, create_uid) VALUES ('database.uuid', '00000000-0000-0000-0000-000000000000', 1), ('database.secret', 'of-the-template', 1), ('web.base.url', 'http://localhost:8069', 1);
INSERT INTO ir_module_module (name, state, latest_version) VALUES ('base', 'installed', '18.0.1.3'), ('web', 'installed', '18.0.1.0'), ('bus', 'installed', '18.0.1.0'), ('mail', 'installed', '18.0.1.15');
INSERT INTO ir_cron (cron_name, active, nextcall, interval_number, interval_type) VALUES ('Base: Auto-vacuum internal data', true, now() AT TIME ZONE 'UTC', 1, 'days'), ('Mail: Email Queue Manager', true, now() AT TIME ZONE 'UTC', 1, 'hours');
INSERT INTO ir_mail_server (name, smtp_host, active) VALUES ('local', 'localhost', true);
INSERT INTO ir_attachment (name, url, store_fname, file_size, checksum, mimetype) VALUES ('web.assets_web.min.js', '/web/assets/1/web.assets_web.min.js', 'da/da39a3ee5e6b4b0d3255bfef95601890afd80709', 0, 'da39a3ee5e6b4b0d3255bfef95601890afd80709', 'application/javascript');
INSERT INTO res_users_log (create_uid, create_date) VALUES (2, now() AT TIME ZONE 'UTC');
INSERT INTO res_device_log (session_identifier, user_id, last_activity) VALUES ('of-the-template', 2, now() AT TIME ZONE 'UTC');
