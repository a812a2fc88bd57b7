{{- define "tunecast.labels" -}}
app.kubernetes.io/name: tunecast
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "tunecast.selector" -}}
app.kubernetes.io/name: tunecast
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tunecast.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default .Release.Name }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "tunecast.image" -}}
{{ .image.repository }}:{{ .image.tag | default .chart.AppVersion }}
{{- end }}

{{/* Name of all objects of the webhook. */}}
{{- define "tunecast.webhook" -}}
{{ .Release.Name }}-webhook
{{- end }}

{{- define "tunecast.webhookSelector" -}}
app.kubernetes.io/name: tunecast-webhook
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tunecast.webhookLabels" -}}
{{ merge (include "tunecast.webhookSelector" . | fromYaml) (include "tunecast.labels" . | fromYaml) | toYaml }}
{{- end }}

{{/* Not empty where the webhook is installed. Values that an upgrade reuses of a release without it don't have it. */}}
{{- define "tunecast.webhookEnabled" -}}
{{- if and .Values.webhook .Values.webhook.enabled }}true{{ end }}
{{- end }}

{{- define "tunecast.certManager" -}}
{{- if and (include "tunecast.webhookEnabled" .) .Values.webhook.certManager .Values.webhook.certManager.enabled }}true{{ end }}
{{- end }}

{{/* Not empty where the operator issues the webhook's certificate. */}}
{{- define "tunecast.ownCertificate" -}}
{{- if and (include "tunecast.webhookEnabled" .) (not (include "tunecast.certManager" .)) }}true{{ end }}
{{- end }}

{{/* Checks that a JSON schema can't express. */}}
{{- define "tunecast.validate" -}}
{{- if and (eq (.Values.s3.addressingStyle | default "Auto") "Virtual") (contains "." .Values.s3.bucket) (not (hasPrefix "http://" .Values.s3.endpoint)) }}
{{- fail (printf "s3.addressingStyle is Virtual and s3.bucket %s has a dot: no TLS certificate of the store covers it. Use Path, or a bucket without a dot." .Values.s3.bucket) }}
{{- end }}
{{- if gt (len (compact (list .Values.s3.caCertificates .Values.s3.caCertificatesConfigMap .Values.s3.caCertificatesSecret))) 1 }}
{{- fail "set only one of s3.caCertificates, s3.caCertificatesConfigMap and s3.caCertificatesSecret" }}
{{- end }}
{{- end }}

{{/* The name holds a digest of the content, so that a change restarts the operator. */}}
{{- define "tunecast.caConfigMap" -}}
{{ .Release.Name }}-store-ca-{{ .Values.s3.caCertificates | sha256sum | trunc 8 }}
{{- end }}

{{/* The volume source of the store's authorities, or nothing where the public authorities are used. */}}
{{- define "tunecast.caSource" -}}
{{- if .Values.s3.caCertificates -}}
configMap: {name: {{ include "tunecast.caConfigMap" . }}}
{{- else if .Values.s3.caCertificatesConfigMap -}}
configMap: {name: {{ .Values.s3.caCertificatesConfigMap }}}
{{- else if .Values.s3.caCertificatesSecret -}}
secret: {secretName: {{ .Values.s3.caCertificatesSecret }}}
{{- end }}
{{- end }}

{{/* What replicas and adopted pods get, as the operator and the webhook read it. */}}
{{- define "tunecast.initEnvironment" -}}
- {name: TUNECAST_INIT_IMAGE, value: {{ include "tunecast.image" (dict "image" .Values.initImage "chart" .Chart) | quote }}}
- {name: TUNECAST_INIT_PULL_POLICY, value: {{ .Values.initImage.pullPolicy }}}
- {name: TUNECAST_INIT_CONTAINER, value: {{ .Values.initContainer | toJson | replace "$(" "$$(" | quote }}}
{{- end }}

{{- define "tunecast.adoptionDefaults" -}}
{{- if .Values.adoption }}{{ .Values.adoption.defaults | default dict | toJson | replace "$(" "$$(" }}{{ else }}{}{{ end }}
{{- end }}

{{/* The fields env and envFrom of the operator and of `helm test`. */}}
{{- define "tunecast.environment" -}}
{{- include "tunecast.validate" . -}}
env:
- {name: TUNECAST_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
- {name: TUNECAST_BUCKET, value: {{ .Values.s3.bucket | quote }}}
- {name: TUNECAST_PREFIX, value: {{ .Values.s3.prefix | quote }}}
- {name: TUNECAST_ENDPOINT, value: {{ .Values.s3.endpoint | quote }}}
- {name: TUNECAST_REGION, value: {{ .Values.s3.region | quote }}}
- {name: TUNECAST_ADDRESSING_STYLE, value: {{ .Values.s3.addressingStyle | quote }}}
- {name: TUNECAST_PROXY, value: {{ .Values.s3.proxy | quote }}}
- {name: TUNECAST_CA_FILE, value: {{ if include "tunecast.caSource" . }}/etc/tunecast/store-ca/ca.crt{{ end }}}
{{ include "tunecast.initEnvironment" . }}
- {name: TUNECAST_INIT_DEADLINE_SECONDS, value: {{ .Values.initDeadlineSeconds | quote }}}
- {name: TUNECAST_WATCH_NAMESPACES, value: {{ join "," .Values.watchNamespaces | quote }}}
- {name: TUNECAST_LOG_LEVEL, value: {{ .Values.logLevel }}}
- {name: TUNECAST_READ_NODES, value: {{ .Values.readNodes | quote }}}
{{- with .Values.tuning }}
- {name: TUNECAST_TUNING_MAX_CONCURRENT, value: {{ .maxConcurrent | default 0 | quote }}}
- {name: TUNECAST_TUNING_MAX_CONCURRENT_PER_NAMESPACE, value: {{ .maxConcurrentPerNamespace | default 0 | quote }}}
{{- end }}
- {name: TUNECAST_ADOPTION_DEFAULTS, value: {{ include "tunecast.adoptionDefaults" . | quote }}}
- {name: TUNECAST_METRICS_PORT, value: {{ .Values.metrics.port | quote }}}
{{- if include "tunecast.ownCertificate" . }}
- {name: TUNECAST_WEBHOOK_SECRET, value: {{ include "tunecast.webhook" . }}}
- {name: TUNECAST_WEBHOOK_CONFIGURATION, value: {{ include "tunecast.webhook" . }}}
- {name: TUNECAST_WEBHOOK_SERVICE, value: {{ include "tunecast.webhook" . }}}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- if or .Values.s3.credentialsSecret .Values.extraEnvFrom }}
envFrom:
{{- with .Values.extraEnvFrom }}
{{ toYaml . }}
{{- end }}
{{- with .Values.s3.credentialsSecret }}
- secretRef: {name: {{ . }}}
{{- end }}
{{- end }}
{{- end }}

{{/* Cluster Autoscaler may evict the operator although it has an emptyDir. A user's list of volumes is kept. */}}
{{- define "tunecast.podAnnotations" -}}
{{- $name := "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes" }}
{{- $listed := index .Values.podAnnotations $name | default "" | splitList "," | compact }}
{{- merge (dict $name (append $listed "tmp" | uniq | join ",")) .Values.podAnnotations | toYaml }}
{{- end }}

{{- define "tunecast.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if include "tunecast.caSource" . }}
- {name: store-ca, mountPath: /etc/tunecast/store-ca, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tunecast.volumes" -}}
- {name: tmp, emptyDir: {}}
{{- with include "tunecast.caSource" . }}
- name: store-ca
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The operator's rights in the namespaces that it watches. It uses each of these verbs. */}}
{{- define "tunecast.rules" -}}
- apiGroups: [tunecast.io]
  resources: [inferencedeployments]
  verbs: [get, list, watch]
- apiGroups: [tunecast.io]
  resources: [startupcaches]
  verbs: [get, list, watch, create, delete]
- apiGroups: [tunecast.io]
  resources: [inferencedeployments/status, startupcaches/status]
  verbs: [update]
{{/* Clusters with OwnerReferencesPermissionEnforcement require this right to set blockOwnerDeletion. */}}
- apiGroups: [tunecast.io]
  resources: [inferencedeployments/finalizers, startupcaches/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
{{/* The owners of adopted pods, up to the workload that its user knows. */}}
- apiGroups: [apps]
  resources: [replicasets, statefulsets]
  verbs: [get]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch]
{{/* The operator writes the Secrets of attempts, and never reads tenants' Secrets. */}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create, list]
{{- end }}

{{/* What the webhook may do in the namespaces whose pods it is asked about. */}}
{{- define "tunecast.webhookRules" -}}
- apiGroups: [tunecast.io]
  resources: [startupcaches]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, watch]
  resourceNames: [tunecast-defaults]
{{- end }}
