{{- define "coracle.name" -}}
{{- .Release.Name | trunc 32 | trimSuffix "-" -}}
{{- end -}}

{{- define "coracle.labels" -}}
app.kubernetes.io/name: coracle
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "coracle.selector" -}}
app.kubernetes.io/name: coracle
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "coracle.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{- define "coracle.keysSecret" -}}
{{- .Values.keys.existingSecret | default (printf "%s-keys" (include "coracle.name" .)) -}}
{{- end -}}

{{- define "coracle.adminSecret" -}}
{{- .Values.admin.existingSecret | default (printf "%s-admin" (include "coracle.name" .)) -}}
{{- end -}}

{{- define "coracle.claim" -}}
{{- .Values.persistence.existingClaim | default (printf "%s-data" (include "coracle.name" .)) -}}
{{- end -}}

{{/* The cluster-wide role is named after the namespace too: two releases must not share it. */}}
{{- define "coracle.clusterRole" -}}
{{- printf "%s:%s:engine" .Release.Namespace (include "coracle.name" .) -}}
{{- end -}}

{{/* The registry as the nodes see it. */}}
{{- define "coracle.registry" -}}
{{- if eq .Values.registry.access "nodePort" -}}
{{- printf "127.0.0.1:%v" .Values.registry.nodePort -}}
{{- else -}}
{{- required "registry.host is needed with registry.access=host" .Values.registry.host -}}
{{- end -}}
{{- end -}}

{{/* Where builds run. */}}
{{- define "coracle.buildNamespace" -}}
{{- .Values.builds.namespace | default (printf "builds-%s" .Release.Namespace | trunc 63 | trimSuffix "-") -}}
{{- end -}}

{{/* The port in the URLs that people are shown. */}}
{{- define "coracle.publicPort" -}}
{{- if .Values.publicPort -}}
{{- .Values.publicPort -}}
{{- else if eq .Values.gateway.kind "DaemonSet" -}}
{{- .Values.gateway.hostPort -}}
{{- else if eq .Values.gateway.service.type "NodePort" -}}
{{- .Values.gateway.service.nodePort -}}
{{- else -}}
{{- .Values.gateway.service.port -}}
{{- end -}}
{{- end -}}

{{- define "coracle.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .Values.podSecurity.user }}
runAsGroup: {{ .Values.podSecurity.user }}
fsGroup: {{ .Values.podSecurity.user }}
fsGroupChangePolicy: OnRootMismatch
{{- with .Values.podSecurity.seccompProfile }}
seccompProfile:
  type: {{ . }}
{{- end }}
{{- end -}}

{{- define "coracle.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What cannot work is refused before anything is made. */}}
{{- define "coracle.check" -}}
{{- if not (has .Values.store.kind (list "embedded" "etcd")) -}}
{{- fail "store.kind: use embedded or etcd" -}}
{{- end -}}
{{- if and (eq .Values.store.kind "embedded") (gt (int .Values.control.replicas) 1) -}}
{{- fail "control.replicas: the embedded store has one control plane; use store.kind=etcd for several" -}}
{{- end -}}
{{- if and (eq .Values.store.kind "etcd") (not .Values.store.etcd.endpoints) -}}
{{- fail "store.etcd.endpoints: name etcd's addresses, such as https://etcd-0.etcd:2379" -}}
{{- end -}}
{{- if and (gt (int .Values.control.replicas) 1) (not .Values.persistence.existingClaim) (ne .Values.persistence.accessMode "ReadWriteMany") -}}
{{- fail "persistence.accessMode: several control planes share images and build logs; use ReadWriteMany, or persistence.existingClaim" -}}
{{- end -}}
{{- if and (gt (int .Values.control.replicas) 1) (not .Values.persistence.enabled) -}}
{{- fail "persistence.enabled: several control planes share images and build logs; they need a volume" -}}
{{- end -}}
{{- if not (has .Values.registry.access (list "nodePort" "host")) -}}
{{- fail "registry.access: use nodePort or host" -}}
{{- end -}}
{{- if not (has .Values.builds.tool (list "buildkit" "buildah")) -}}
{{- fail "builds.tool: use buildkit or buildah" -}}
{{- end -}}
{{- if eq (int .Values.builds.user) 0 -}}
{{- fail "builds.user: use any number but 0" -}}
{{- end -}}
{{- if hasPrefix "coracle-" (include "coracle.buildNamespace" .) -}}
{{- fail "builds.namespace: namespaces that begin with coracle- are the projects'" -}}
{{- end -}}
{{- if not (has .Values.gateway.kind (list "Deployment" "DaemonSet")) -}}
{{- fail "gateway.kind: use Deployment or DaemonSet" -}}
{{- end -}}
{{- if not (has .Values.gateway.service.type (list "LoadBalancer" "NodePort" "ClusterIP")) -}}
{{- fail "gateway.service.type: use LoadBalancer, NodePort or ClusterIP" -}}
{{- end -}}
{{- if not (has .Values.pods.security (list "restricted" "baseline")) -}}
{{- fail "pods.security: use restricted or baseline" -}}
{{- end -}}
{{- if eq (int .Values.podSecurity.user) 0 -}}
{{- fail "podSecurity.user: use any number but 0" -}}
{{- end -}}
{{- end -}}
