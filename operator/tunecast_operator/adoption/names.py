"""Names of the label, the annotations and the ConfigMap that configure adopted pods."""

from __future__ import annotations

INJECT_LABEL = "tunecast.io/inject"
INJECT = f"{INJECT_LABEL}=true"  # selects adopted pods, injected or not
INJECTED_ANNOTATION = "tunecast.io/injected"
NOT_INJECTED_ANNOTATION = "tunecast.io/not-injected"  # has the reason and what to do
DEFAULTS = "tunecast-defaults"  # a ConfigMap with a namespace's settings
