module odoo-mesh/local/pause

go 1.26.0
