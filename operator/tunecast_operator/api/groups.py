"""Names of the API."""

GROUP = "tunecast.io"
VERSION = "v1alpha2"
