"""Programs that look at what Fuma is made of, now and then: `make audit-deps`, `make sbom`, `make licences`."""
