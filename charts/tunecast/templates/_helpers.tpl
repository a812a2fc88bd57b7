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

{{/* What the schema can't say. */}}
{{- define "tunecast.validate" -}}
{{- if and (eq (.Values.s3.addressingStyle | default "Auto") "Virtual") (contains "." .Values.s3.bucket) (not (hasPrefix "http://" .Values.s3.endpoint)) }}
{{- fail (printf "s3.addressingStyle is Virtual and s3.bucket %s has a dot: no TLS certificate of the store covers it. Use Path, or a bucket without a dot." .Values.s3.bucket) }}
{{- end }}
{{- if gt (len (compact (list .Values.s3.caCertificates .Values.s3.caCertificatesConfigMap .Values.s3.caCertificatesSecret))) 1 }}
{{- fail "set one of s3.caCertificates, s3.caCertificatesConfigMap and s3.caCertificatesSecret" }}
{{- end }}
{{- end }}

{{/* Named after what it holds, so that a change of it restarts the operator. */}}
{{- define "tunecast.caConfigMap" -}}
{{ .Release.Name }}-store-ca-{{ .Values.s3.caCertificates | sha256sum | trunc 8 }}
{{- end }}

{{/* Where the certificates of the store's authorities come from: empty where the public ones count. */}}
{{- define "tunecast.caSource" -}}
{{- if .Values.s3.caCertificates -}}
configMap: {name: {{ include "tunecast.caConfigMap" . }}}
{{- else if .Values.s3.caCertificatesConfigMap -}}
configMap: {name: {{ .Values.s3.caCertificatesConfigMap }}}
{{- else if .Values.s3.caCertificatesSecret -}}
secret: {secretName: {{ .Values.s3.caCertificatesSecret }}}
{{- end }}
{{- end }}

{{/* The environment of the operator and of `helm test`: both fields of the container. */}}
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
- {name: TUNECAST_INIT_IMAGE, value: {{ include "tunecast.image" (dict "image" .Values.initImage "chart" .Chart) | quote }}}
- {name: TUNECAST_INIT_PULL_POLICY, value: {{ .Values.initImage.pullPolicy }}}
- {name: TUNECAST_INIT_CONTAINER, value: {{ .Values.initContainer | toJson | replace "$(" "$$(" | quote }}}
- {name: TUNECAST_INIT_DEADLINE_SECONDS, value: {{ .Values.initDeadlineSeconds | quote }}}
- {name: TUNECAST_WATCH_NAMESPACES, value: {{ join "," .Values.watchNamespaces | quote }}}
- {name: TUNECAST_LOG_LEVEL, value: {{ .Values.logLevel }}}
- {name: TUNECAST_READ_NODES, value: {{ .Values.readNodes | quote }}}
- {name: TUNECAST_METRICS_PORT, value: {{ .Values.metrics.port | quote }}}
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

{{/* The operator's emptyDir pins no node for Cluster Autoscaler; a list of one's own is added to. */}}
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

{{/* What the operator may do in the namespaces that it looks after: each verb is one that it uses. */}}
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
{{/* To set blockOwnerDeletion on children, where the cluster checks it. */}}
- apiGroups: [tunecast.io]
  resources: [inferencedeployments/finalizers, startupcaches/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
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
{{/* The ranks' settings; tenants' Secrets are never read. */}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create, list]
{{- end }}
