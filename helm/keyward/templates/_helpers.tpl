{{/* Names, labels and values that all templates share. */}}

{{- define "keyward.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 48 characters, so that a name with a suffix has at most 63. A job with a hash truncates more. */}}
{{- define "keyward.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- $full | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of selectors. Do not add to these: selectors are immutable. */}}
{{- define "keyward.selectorLabels" -}}
app.kubernetes.io/name: {{ include "keyward.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Takes root and component. */}}
{{- define "keyward.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "keyward.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: keyward
{{- end -}}

{{- define "keyward.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "keyward.sqlite" -}}
{{- if eq .Values.database.engine "sqlite" }}true{{ end -}}
{{- end -}}

{{- define "keyward.tls" -}}
{{- if .Values.tls.existingSecret.name }}true{{ end -}}
{{- end -}}

{{- define "keyward.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "keyward.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/*
Service account of the migration. A hook runs before the release's own objects exist, so it has its own
account. An account that the chart does not create exists already.
*/}}
{{- define "keyward.migrationAccountName" -}}
{{- if and .Values.serviceAccount.create (eq .Values.migrations.mode "hook") -}}
{{ include "keyward.fullname" . }}-migrate
{{- else -}}
{{ include "keyward.serviceAccountName" . }}
{{- end -}}
{{- end -}}

{{/* Annotations of the objects of a migration hook: created before it, deleted after it. */}}
{{- define "keyward.hookAnnotations" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/*
Termination grace period of a pod: shutdown_delay_ms, drain_timeout_ms, and 15 s. In these 15 s the server closes
the store (5 s) and exports the remaining spans and metrics (5 s).
*/}}
{{- define "keyward.gracePeriod" -}}
{{- $server := .Values.config.server -}}
{{- $ms := add ($server.shutdown_delay_ms | int64) ($server.drain_timeout_ms | int64) -}}
{{- add (div (add $ms 999) 1000) 15 -}}
{{- end -}}
