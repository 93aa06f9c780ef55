{{/* Templates that the pods of server, migration and test share. */}}

{{/* Scheduling and security context of a pod; the migration uses all of it too. */}}
{{- define "keyward.podBasics" -}}
automountServiceAccountToken: false
# Else every service beside it would be in its environment.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- with .Values.podSecurityContext }}
  {{- range $name := list "runAsUser" "runAsGroup" "fsGroup" }}
  {{- $id := index $.Values.podSecurityContext $name }}
  {{- if not (kindIs "invalid" $id) }}
  {{ $name }}: {{ int64 $id }}
  {{- end }}
  {{- end }}
  {{- with .supplementalGroups }}
  supplementalGroups: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .seLinuxOptions }}
  seLinuxOptions: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .Values.schedulerName }}
schedulerName: {{ . | quote }}
{{- end }}
{{- with .Values.dnsConfig.options }}
dnsConfig:
  options: {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}

{{- define "keyward.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "keyward.otelEnv" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: OTEL_SERVICE_NAME
  value: {{ .Values.telemetry.serviceName | default (include "keyward.fullname" .) | quote }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ include "keyward.resourceAttributes" . | quote }}
{{- with .Values.telemetry }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ .protocol | quote }}
- name: OTEL_TRACES_SAMPLER
  value: {{ .sampler | quote }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .samplerArg | quote }}
{{- with .headers }}
{{- if .existingSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "keyward.resourceAttributes" -}}
k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME),k8s.node.name=$(NODE_NAME)
{{- range $key, $value := .Values.telemetry.resourceAttributes }},{{ $key }}={{ $value }}{{ end -}}
{{- end -}}

{{/* Volumes of the configuration and of the database's URL, which are all that a migration needs. */}}
{{- define "keyward.databaseMounts" -}}
- name: config
  mountPath: /etc/keyward
  readOnly: true
{{- if include "keyward.sqlite" . }}
- name: data
  mountPath: /var/lib/keyward
- name: tmp
  mountPath: /tmp
{{- else }}
- name: database
  mountPath: /etc/keyward-secrets/database
  readOnly: true
{{- end }}
{{- end -}}

{{/*
A secret's files belong to root. defaultMode 0400 and fsGroup make them 0440 for root and the pod's group,
a mode that Keyward accepts for a keyring. Takes name, secret and items (path: key).
*/}}
{{- define "keyward.secretVolume" -}}
- name: {{ .name }}
  secret:
    secretName: {{ .secret | quote }}
    defaultMode: 0400
    items:
      {{- range $path, $key := .items }}
      - key: {{ $key | quote }}
        path: {{ $path }}
      {{- end }}
{{- end -}}

{{/* Takes root and config, the name of the config map. */}}
{{- define "keyward.databaseVolumes" -}}
{{- $values := .root.Values -}}
- name: config
  configMap:
    name: {{ .config }}
{{- if include "keyward.sqlite" .root }}
- name: data
  persistentVolumeClaim:
    claimName: {{ $values.database.persistence.existingClaim | default (printf "%s-data" (include "keyward.fullname" .root)) | quote }}
# SQLite sorts what is large in a file.
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{- else }}
{{ include "keyward.secretVolume" (dict "name" "database" "secret" $values.database.existingSecret.name "items" (dict "url" $values.database.existingSecret.key)) }}
{{- end }}
{{- end -}}

{{/* Further volumes of the server. */}}
{{- define "keyward.serverMounts" -}}
- name: keyring
  mountPath: /etc/keyward-secrets/keyring
  readOnly: true
{{- if include "keyward.tls" . }}
- name: tls
  mountPath: /etc/keyward-secrets/tls
  readOnly: true
{{- if ne .Values.tls.clientCertificates "none" }}
- name: client-ca
  mountPath: /etc/keyward-secrets/client-ca
  readOnly: true
{{- end }}
{{- end }}
{{- range $name := list "session" "service" }}
{{- $issuer := index $.Values.auth $name }}
{{- if and $issuer.issuer $issuer.jwksConfigMap.name }}
- name: jwks-{{ $name }}
  mountPath: /etc/keyward-jwks/{{ $name }}
  readOnly: true
{{- end }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "keyward.serverVolumes" -}}
{{- $keyring := .Values.keyring.existingSecret -}}
{{- $tls := .Values.tls -}}
{{ include "keyward.secretVolume" (dict "name" "keyring" "secret" $keyring.name "items" (dict "keyring.json" $keyring.key)) }}
{{- if include "keyward.tls" . }}
{{ include "keyward.secretVolume" (dict "name" "tls" "secret" $tls.existingSecret.name "items" (dict "tls.crt" $tls.existingSecret.certKey "tls.key" $tls.existingSecret.keyKey)) }}
{{- if ne $tls.clientCertificates "none" }}
{{ include "keyward.secretVolume" (dict "name" "client-ca" "secret" $tls.clientCa.existingSecret "items" (dict "ca.crt" $tls.clientCa.key)) }}
{{- end }}
{{- end }}
{{- range $name := list "session" "service" }}
{{- $issuer := index $.Values.auth $name }}
{{- if and $issuer.issuer $issuer.jwksConfigMap.name }}
- name: jwks-{{ $name }}
  configMap:
    name: {{ $issuer.jwksConfigMap.name | quote }}
    items:
      - key: {{ $issuer.jwksConfigMap.key | quote }}
        path: jwks.json
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
