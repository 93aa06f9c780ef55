{{/*
keyward.toml, generated from the values. JSON strings and lists of strings are valid TOML; Helm's own toToml
writes 5000 as 5000.0, which is not an integer.
*/}}

{{- define "keyward.tomlValue" -}}
{{- if kindIs "string" . -}}
{{ toJson . }}
{{- else if kindIs "bool" . -}}
{{ . }}
{{- else if kindIs "slice" . -}}
[{{ range $i, $one := . }}{{ if $i }}, {{ end }}{{ include "keyward.tomlValue" $one }}{{ end }}]
{{- else -}}
{{ int64 . }}
{{- end -}}
{{- end -}}

{{- define "keyward.tomlKey" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* Takes path and table. Omits settings without a value, so that the server's default applies. */}}
{{- define "keyward.tomlTable" -}}
{{- $path := .path -}}
{{- $lines := list -}}
{{- $tables := list -}}
{{- range $key, $value := .table -}}
{{- $key := include "keyward.tomlKey" $key -}}
{{- if kindIs "map" $value -}}
{{- $tables = append $tables (include "keyward.tomlTable" (dict "path" (printf "%s.%s" $path $key) "table" $value)) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $lines = append $lines (printf "%s = %s" $key (include "keyward.tomlValue" $value)) -}}
{{- end -}}
{{- end -}}
{{- if $lines -}}
{{ printf "[%s]" $path }}
{{ join "\n" $lines }}
{{ end -}}
{{- range $tables -}}
{{ . }}
{{- end -}}
{{- end -}}

{{/* Issuer of tokens, or nothing. Takes root and name. */}}
{{- define "keyward.issuer" -}}
{{- $issuer := index .root.Values.auth .name -}}
{{- if $issuer.issuer -}}
{{- $jwks := $issuer.jwksUrl | default (printf "/etc/keyward-jwks/%s/jwks.json" .name) -}}
{{- $table := dict "issuer" $issuer.issuer "audience" $issuer.audience "jwks" $jwks -}}
{{- if not (kindIs "invalid" $issuer.maxTokenSeconds) }}{{ $_ := set $table "max_token_seconds" $issuer.maxTokenSeconds }}{{ end -}}
{{- with $issuer.subjects }}{{ $_ := set $table "subjects" . }}{{ end -}}
{{ toJson $table }}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{- define "keyward.toml" -}}
{{- $values := .Values -}}
{{- $config := deepCopy $values.config -}}
{{- $_ := set $config.server "listen" (printf "%s:%d" $values.server.listenAddress (int $values.server.port)) -}}
{{- if $values.server.tlsTerminatedByProxy -}}
{{- $_ := set $config.server "tls_terminated_by_proxy" true -}}
{{- end -}}
{{- if include "keyward.tls" . -}}
{{- $tls := dict "cert_file" "/etc/keyward-secrets/tls/tls.crt" "key_file" "/etc/keyward-secrets/tls/tls.key" -}}
{{- $_ := set $tls "client_certificates" $values.tls.clientCertificates -}}
{{- $_ := set $tls "reload_interval_ms" $values.tls.reloadIntervalMs -}}
{{- $_ := set $tls "handshake_timeout_ms" $values.tls.handshakeTimeoutMs -}}
{{- if ne $values.tls.clientCertificates "none" -}}
{{- $_ := set $tls "client_ca_file" "/etc/keyward-secrets/client-ca/ca.crt" -}}
{{- end -}}
{{- with $values.tls.services }}{{ $_ := set $tls "services" . }}{{ end -}}
{{- $_ := set $config.server "tls" $tls -}}
{{- end -}}
{{- $operations := printf "%s:%d" $values.server.listenAddress (int $values.server.operationsPort) -}}
{{- $_ := set $config "operations" (dict "listen" $operations) -}}
{{- if include "keyward.sqlite" . -}}
{{- $_ := set $config.database "url" "sqlite:///var/lib/keyward/keyward.db" -}}
{{- else -}}
{{- $_ := set $config.database "url_file" "/etc/keyward-secrets/database/url" -}}
{{- end -}}
{{- $_ := set $config.vault "keyring_file" "/etc/keyward-secrets/keyring/keyring.json" -}}
{{- range $name := list "session" "service" -}}
{{- $_ := set $config.auth $name (include "keyward.issuer" (dict "root" $ "name" $name) | fromJson) -}}
{{- end -}}
# Made from the values of {{ .Release.Name }}; what is not here has the server's default.
{{ range $section, $table := $config -}}
{{- include "keyward.tomlTable" (dict "path" $section "table" $table) -}}
{{- end -}}
{{- end -}}
