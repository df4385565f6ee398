module odoo-mesh/local/crds

go 1.26.0

// Only their CustomResourceDefinition files are used; nothing of them is compiled.
require (
	github.com/kubernetes-csi/external-snapshotter/client/v8 v8.7.0
	github.com/traefik/traefik/v3 v3.6.12
)
