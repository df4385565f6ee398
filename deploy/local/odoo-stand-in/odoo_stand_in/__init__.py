"""A small program that behaves towards its surroundings as Odoo 18 was measured to. It is not Odoo."""
