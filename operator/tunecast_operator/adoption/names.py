"""The label, the annotations and the ConfigMap by which owners of pods talk to Tunecast, and it to them."""

from __future__ import annotations

INJECT_LABEL = "tunecast.io/inject"
INJECT = f"{INJECT_LABEL}=true"  # selects adopted pods, injected or not
INJECTED_ANNOTATION = "tunecast.io/injected"
NOT_INJECTED_ANNOTATION = "tunecast.io/not-injected"  # why, and what to do
DEFAULTS = "tunecast-defaults"  # a ConfigMap with a namespace's settings
