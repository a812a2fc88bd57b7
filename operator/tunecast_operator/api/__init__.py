"""The API: typed models as the one source, from which the CRDs are generated."""
