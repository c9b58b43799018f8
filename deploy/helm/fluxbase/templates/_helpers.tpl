{{- define "fluxbase.fullname" -}}
{{- if contains "fluxbase" .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-fluxbase" .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "fluxbase.selectorLabels" -}}
app.kubernetes.io/name: fluxbase
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Everything but the Deployment's pods: they alone are called `fluxbase`, see the documented POD_NAME query. */}}
{{- define "fluxbase.labels" -}}
app.kubernetes.io/name: fluxbase
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "fluxbase.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "fluxbase.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "fluxbase.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* A digest is of one image only, so the other one is not guessed from it. */}}
{{- define "fluxbase.runnerImage" -}}
{{- $released := and (eq .Values.image.repository "fluxbase/fluxbase-migrations") (not .Values.image.digest) -}}
{{- $repository := default (ternary (printf "%s-runner" .Values.image.repository) "" $released) .Values.runnerImage.repository -}}
{{- if not $repository -}}
{{- include "fluxbase.image" . -}}
{{- else if .Values.runnerImage.digest -}}
{{- printf "%s@%s" $repository .Values.runnerImage.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (coalesce .Values.runnerImage.tag .Values.image.tag .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "fluxbase.claimName" -}}
{{- default (printf "%s-migrations" (include "fluxbase.fullname" .)) .Values.migrationsPersistence.existingClaim -}}
{{- end -}}

{{- define "fluxbase.watchNamespaces" -}}
{{- if has "*" .Values.watchNamespaces -}}
*
{{- else -}}
{{- $named := .Values.watchNamespaces -}}
{{- /* The chart's own set, and sets that use its claim, are in the release's namespace. */ -}}
{{- if or (not $named) .Values.config.database.host .Values.config.database.existingSecret .Values.migrationsPersistence.enabled -}}
{{- $named = append $named .Release.Namespace -}}
{{- end -}}
{{- $named | uniq | join "," -}}
{{- end -}}
{{- end -}}

{{/* The rules of one namespace, or of all: verbs as documented in docs/operator.md. */}}
{{- define "fluxbase.rules" -}}
- apiGroups: [fluxbase.io]
  resources: [fluxbasemigrationsets]
  verbs: [get, list, watch]
- apiGroups: [fluxbase.io]
  resources: [fluxbasemigrationsets/status]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
{{- if .Values.progress }}
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
{{- end }}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create, patch]
{{- end -}}

{{/* Where the user track's version is kept, and where it begins. */}}
{{- define "fluxbase.userTrack" -}}
{{- with .Values.userMigrations.table }}
table: {{ . | quote }}
{{- end }}
{{- with .Values.userMigrations.baseline }}
baseline: {{ int64 . }}
{{- end }}
{{- end }}
