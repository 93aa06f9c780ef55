{{/* Checks of several values together, which the schema cannot express. Reports all problems at once. */}}

{{- define "keyward.validate" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- if and (not $v.tls.existingSecret.name) (not $v.server.tlsTerminatedByProxy) -}}
{{- $wrong = append $wrong "tls.existingSecret.name names the secret with certificate and key, or server.tlsTerminatedByProxy=true says that a proxy terminates TLS; choose one" -}}
{{- end -}}
{{- if and $v.tls.existingSecret.name $v.server.tlsTerminatedByProxy -}}
{{- $wrong = append $wrong "tls.existingSecret.name and server.tlsTerminatedByProxy exclude each other; choose one" -}}
{{- end -}}
{{- if and (ne $v.tls.clientCertificates "none") (or (not $v.tls.existingSecret.name) (not $v.tls.clientCa.existingSecret)) -}}
{{- $wrong = append $wrong "tls.clientCertificates needs tls.existingSecret.name and tls.clientCa.existingSecret" -}}
{{- end -}}
{{- if and $v.tls.services (eq $v.tls.clientCertificates "none") -}}
{{- $wrong = append $wrong "tls.services needs tls.clientCertificates to be optional or required" -}}
{{- end -}}
{{- if not $v.keyring.existingSecret.name -}}
{{- $wrong = append $wrong "keyring.existingSecret.name is required: `keyward keyring create keyring.json`, back it up, then `kubectl create secret generic NAME --from-file=keyring.json`" -}}
{{- end -}}
{{- if and (eq $v.database.engine "postgres") (not $v.database.existingSecret.name) -}}
{{- $wrong = append $wrong "database.existingSecret.name is required: `kubectl create secret generic NAME --from-file=url` with a file that holds postgres://…; or database.engine=sqlite" -}}
{{- end -}}
{{- if and (eq $v.database.engine "sqlite") $v.database.existingSecret.name -}}
{{- $wrong = append $wrong "database.existingSecret.name is for postgres; SQLite has a volume" -}}
{{- end -}}
{{- if and (eq $v.database.engine "sqlite") $v.autoscaling.enabled -}}
{{- $wrong = append $wrong "autoscaling.enabled needs database.engine=postgres: SQLite has one pod" -}}
{{- end -}}
{{- range $name := list "session" "service" -}}
{{- $issuer := index $v.auth $name -}}
{{- if or (eq $name "session") $issuer.issuer -}}
{{- if or (not $issuer.issuer) (not $issuer.audience) -}}
{{- $wrong = append $wrong (printf "auth.%s.issuer and auth.%s.audience are required" $name $name) -}}
{{- end -}}
{{- if eq (empty $issuer.jwksUrl) (empty $issuer.jwksConfigMap.name) -}}
{{- $wrong = append $wrong (printf "auth.%s needs jwksUrl or jwksConfigMap.name, and not both" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq (int $v.server.port) (int $v.server.operationsPort) -}}
{{- $wrong = append $wrong "server.port and server.operationsPort must differ" -}}
{{- end -}}
{{- if eq (int $v.service.httpPort) (int $v.service.grpcPort) -}}
{{- $wrong = append $wrong "service.httpPort and service.grpcPort must differ" -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
{{- $wrong = append $wrong "autoscaling.minReplicas must not be above autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (not $v.autoscaling.targetCPUUtilizationPercentage) (not $v.autoscaling.targetMemoryUtilizationPercentage) -}}
{{- $wrong = append $wrong "autoscaling needs a target for CPU or memory" -}}
{{- end -}}
{{- if and (eq (toString $v.updateStrategy.maxSurge) "0") (eq (toString $v.updateStrategy.maxUnavailable) "0") -}}
{{- $wrong = append $wrong "updateStrategy.maxSurge and updateStrategy.maxUnavailable must not both be 0" -}}
{{- end -}}
{{- if and $v.podDisruptionBudget.enabled (has (toString $v.podDisruptionBudget.maxUnavailable) (list "0" "0%")) -}}
{{- $wrong = append $wrong "podDisruptionBudget.maxUnavailable must not be 0: no node with a pod could ever be emptied" -}}
{{- end -}}
{{- if and (eq $v.database.engine "postgres") (not $v.autoscaling.enabled) (lt (int $v.replicaCount) 1) -}}
{{- $wrong = append $wrong "replicaCount must not be 0: nothing would serve" -}}
{{- end -}}
{{- range $name, $target := dict "cpu" $v.autoscaling.targetCPUUtilizationPercentage "memory" $v.autoscaling.targetMemoryUtilizationPercentage -}}
{{- if and $v.autoscaling.enabled $target (not (dig "requests" $name "" $v.resources)) (not (dig "limits" $name "" $v.resources)) -}}
{{- $wrong = append $wrong (printf "autoscaling by %s needs resources.requests.%s: it aims at a share of that" $name $name) -}}
{{- end -}}
{{- end -}}
{{- if and $v.networkPolicy.enabled (not $v.networkPolicy.ingress.from) -}}
{{- $outside := list -}}
{{- if or $v.ingress.rest.enabled $v.ingress.grpc.enabled }}{{ $outside = append $outside "the ingress" }}{{ end -}}
{{- if or $v.gateway.rest.enabled $v.gateway.grpc.enabled }}{{ $outside = append $outside "the gateway" }}{{ end -}}
{{- if ne $v.service.type "ClusterIP" }}{{ $outside = append $outside (printf "a service of type %s" $v.service.type) }}{{ end -}}
{{- if $outside -}}
{{- $wrong = append $wrong (printf "networkPolicy.ingress.from is empty and would shut out %s: name who calls from there, or networkPolicy.enabled=false" (join " and " $outside)) -}}
{{- end -}}
{{- end -}}
{{- range $name := list "rest" "grpc" -}}
{{- $ingress := index $v.ingress $name -}}
{{- if and $ingress.enabled (not $ingress.hosts) -}}
{{- $wrong = append $wrong (printf "ingress.%s.hosts is required" $name) -}}
{{- end -}}
{{- $route := index $v.gateway $name -}}
{{- if and $route.enabled (or (not $route.hostnames) (not $v.gateway.parentRefs)) -}}
{{- $wrong = append $wrong (printf "gateway.parentRefs and gateway.%s.hostnames are required" $name) -}}
{{- end -}}
{{- end -}}
{{- range $host := $v.ingress.rest.hosts -}}
{{- if and $v.ingress.rest.enabled $v.ingress.grpc.enabled (has $host $v.ingress.grpc.hosts) -}}
{{- $wrong = append $wrong (printf "%s is in ingress.rest.hosts and in ingress.grpc.hosts: a controller asks one protocol of a path's backend" $host) -}}
{{- end -}}
{{- end -}}
{{- range $host := $v.gateway.rest.hostnames -}}
{{- if and $v.gateway.rest.enabled $v.gateway.grpc.enabled (has $host $v.gateway.grpc.hostnames) -}}
{{- $wrong = append $wrong (printf "%s is in gateway.rest.hostnames and in gateway.grpc.hostnames: a listener takes one kind of route for a host" $host) -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n\nKeyward cannot be installed like this:\n  - %s\n" (join "\n  - " $wrong)) -}}
{{- end -}}
{{- end -}}
