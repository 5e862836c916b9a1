#!/usr/bin/env bash
# Upgrades a Milvus 2.1.x that was installed with Helm to 2.2, 2.3 or 2.4, metadata included; and brings the old one back.
#
#   ./migrate.sh -i my-release -s 2.1.4 -t 2.2.16              upgrade
#   ./migrate.sh -i my-release -s 2.1.4 -t 2.2.16 -o rollback  back to what was before
#
# Needs kubectl and nothing else. Safe to run again at any point: finished steps are recognised, unfinished ones done again.
# What has been done is kept in the ConfigMap milvus-deploy-replicas-<instance>. See docs/kubernetes.md.
#
# Exit codes: 0 done · 1 refused or failed, no metadata was written · 2 failed after writing had begun · 100 a defect of this script
#
# Written for bash 3.2, which macOS has: no associative arrays, no mapfile, no empty arrays under set -u.
set -euo pipefail
set -f

readonly BACKUP_FILE=/milvus/data/migration.bak
readonly CONFIG_FILE=/milvus/configs/meta/migration.yaml
readonly TOOL=/milvus/bin/meta-migration
readonly POD_LABEL=app.kubernetes.io/name=milvus-meta-migration
# How long to wait until a pod of ours has started, and until Milvus is ready, in seconds.
readonly START_TIMEOUT=${MIGRATE_START_TIMEOUT:-300}
readonly READY_TIMEOUT=${MIGRATE_READY_TIMEOUT:-900}
readonly POLL=${MIGRATE_POLL:-2}
# How long a session can outlive its component: 60 s of lease, and some room.
readonly LEASE_SECONDS=90

usage() {
    cat <<'EOF'
Usage: migrate.sh -i INSTANCE -s VERSION -t VERSION [OPTIONS]

  -i NAME     the Milvus instance: the name of the Helm release
  -n NAME     its namespace [default]
  -s VERSION  version of Milvus now, like 2.1.4
  -t VERSION  version of Milvus to be, like 2.2.16
  -w IMAGE    new image of Milvus [milvusdb/milvus:v<target version>]
  -m IMAGE    image of this migration tool [ghcr.io/meta-migration/meta-migration:1.0.0-rc.1]
  -r PATH     etcd.rootPath of Milvus [by-dev]
  -u PATH     etcd.metaSubPath of Milvus [meta]
  -e LIST     etcd: host:port, or several, comma-separated [the service that was installed with Milvus]
  -a SECRET   Secret with username and password for etcd (or etcd-root-password, as the etcd chart makes it)
  -l SECRET   Secret with ca.crt, and tls.crt and tls.key if etcd asks for them: etcd is reached with TLS
  -v VERSION  oldest version of TLS to use, 1.2 or 1.3 [1.3]
  -p LIST     imagePullSecrets for the tool's image, comma-separated [those of Milvus]
  -c NAME     storage class of the volume for the backup [the cluster's default]
  -k BOOL     go on without metadata that cannot be migrated, instead of refusing [false]
  -x OPTIONS  options of the tool about the conversion: --rename-collection, --rename-alias, --rebuild-index,
              --keep-index-files; as plan says what helps, without quotes [none]
  -d BOOL     delete our pods and their configuration after success; the backup stays [false]
  -o WHAT     migrate (the default)
              rollback  bring the old metadata, images and replicas back; after a failed or a finished migrate
              plan      only show what would be migrated; Milvus may be up
              status    only show how things stand
              cleanup   delete everything of ours, the backup too, once all is well
  -h          this text
EOF
}

# --- Talking -----------------------------------------------------------------------------------------------------------

current_step=
say() { printf '%s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
step() {
    current_step=$*
    printf '\n=== %s  %s\n' "$(date -u +%H:%M:%SZ)" "$*"
}

# What the script ends with when it fails; 2 from the moment on at which metadata may have been written.
exit_code=1
failure=
# Whether there is a state worth telling about when it fails.
has_begun=false

fail() {
    failure=$*
    exit "$exit_code"
}

usage_error() {
    printf 'migrate.sh: %s\nTry: migrate.sh -h\n' "$*" >&2
    trap - EXIT
    exit 1
}

# --- Arguments ---------------------------------------------------------------------------------------------------------

namespace=default
instance=
source_version=
target_version=
root_path=by-dev
meta_sub_path=meta
milvus_image=
tool_image=ghcr.io/meta-migration/meta-migration:1.0.0-rc.1
operation=migrate
delete_leftovers=false
skip_invalid=false
tool_options=
storage_class=
etcd_endpoints=
auth_secret=
tls_secret=
tls_min_version=
pull_secrets=
# The arguments without -o and -d, quoted for a shell: for the commands that we tell people to run.
arguments=

parse_arguments() {
    local flag
    while getopts ':n:i:s:t:r:u:w:m:o:d:c:e:a:l:v:p:k:x:h' flag; do
        case $flag in
            n) namespace=$OPTARG ;;
            i) instance=$OPTARG ;;
            s) source_version=$OPTARG ;;
            t) target_version=$OPTARG ;;
            r) root_path=$OPTARG ;;
            u) meta_sub_path=$OPTARG ;;
            w) milvus_image=$OPTARG ;;
            m) tool_image=$OPTARG ;;
            o) operation=$OPTARG ;;
            d) delete_leftovers=$OPTARG ;;
            c) storage_class=$OPTARG ;;
            e) etcd_endpoints=$OPTARG ;;
            a) auth_secret=$OPTARG ;;
            l) tls_secret=$OPTARG ;;
            v) tls_min_version=$OPTARG ;;
            p) pull_secrets=$OPTARG ;;
            k) skip_invalid=$OPTARG ;;
            x) tool_options=$OPTARG ;;
            h)
                usage
                trap - EXIT
                exit 0
                ;;
            :) usage_error "-$OPTARG needs a value" ;;
            *) usage_error "-$OPTARG is not known" ;;
        esac
        case $flag in
            o | d) ;;
            *) arguments="$arguments -$flag $(printf '%q' "$OPTARG")" ;;
        esac
    done
    shift $((OPTIND - 1))
    [ $# -eq 0 ] || usage_error "'$1' is one too many: every value follows its flag"
    check_arguments
}

# matches VALUE REGEX: of the whole value. A line break in it never matches.
matches() {
    case $1 in *[[:cntrl:]]*) return 1 ;; esac
    [[ $1 =~ ^($2)$ ]]
}

is_name() { matches "$1" '[a-z0-9]([-a-z0-9.]*[a-z0-9])?'; }

check_names() {
    if ! is_name "$instance" || [ ${#instance} -gt 53 ]; then
        usage_error "-i '$instance' is no name of a Helm release (lower case letters, digits, - and ., at most 53)"
    fi
    is_name "$namespace" || usage_error "-n '$namespace' is no name of a namespace"
    local flag_and_name name
    for flag_and_name in "c:$storage_class" "a:$auth_secret" "l:$tls_secret"; do
        name=${flag_and_name#*:}
        [ -z "$name" ] || is_name "$name" || usage_error "-${flag_and_name%%:*} '$name' is no name of a Kubernetes object"
    done
    [ -z "$pull_secrets" ] || matches "$pull_secrets" '[-a-z0-9.,]+' ||
        usage_error "-p '$pull_secrets' is no list of names of Secrets"
}

check_versions() {
    local version='v?[0-9]+\.[0-9]+\.[0-9]+([-+][-+.0-9A-Za-z]*)?'
    [ -n "$source_version" ] || usage_error "-s is missing: the version of Milvus now, like 2.1.4"
    [ -n "$target_version" ] || usage_error "-t is missing: the version of Milvus to be, like 2.2.16"
    matches "$source_version" "$version" || usage_error "-s '$source_version' is no version like 2.1.4"
    matches "$target_version" "$version" || usage_error "-t '$target_version' is no version like 2.2.16"
    case ${target_version#v} in
        [01].* | 2.[01].*) usage_error "-t $target_version reads the same metadata as 2.1: a plain helm upgrade will do" ;;
    esac
}

check_arguments() {
    [ -n "$instance" ] || usage_error "-i is missing: the name of the Milvus instance"
    check_names
    case $operation in
        migrate | plan) check_versions ;;
        rollback | status | cleanup) ;;
        *) usage_error "-o '$operation' is none of migrate, rollback, plan, status, cleanup" ;;
    esac
    local flag_and_value
    for flag_and_value in "d:$delete_leftovers" "k:$skip_invalid"; do
        matches "${flag_and_value#*:}" 'true|false' ||
            usage_error "-${flag_and_value%%:*} '${flag_and_value#*:}' is neither true nor false"
    done
    # They go through the shell of a pod, so they hold nothing that a shell could take for its own.
    local option='(--(rename-collection|rename-alias|rebuild-index)[ =][A-Za-z0-9_$=,]+|--keep-index-files)'
    [ -z "$tool_options" ] || matches "$tool_options" "$option( +$option)*" ||
        usage_error "-x '$tool_options' is not what it takes: --rename-collection OLD=NEW, --rename-alias OLD=NEW, --rebuild-index TYPE, --keep-index-files"
    [ -z "$tls_min_version" ] || matches "$tls_min_version" '1\.[23]' || usage_error "-v '$tls_min_version' is neither 1.2 nor 1.3"
    local image='[A-Za-z0-9][-A-Za-z0-9._/:@]*'
    matches "$tool_image" "$image" || usage_error "-m '$tool_image' is no name of an image"
    [ -z "$milvus_image" ] || matches "$milvus_image" "$image" || usage_error "-w '$milvus_image' is no name of an image"
    matches "$root_path$meta_sub_path" '.*' || usage_error "-r and -u must not hold line breaks and the like"
    [ -z "$etcd_endpoints" ] || matches "$etcd_endpoints" '[^ ]+' || usage_error "-e '$etcd_endpoints' must not hold blanks"
}

# again [ARGUMENTS]: the command line to tell people.
again() { printf '%q%s%s' "$0" "$arguments" "${1:+ $1}"; }

# --- Kubernetes --------------------------------------------------------------------------------------------------------

k() { kubectl --namespace "$namespace" "$@"; }

# quoted TEXT: as a JSON string, which is one in YAML too.
quoted() {
    local text=$1
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    text=${text//$'\t'/\\t}
    text=${text//$'\n'/\\n}
    printf '"%s"' "$text"
}

# joined WORDS…: the words as the inside of a JSON list, each in quotes.
joined() {
    local separator='' word
    for word in "$@"; do
        printf '%s%s' "$separator" "$(quoted "$word")"
        separator=', '
    done
}

check_cluster() {
    command -v kubectl >/dev/null || fail "kubectl is missing: install it, and set up its access to the cluster"
    local context
    context=$(kubectl config current-context 2>/dev/null) || context="(none: inside of the cluster?)"
    say "Milvus $instance in namespace $namespace, kubectl's context $context"
}

# A right that is missing is noticed now, not with Milvus down.
check_rights() {
    local kinds=deployments right reviews='' answers missing='' index=0
    case " ${refs[*]}" in *' statefulset/'*) kinds="$kinds statefulsets" ;; esac
    set -- 'create pods' 'delete pods' 'get pods/log' 'create configmaps' 'patch configmaps' 'create persistentvolumeclaims'
    for right in $kinds; do set -- "$@" "patch $right" "patch $right/scale"; done
    for right in "$@"; do reviews="$reviews${reviews:+, }$(review "$right")"; done
    # As kubectl auth can-i asks, but all at once.
    answers=$(k create -f - -o go-template='{{.status.allowed}} ' <<<"{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [$reviews]}") ||
        fail "cannot ask the cluster for the rights that are needed"
    for right in $answers; do
        index=$((index + 1))
        [ "$right" = true ] || missing="$missing, ${!index}"
    done
    [ -z "$missing" ] || fail "rights are missing in namespace $namespace: ${missing#, } (docs/kubernetes.md lists them all)"
}

# review 'VERB RESOURCE[/SUBRESOURCE]'
review() {
    local resource=${1#* } group='' subresource=
    case $resource in deployments* | statefulsets*) group=apps ;; esac
    case $resource in */*) subresource=${resource#*/} ;; esac
    printf '{"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": {'
    printf '"namespace": %s, "verb": "%s", "group": "%s", "resource": "%s", "subresource": "%s"}}}' \
        "$(quoted "$namespace")" "${1%% *}" "$group" "${resource%/*}" "$subresource"
}

# --- The record: what there was before, and what has been done ---------------------------------------------------------
#
# ConfigMap milvus-deploy-replicas-<instance>:
#   replicas  name:number of each Deployment, statefulset/name:number of each StatefulSet (the first as the original script has it)
#   images    a line of "kind/name container image" for each container of Milvus
#   step      stopping → backed-up → migrating → migrated → verified → started → done
#             rolling-back → rolled-back → restarted → undone
#   stopped   what the workloads were like when the backup was made: if they still are, nobody started Milvus since

record_exists=false
record_step=
record_replicas=
record_images=
record_stopped=

# shellcheck disable=SC2016 # these dollars are the template's
readonly RECORD_TEMPLATE='step={{with .data.step}}{{.}}{{end}}
stopped={{with .data.stopped}}{{.}}{{end}}
replicas={{with .data.replicas}}{{.}}{{end}}
{{with .data.images}}{{.}}{{end}}'

read_record() {
    local text line
    text=$(k get configmap "$record" --ignore-not-found -o go-template="$RECORD_TEMPLATE") ||
        fail "cannot read the ConfigMap $record"
    record_exists=false record_step='' record_replicas='' record_images='' record_stopped=''
    [ -n "$text" ] || return 0
    record_exists=true
    while IFS= read -r line; do
        case $line in
            step=*) record_step=${line#*=} ;;
            stopped=*) record_stopped=${line#*=} ;;
            replicas=*) record_replicas=${line#*=} ;;
            '') ;;
            *) record_images="$record_images$line"$'\n' ;;
        esac
    done <<<"$text"
}

# remember STEP [STOPPED]
remember() {
    local data
    data="\"step\": $(quoted "$1")"
    [ $# -lt 2 ] || data="$data, \"stopped\": $(quoted "$2")"
    k patch configmap "$record" --type merge --patch "{\"data\": {$data}}" >/dev/null ||
        fail "cannot write down in the ConfigMap $record that the step is now '$1'"
    record_step=$1
}

# write_record STEP: with record_replicas and record_images.
write_record() {
    local data object
    data="{\"step\": $(quoted "$1"), \"stopped\": \"\", \"replicas\": $(quoted "$record_replicas"), \"images\": $(quoted "$record_images")}"
    if [ "$record_exists" = true ]; then
        k patch configmap "$record" --type merge --patch "{\"data\": $data}" >/dev/null || fail "cannot write the ConfigMap $record"
    else
        object="{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": $(quoted "$record")}, \"data\": $data}"
        # Not apply: a record that somebody else has just made must not be overwritten.
        k create -f - >/dev/null <<<"$object" || fail "cannot create the ConfigMap $record, without which there is no way back"
    fi
    record_exists=true
    record_step=$1
}

# recorded_replicas KIND/NAME: nothing if it is not in the record.
recorded_replicas() {
    local word
    for word in $record_replicas; do
        case $1 in
            "${word%:*}" | "deployment/${word%:*}") printf '%s' "${word##*:}" ;;
        esac
    done
}

# recorded_images KIND/NAME: lines of "container image".
recorded_images() {
    local ref container image
    while read -r ref container image; do
        [ "$ref" != "$1" ] || printf '%s %s\n' "$container" "$image"
    done <<<"$record_images"
}

# --- Workloads: the Deployments and StatefulSets of Milvus -------------------------------------------------------------
#
# Attu, and a standalone Pulsar in old charts, have the same labels app.kubernetes.io/instance and app.kubernetes.io/name. The
# label `component` tells them apart; where there is none, or one that we do not know, the image does.

# Parallel lists: one entry for each workload of Milvus …
refs=()
replicas=()
# … whether it is ready, yes or no …
ready=()
# … and one for each container of Milvus in them.
container_refs=()
container_names=()
container_images=()
milvus_total=0
fingerprint=
longest_grace=0

# shellcheck disable=SC2016 # these dollars are the template's
readonly WORKLOADS_TEMPLATE='{{range .items}}{{$labels := .metadata.labels
}}workload|{{.kind}}|{{.metadata.name}}|{{.spec.replicas}}|{{with index $labels "component"}}{{.}}{{else}}{{
with index $labels "app.kubernetes.io/component"}}{{.}}{{end}}{{end}}|{{
with index $labels "app.kubernetes.io/managed-by"}}{{.}}{{end}}|{{.metadata.uid}}:{{.metadata.generation}}|{{
with .spec.template.spec.terminationGracePeriodSeconds}}{{.}}{{else}}30{{end}}|{{
.metadata.generation}}|{{with .status.observedGeneration}}{{.}}{{else}}0{{end}}|{{
with .status.readyReplicas}}{{.}}{{else}}0{{end}}|{{with .status.updatedReplicas}}{{.}}{{else}}0{{end}}
{{range .spec.template.spec.containers}}container|{{.name}}|{{.image}}
{{end}}end
{{end}}'

read_workloads() {
    local text
    text=$(k get deployments,statefulsets -l "app.kubernetes.io/instance=$instance,app.kubernetes.io/name=milvus" \
        -o go-template="$WORKLOADS_TEMPLATE") || return 1
    refs=() replicas=() ready=() container_refs=() container_names=() container_images=()
    milvus_total=0 fingerprint='' longest_grace=0 left_alone='' operated=''
    local what kind name wanted component managed_by version grace generation observed ready_pods updated containers=
    local f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11
    while IFS='|' read -r what f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11; do
        case $what in
            workload)
                kind=$f1 name=$f2 wanted=$f3 component=$f4 managed_by=$f5 version=$f6 grace=$f7
                generation=$f8 observed=$f9 ready_pods=$f10 updated=$f11 containers=''
                ;;
            container) containers="$containers$f1 $f2"$'\n' ;;
            end)
                case $kind in Deployment) kind=deployment ;; StatefulSet) kind=statefulset updated=$wanted ;; esac
                add_workload
                ;;
        esac
    done <<<"$text"
}

# Takes what read_workloads has read of one workload.
add_workload() {
    local ref=$kind/$name chosen container image
    chosen=$(milvus_containers "$ref" "$component" "$containers")
    if [ -z "$chosen" ]; then
        left_alone="$left_alone, $name"
        return
    fi
    [ "$managed_by" != milvus-operator ] || operated=$name
    refs+=("$ref")
    replicas+=("$wanted")
    milvus_total=$((milvus_total + wanted))
    fingerprint="$fingerprint$ref=$version:$wanted "
    [ "$grace" -le "$longest_grace" ] || longest_grace=$grace
    if [ "$observed" -ge "$generation" ] && [ "$ready_pods" -ge "$wanted" ] && [ "$updated" -ge "$wanted" ]; then
        ready+=(yes)
    else
        ready+=(no)
    fi
    while read -r container image; do
        container_refs+=("$ref")
        container_names+=("$container")
        container_images+=("$image")
    done <<<"$chosen"
}

# milvus_containers KIND/NAME COMPONENT CONTAINERS: of "container image" lines those that run Milvus; nothing if it is not Milvus.
milvus_containers() {
    local container image chosen='' only='' count=0 recorded
    recorded=$(recorded_images "$1")
    while read -r container image; do
        [ -n "$container" ] || continue
        count=$((count + 1))
        only="$container $image"
        case $'\n'"$recorded" in
            *$'\n'"$container "*) chosen="$chosen$only"$'\n' ;;
        esac
    done <<<"$3"
    [ -z "$chosen" ] || {
        printf '%s' "$chosen"
        return
    }
    while read -r container image; do
        if is_component "$2" && [ "$container" = "$2" ]; then
            # The usual case: the container has the component's name.
            printf '%s %s\n' "$container" "$image"
            return
        fi
        if is_milvus_image "$image"; then chosen="$chosen$container $image"$'\n'; fi
    done <<<"$3"
    if [ -z "$chosen" ] && is_component "$2"; then
        [ "$count" -eq 1 ] && chosen=$only || chosen="? ?"
    fi
    printf '%s' "$chosen"
}

is_component() {
    case $1 in
        rootcoord | datacoord | querycoord | indexcoord | mixcoord | datanode | querynode | indexnode | proxy | standalone) ;;
        *) return 1 ;;
    esac
}

# By the name of its repository: milvusdb/milvus:v2.1.4, registry:5000/mirror/milvus@sha256:…
is_milvus_image() {
    local image=${1%@*}
    image=${image##*/}
    case ${image%%:*} in milvus | milvus-dev | milvus-gpu) ;; *) return 1 ;; esac
}

list_workloads() {
    local index
    for index in "${!refs[@]}"; do
        note "${refs[index]}: ${replicas[index]} wanted, $([ "${ready[index]}" = yes ] && echo ready || echo 'not ready')$(images_of "${refs[index]}")"
    done
    [ -z "$left_alone" ] || note "left alone, not Milvus: ${left_alone#, }"
}

images_of() {
    local index
    for index in "${!container_refs[@]}"; do
        [ "${container_refs[index]}" != "$1" ] || printf ', %s %s' "${container_names[index]}" "${container_images[index]}"
    done
}

find_workloads() {
    read_workloads || fail "cannot list the Deployments and StatefulSets in namespace $namespace"
    [ "${#refs[@]}" -gt 0 ] ||
        fail "there is no Milvus $instance in namespace $namespace: no Deployment or StatefulSet of Milvus has the labels app.kubernetes.io/instance=$instance and app.kubernetes.io/name=milvus (helm list --all-namespaces)"
    [ -z "$operated" ] ||
        fail "$operated belongs to the Milvus Operator, which would start it again: use a MilvusUpgrade instead of this script"
    local index
    for index in "${!container_refs[@]}"; do
        [ "${container_names[index]}" != '?' ] ||
            fail "cannot tell which container of ${container_refs[index]} runs Milvus: none is named after its component, and none has an image named milvus"
    done
    list_workloads
}

# --- What our pods need: configuration, volume, etcd -------------------------------------------------------------------

find_etcd() {
    [ -z "$etcd_endpoints" ] || return 0
    local services
    # shellcheck disable=SC2016
    services=$(k get services -l "app.kubernetes.io/instance=$instance,app.kubernetes.io/name=etcd" -o go-template='{{range $service := .items
        }}{{with .spec.clusterIP}}{{if ne . "None"}}{{$service.metadata.name}}{{"\n"}}{{end}}{{end}}{{end}}') || fail "cannot look for etcd's service"
    case $services in
        '') fail "no etcd was installed with $instance (no service app.kubernetes.io/instance=$instance,app.kubernetes.io/name=etcd): give -e HOST:PORT" ;;
        *$'\n'*) fail "several services of etcd: $(tr '\n' ' ' <<<"$services"): choose one with -e HOST:PORT" ;;
    esac
    etcd_endpoints=$services:2379
}

# The names of the keys in the Secrets, one a line; never their values.
auth_keys=
tls_keys=

secret_keys() {
    # shellcheck disable=SC2016
    k get secret "$1" -o go-template='{{range $key, $value := .data}}{{$key}}{{"\n"}}{{end}}'
}

has_key() { grep -qxF -- "$2" <<<"$1"; }

read_secrets() {
    if [ -n "$auth_secret" ]; then
        auth_keys=$(secret_keys "$auth_secret") || fail "$(missing_secret "$auth_secret" a)"
        has_key "$auth_keys" password || has_key "$auth_keys" etcd-root-password ||
            fail "the Secret $auth_secret has neither a key password nor a key etcd-root-password"
    fi
    if [ -n "$tls_secret" ]; then
        tls_keys=$(secret_keys "$tls_secret") || fail "$(missing_secret "$tls_secret" l)"
        has_key "$tls_keys" ca.crt || has_key "$tls_keys" tls.crt || fail "the Secret $tls_secret has neither ca.crt nor tls.crt"
        if has_key "$tls_keys" tls.crt && ! has_key "$tls_keys" tls.key; then
            fail "the Secret $tls_secret has tls.crt but no tls.key"
        fi
    fi
}

missing_secret() { printf 'cannot read the Secret %s in namespace %s, given with -%s' "$1" "$namespace" "$2"; }

# tls_file KEY SETTING: a line of the configuration, if the Secret has the key.
tls_file() {
    if has_key "$tls_keys" "$1"; then
        printf '    %s: /milvus/tls/%s\n' "$2" "$1"
    fi
}

configuration() {
    local endpoint list=() old_ifs=$IFS
    IFS=,
    for endpoint in $etcd_endpoints; do list+=("$endpoint"); done
    IFS=$old_ifs
    printf 'cmd:\n  type: run\n  runWithBackup: false\n  skipInvalid: %s\n' "$skip_invalid"
    printf 'config:\n'
    [ -z "$source_version" ] || printf '  sourceVersion: %s\n' "$(quoted "$source_version")"
    [ -z "$target_version" ] || printf '  targetVersion: %s\n' "$(quoted "$target_version")"
    printf '  backupFilePath: %s\n' "$BACKUP_FILE"
    printf 'metastore:\n  type: etcd\netcd:\n  endpoints: [%s]\n' "$(joined "${list[@]}")"
    printf '  rootPath: %s\n  metaSubPath: %s\n  kvSubPath: kv\n' "$(quoted "$root_path")" "$(quoted "$meta_sub_path")"
    if [ -n "$tls_secret" ]; then
        printf '  ssl:\n    enabled: true\n'
        [ -z "$tls_min_version" ] || printf '    tlsMinVersion: "%s"\n' "$tls_min_version"
        tls_file ca.crt tlsCACert
        tls_file tls.crt tlsCert
        tls_file tls.key tlsKey
    elif [ -n "$tls_min_version" ]; then
        printf '  ssl:\n    tlsMinVersion: "%s"\n' "$tls_min_version"
    fi
}

write_configuration() {
    local text
    find_etcd
    read_secrets
    text=$(configuration)
    k apply -f - >/dev/null <<EOF || fail "cannot write the ConfigMap $config_map"
{"apiVersion": "v1", "kind": "ConfigMap",
 "metadata": {"name": $(quoted "$config_map"), "labels": $(pod_labels config)},
 "data": {"migration.yaml": $(quoted "$text"$'\n')}}
EOF
    note "etcd $etcd_endpoints, meta root $root_path/$meta_sub_path; configuration in ConfigMap $config_map"
}

# The volume is made once and never touched again: it holds the backup.
make_volume() {
    local found class=
    found=$(k get pvc "$volume" --ignore-not-found \
        -o go-template='{{.status.phase}}|{{with .spec.volumeName}}{{.}}{{end}}|{{with .spec.storageClassName}}{{.}}{{end}}') ||
        fail "cannot look for the PersistentVolumeClaim $volume"
    case $found in
        '') ;;
        'Pending||'*)
            if [ -z "$storage_class" ] || [ "${found##*|}" = "$storage_class" ]; then return; fi
            note "PersistentVolumeClaim $volume waits for storage class '${found##*|}' and holds nothing yet: made again with '$storage_class'"
            remove_pods
            k delete pvc "$volume" --timeout=60s >/dev/null || fail "cannot delete the PersistentVolumeClaim $volume"
            ;;
        *)
            note "PersistentVolumeClaim $volume is there"
            return
            ;;
    esac
    [ -z "$storage_class" ] || class="\"storageClassName\": $(quoted "$storage_class"),"
    k create -f - >/dev/null <<EOF || fail "cannot create the PersistentVolumeClaim $volume for the backup"
{"apiVersion": "v1", "kind": "PersistentVolumeClaim",
 "metadata": {"name": $(quoted "$volume"), "labels": $(pod_labels backup)},
 "spec": {"accessModes": ["ReadWriteOnce"], $class "resources": {"requests": {"storage": "10Gi"}}}}
EOF
    note "PersistentVolumeClaim $volume for the backup"
}

# Where Milvus may run and be pulled from, there our pods may, too.
pod_pull_secrets='[]'
pod_tolerations='[]'
pod_node_selector='{}'

read_placement() {
    local text
    text=$(k get "${refs[0]}" -o jsonpath='{.spec.template.spec.imagePullSecrets}{"\n"}{.spec.template.spec.tolerations}{"\n"}{.spec.template.spec.nodeSelector}{"\n"}') ||
        fail "cannot read ${refs[0]}"
    local line number=0
    while IFS= read -r line; do
        number=$((number + 1))
        case $number$line in
            1\[*) pod_pull_secrets=$line ;;
            2\[*) pod_tolerations=$line ;;
            3'{'*) pod_node_selector=$line ;;
        esac
    done <<<"$text"
    [ -n "$pull_secrets" ] || return 0
    local name named='' old_ifs=$IFS
    IFS=,
    for name in $pull_secrets; do named="$named${named:+, }{\"name\": $(quoted "$name")}"; done
    IFS=$old_ifs
    pod_pull_secrets="[$named]"
}

# --- Pods --------------------------------------------------------------------------------------------------------------

pod=
# What the tool in the pod ended with; 'lost' if the pod vanished while it ran, 'not started' if it never ran.
pod_exit=
readonly SECURE_POD='"runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000, "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}'
readonly SECURE_CONTAINER='"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}'

pod_labels() {
    printf '{"app.kubernetes.io/name": "milvus-meta-migration", "app.kubernetes.io/instance": %s, "app.kubernetes.io/component": "%s"}' \
        "$(quoted "$instance")" "$1"
}

# remove_pods [WHAT]: those of earlier attempts, and waits until they are gone, so that no two are at work.
remove_pods() {
    local selector="$POD_LABEL,app.kubernetes.io/instance=$instance${1:+,app.kubernetes.io/component=$1}" left
    left=$(k get pods -l "$selector" -o go-template='{{range .items}}{{.metadata.name}} ({{.status.phase}}){{"\n"}}{{end}}') ||
        fail "cannot look for pods of an earlier attempt"
    [ -n "$left" ] || return 0
    note "removing pods of an earlier attempt: $(tr '\n' ' ' <<<"$left")"
    k delete pods -l "$selector" --timeout=120s >/dev/null || fail "cannot remove the pods of an earlier attempt"
}

# credential VARIABLE KEY: a variable of the container, from the Secret.
credential() {
    printf ', {"name": "%s", "valueFrom": {"secretKeyRef": {"name": %s, "key": "%s"}}}' "$1" "$(quoted "$auth_secret")" "$2"
}

pod_environment() {
    printf '{"name": "META_MIGRATION_WAIT_FOR_SESSIONS", "value": "%ss"}' $((longest_grace + LEASE_SECONDS))
    [ -n "$auth_secret" ] || return 0
    if has_key "$auth_keys" username; then
        credential META_MIGRATION_ETCD_USER username
    else
        printf ', {"name": "META_MIGRATION_ETCD_USER", "value": "root"}'
    fi
    if has_key "$auth_keys" password; then
        credential META_MIGRATION_ETCD_PASSWORD password
    else
        credential META_MIGRATION_ETCD_PASSWORD etcd-root-password
    fi
}

# pod_manifest WHAT COMMAND
pod_manifest() {
    local mounts volumes
    mounts='{"name": "config", "mountPath": "/milvus/configs/meta", "readOnly": true}'
    volumes="{\"name\": \"config\", \"configMap\": {\"name\": $(quoted "$config_map")}}"
    if needs_volume "$1"; then
        mounts="$mounts, {\"name\": \"backup\", \"mountPath\": \"/milvus/data\"}"
        volumes="$volumes, {\"name\": \"backup\", \"persistentVolumeClaim\": {\"claimName\": $(quoted "$volume")}}"
    fi
    if [ -n "$tls_secret" ]; then
        mounts="$mounts, {\"name\": \"tls\", \"mountPath\": \"/milvus/tls\", \"readOnly\": true}"
        # 288 is 0440: JSON knows no octal numbers.
        volumes="$volumes, {\"name\": \"tls\", \"secret\": {\"secretName\": $(quoted "$tls_secret"), \"defaultMode\": 288}}"
    fi
    cat <<EOF
{"apiVersion": "v1", "kind": "Pod",
 "metadata": {"name": $(quoted "$pod"), "labels": $(pod_labels "$1"), "annotations": {"sidecar.istio.io/inject": "false"}},
 "spec": {
  "restartPolicy": "Never", "automountServiceAccountToken": false, "securityContext": {$SECURE_POD},
  "imagePullSecrets": $pod_pull_secrets, "tolerations": $pod_tolerations, "nodeSelector": $pod_node_selector,
  "containers": [{
   "name": "meta-migration", "image": $(quoted "$tool_image"), "command": ["/bin/sh"], "args": ["-c", $(quoted "$2")],
   "env": [$(pod_environment)], "securityContext": {$SECURE_CONTAINER}, "volumeMounts": [$mounts]}],
  "volumes": [$volumes]}}
EOF
}

# Looking only must not wait for a volume that another node may hold.
needs_volume() {
    case $1 in status | look) return 1 ;; esac
}

# run_pod WHAT COMMAND: shows its log; succeeds if the tool ends with 0. Sets pod_exit.
run_pod() {
    local what=$1
    pod=milvus-meta-migration-$instance-$what
    pod_exit='not started'
    # The original tool takes no commands: it would migrate where it is told to look.
    local guard="$TOOL --version || { echo 'the image $tool_image does not hold this meta-migration: give another one with -m' >&2; exit 1; }"
    pod_manifest "$what" "$guard; $2" | k create -f - >/dev/null || fail "cannot create the pod $pod"
    note "pod $pod"
    follow_pod
    [ "$pod_exit" = 0 ] && return
    [ "$pod_exit" != 'not started' ] || remove_stillborn
    return 1
}

# It must not start after all when nobody expects it any more.
remove_stillborn() {
    k delete pod "$pod" --timeout=60s >/dev/null || note "the pod $pod could not be removed: remove it"
}

# shellcheck disable=SC2016
readonly POD_TEMPLATE='{{$phase := .status.phase}}{{range .status.containerStatuses}}{{if eq .name "meta-migration"}}{{
with .state.terminated}}exited {{.exitCode}} {{with .reason}}{{.}}{{end}}{{end}}{{
with .state.running}}running{{end}}{{
with .state.waiting}}waiting {{.reason}} {{with .message}}{{.}}{{end}}{{end}}{{end}}{{end}}
phase {{$phase}} {{with .status.reason}}{{.}}{{end}} {{with .status.message}}{{.}}{{end}}
{{range .status.conditions}}{{if and (eq .type "PodScheduled") (eq .status "False")}}{{with .message}}{{.}}{{end}}{{end}}{{end}}'

# Prints "exited CODE REASON", "running", "waiting WHY" or "gone"; fails if the cluster does not answer.
pod_state() {
    local text first second
    text=$(k get pod "$pod" --ignore-not-found -o go-template="$POD_TEMPLATE") || return 1
    first=${text%%$'\n'*}
    second=${text#*$'\n'}
    case $text in
        '') printf 'gone' ;;
        exited* | running*) printf '%s' "$first" ;;
        waiting*) printf '%s' "$first" ;;
        *'phase Failed '* | *'phase Succeeded '*) printf 'ended %s' "${second#phase }" ;;
        *) printf 'waiting %s' "$(tr '\n' ' ' <<<"${second#phase }")" ;;
    esac
}

follow_pod() {
    local state last='' shown=0 misses=0 waited_since=$SECONDS
    while true; do
        if ! state=$(pod_state); then
            misses=$((misses + 1))
            # It may well go on without us.
            [ "$misses" -lt 30 ] || { pod_exit=lost && note "the cluster does not answer any more" && return; }
            sleep "$POLL"
            continue
        fi
        misses=0
        case $state in
            exited*)
                show_log
                [ "$shown" -gt 0 ] || note "its log is empty, or cannot be read: kubectl --namespace $namespace logs $pod"
                pod_exit=${state#exited }
                pod_exit=${pod_exit%% *}
                if [ "$pod_exit" != 0 ]; then note "the pod ended with exit code ${state#exited }"; fi
                return
                ;;
            running*)
                waited_since=$SECONDS
                pod_exit=lost
                show_log --follow
                ;;
            gone | ended*)
                show_log
                note "the pod is $state"
                pod_exit=lost
                return
                ;;
            *)
                [ "$state" = "$last" ] || note "$state"
                if gives_up "$state" $((SECONDS - waited_since)); then return; fi
                ;;
        esac
        last=$state
        if [ "$state" = running ]; then sleep 0.3; else sleep "$POLL"; fi
    done
}

# gives_up STATE SECONDS: whether waiting any longer is of no use.
gives_up() {
    case $1 in *InvalidImageName* | *CreateContainerConfigError* | *ErrImageNeverPull*) return 0 ;; esac
    [ "$2" -ge "$START_TIMEOUT" ] || return 1
    note "the pod has not started in $START_TIMEOUT s: kubectl --namespace $namespace describe pod $pod"
}

# show_log [--follow]: the lines that have not been shown yet. A broken connection is taken up again by follow_pod.
show_log() {
    local line number=0
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        [ "$number" -gt "$shown" ] || continue
        shown=$number
        printf '    | %s\n' "$line"
    done < <(k logs "$pod" -c meta-migration "$@" 2>/dev/null)
}

# --- Steps of migrate and rollback -------------------------------------------------------------------------------------

# The commands of the tool.
call() { printf '%s -config=%s%s' "$TOOL" "$CONFIG_FILE" "${1:+ $1}"; }

# converting COMMAND: the same, with the options of -x, each in quotes for the shell of the pod.
converting() {
    local word
    call "$1"
    # shellcheck disable=SC2086 # words are wanted; -f is set, and check_arguments has looked at them
    for word in $tool_options; do
        printf " '%s'" "$word"
    done
}

# Everything that can go wrong beforehand goes wrong here, with Milvus untouched: the image, the volume, etcd, the metadata.
look_first() {
    local command
    command="test -w /milvus/data || { echo '/milvus/data cannot be written by the user of this container: does its storage class ignore fsGroup?' >&2; exit 1; }; "
    command="$command$(converting plan)"
    run_pod plan "$command" || fail "the migration would not go through (exit code $pod_exit), see the log above"
}

# record_what_runs STEP: numbers and images as they are now, but a workload that is at 0 keeps its number from an earlier attempt.
record_what_runs() {
    local index ref recorded number numbers='' images=''
    for index in "${!refs[@]}"; do
        ref=${refs[index]}
        number=${replicas[index]}
        recorded=$(recorded_replicas "$ref")
        [ "$number" -ne 0 ] || number=${recorded:-0}
        numbers="$numbers${numbers:+ }${ref#deployment/}:$number"
    done
    for index in "${!container_refs[@]}"; do
        images="$images${container_refs[index]} ${container_names[index]} ${container_images[index]}"$'\n'
    done
    record_replicas=$numbers
    record_images=$images
    if ! matches "$record_replicas" '.*:[1-9].*'; then
        fail "all of Milvus is at 0 replicas, and nothing tells how many there were. Write it down, then run again:
  kubectl --namespace $namespace create configmap $record --from-literal=replicas='${record_replicas//:0/:1}'"
    fi
    write_record "$1"
    note "replicas and images are kept in ConfigMap $record"
}

# scale_down: what is not at 0 yet. Sets was_up.
was_up=false
scale_down() {
    local index up=()
    was_up=false
    for index in "${!refs[@]}"; do
        [ "${replicas[index]}" -eq 0 ] || up+=("${refs[index]}")
    done
    if [ ${#up[@]} -eq 0 ]; then
        note "all of Milvus is at 0 replicas already"
        return
    fi
    was_up=true
    note "to 0 replicas: ${up[*]}"
    k scale "${up[@]}" --replicas=0 >/dev/null || fail "cannot scale Milvus down"
    read_workloads || fail "cannot list the Deployments and StatefulSets in namespace $namespace"
}

stop_milvus() {
    has_begun=true
    case $record_step in
        backed-up)
            if [ "$milvus_total" -eq 0 ] && [ "$record_stopped" = "$fingerprint" ]; then
                note "stopped already"
                return
            fi
            note "Milvus has been changed or started since the backup was made, so both are done again"
            record_what_runs stopping
            ;;
        migrating) ;;
        *) record_what_runs stopping ;;
    esac
    scale_down
}

back_up() {
    if [ "$record_step" != stopping ]; then
        note "done already, the backup is $BACKUP_FILE in PersistentVolumeClaim $volume"
        return
    fi
    note "waiting for the last component of Milvus to end, if need be for $((longest_grace + LEASE_SECONDS)) s"
    run_pod backup "exec $(call backup)" || fail "the backup failed (exit code $pod_exit), see the log above"
    remember backed-up "$fingerprint"
}

migrate_metadata() {
    local first=false run=${tool_options:+run}
    if [ "$record_step" = backed-up ]; then
        first=true
    elif [ "$was_up" = true ] || [ "$record_stopped" != "$fingerprint" ]; then
        # The tool knows when a new one is right, and when it would be none.
        note "Milvus has been changed or started since the backup was made"
        run='run --with-backup'
    fi
    remember migrating
    exit_code=2
    if run_pod run "exec $(converting "$run")"; then
        remember migrated
        return
    fi
    if [ "$first" = true ]; then
        case $pod_exit in
            1 | 'not started')
                exit_code=1
                remember backed-up
                ;;
        esac
    fi
    fail "the migration failed (exit code $pod_exit), see the log above"
}

verify_metadata() {
    run_pod verify "exec $(converting "verify --backup $BACKUP_FILE")" ||
        fail "the migrated metadata could not be verified (exit code $pod_exit), see the log above"
    remember verified
}

# start_milvus STEP [IMAGE]: numbers of before, with this image or that of before.
start_milvus() {
    local index number
    for index in "${!refs[@]}"; do
        number=$(recorded_replicas "${refs[index]}")
        if [ -z "$number" ]; then
            note "${refs[index]} was not there when the migration began: it stays at ${replicas[index]} replicas"
            continue
        fi
        case $(container_lines "${refs[index]}" "${2:-}") in
            *' ') fail "the image of ${refs[index]} is not recorded: give it with -w" ;;
        esac
        note "${refs[index]}: $number replicas$(images_to_be "${refs[index]}" "${2:-}")"
        k patch "${refs[index]}" --type strategic --patch "{\"spec\": {\"replicas\": $number, \"template\": {\"spec\": {\"containers\": [$(
            containers_to_be "${refs[index]}" "${2:-}"
        )]}}}}" >/dev/null || fail "cannot start ${refs[index]}"
    done
    tell_missing
    remember "$1"
}

# container_lines KIND/NAME [IMAGE]: "container image" as it is to be.
container_lines() {
    local index image
    for index in "${!container_refs[@]}"; do
        if [ "${container_refs[index]}" = "$1" ]; then
            image=$(recorded_images "$1" | sed -n "s/^${container_names[index]} //p")
            printf '%s %s\n' "${container_names[index]}" "${2:-${image:-$milvus_image}}"
        fi
    done
}

images_to_be() {
    local container image
    container_lines "$@" | while read -r container image; do printf ', %s %s' "$container" "$image"; done
}

containers_to_be() {
    local container image separator=''
    container_lines "$@" | while read -r container image; do
        printf '%s{"name": %s, "image": %s}' "$separator" "$(quoted "$container")" "$(quoted "$image")"
        separator=', '
    done
}

tell_missing() {
    local word
    for word in $record_replicas; do
        case " ${refs[*]} " in
            *" ${word%:*} "* | *" deployment/${word%:*} "*) ;;
            *) note "${word%:*}, which had ${word##*:} replicas, is not there any more" ;;
        esac
    done
}

wait_until_ready() {
    local begun=$SECONDS waiting last='' index
    while true; do
        waiting=
        if read_workloads; then
            for index in "${!refs[@]}"; do
                [ "${ready[index]}" = yes ] || waiting="$waiting, ${refs[index]}"
            done
            if [ -z "$waiting" ]; then break; fi
            waiting="${waiting#, }$(pod_troubles)"
            [ "$waiting" = "$last" ] || note "not ready yet: $waiting"
            last=$waiting
        fi
        if [ $((SECONDS - begun)) -ge "$READY_TIMEOUT" ]; then
            fail "Milvus is not ready after $READY_TIMEOUT s: kubectl --namespace $namespace get pods -l app.kubernetes.io/instance=$instance,app.kubernetes.io/name=milvus"
        fi
        sleep "$POLL"
    done
    note "all of Milvus is ready"
}

# What keeps pods of Milvus from running, such as an image that cannot be pulled.
pod_troubles() {
    # shellcheck disable=SC2016
    k get pods -l "app.kubernetes.io/instance=$instance,app.kubernetes.io/name=milvus" -o go-template='{{range .items}}{{$pod := .metadata.name
        }}{{range .status.containerStatuses}}{{with .state.waiting}}; {{$pod}}: {{.reason}}{{end}}{{end}}{{end}}' 2>/dev/null || true
}

delete_if_asked() {
    [ "$delete_leftovers" = true ] || return 0
    step "Deleting our pods and their configuration"
    remove_pods
    k delete configmap "$config_map" --ignore-not-found >/dev/null || fail "cannot delete the ConfigMap $config_map"
    note "the backup (PersistentVolumeClaim $volume) and what there was before (ConfigMap $record) stay;"
    note "once all is well: $(again '-o cleanup')"
}

# --- Operations --------------------------------------------------------------------------------------------------------

migrate() {
    case $record_step in
        done)
            already_migrated
            return
            ;;
        rolling-back | rolled-back | restarted)
            fail "a rollback has begun and is not finished: finish it first"
            ;;
        migrating | migrated | verified | started) exit_code=2 ;;
        '')
            if has_new_image; then fail "all of Milvus $instance has the image $milvus_image already: nothing is to be migrated"; fi
            ;;
    esac
    case $milvus_image in
        *"${target_version#v}"*) ;;
        *) note "mind: the image $milvus_image does not say that it is $target_version" ;;
    esac
    case $record_step in
        migrated)
            write_configuration
            remove_pods verify
            ;;
        verified | started) ;;
        *)
            step "1/7  Look: would it go through? Milvus is not touched yet"
            check_rights
            write_configuration
            make_volume
            remove_pods
            look_first
            step "2/7  Stop Milvus"
            stop_milvus
            step "3/7  Back up"
            back_up
            step "4/7  Migrate"
            migrate_metadata
            ;;
    esac
    step "5/7  Verify"
    case $record_step in
        migrated) verify_metadata ;;
        *) note "done already" ;;
    esac
    step "6/7  Start Milvus with $milvus_image"
    if [ "$record_step" = started ] && has_new_image; then note "done already"; else start_milvus started "$milvus_image"; fi
    step "7/7  Wait until Milvus is ready"
    wait_until_ready
    remember 'done'
    delete_if_asked
    say
    say "Done: Milvus $instance is $milvus_image now, with all its metadata."
    say "Check it with a client. The way back:  $(again '-o rollback')"
    say "Tell Helm, too: helm upgrade $instance … --reuse-values --set image.all.repository=… --set image.all.tag=…"
}

already_migrated() {
    has_new_image ||
        fail "Milvus $instance has been migrated already, but not all of it has the image $milvus_image. To change the image, use helm upgrade. If this is another Milvus than then: $(again '-o cleanup'), and run again"
    say "Nothing to do: Milvus $instance has been migrated already."
    delete_if_asked
}

has_new_image() {
    local image
    for image in "${container_images[@]}"; do
        [ "$image" = "$milvus_image" ] || return 1
    done
}

rollback() {
    case $record_step in
        undone)
            say "Nothing to do: the rollback of Milvus $instance is finished."
            return
            ;;
        '') adopt_unknown ;;
    esac
    case $record_step in
        stopping | backed-up)
            step "1/2  Start Milvus as it was: no metadata has been written, so none is to be restored"
            remove_pods
            start_milvus restarted
            ;;
        restarted) ;;
        rolled-back)
            exit_code=2
            start_old_milvus
            ;;
        *)
            exit_code=2
            restore
            start_old_milvus
            ;;
    esac
    step "Last  Wait until Milvus is ready"
    wait_until_ready
    remember undone
    delete_if_asked
    say
    say "Done: Milvus $instance is as it was before the migration. The backup stays in PersistentVolumeClaim $volume."
}

# Left by the original script, which keeps no images; or the record has been lost.
adopt_unknown() {
    [ -n "$milvus_image" ] ||
        fail "nothing is recorded about a migration of $instance (ConfigMap $record). To restore the backup in PersistentVolumeClaim $volume all the same, give the old image of Milvus with -w"
    [ -n "$(k get pvc "$volume" --ignore-not-found -o name)" ] || fail "there is no PersistentVolumeClaim $volume, so there is no backup"
    local index
    for index in "${!container_images[@]}"; do container_images[index]=$milvus_image; done
    record_what_runs started
}

restore() {
    step "1/5  Look: is the backup sound? Milvus is not touched yet"
    check_rights
    write_configuration
    remove_pods
    run_pod inspect "exec $TOOL inspect $BACKUP_FILE" || fail "the backup cannot be used (exit code $pod_exit), see the log above"
    step "2/5  Stop Milvus"
    has_begun=true
    remember rolling-back
    scale_down
    step "3/5  Roll the metadata back"
    note "waiting for the last component of Milvus to end, if need be for $((longest_grace + LEASE_SECONDS)) s"
    run_pod rollback "exec $(call rollback)" || fail "the rollback failed (exit code $pod_exit), see the log above"
    remember rolled-back
}

start_old_milvus() {
    step "4/5  Start Milvus with the image of before"
    start_milvus restarted
}

plan() {
    step "Plan"
    write_configuration
    remove_pods look
    run_pod look "exec $(converting plan)" || fail "the migration would not go through (exit code $pod_exit), see the log above"
}

status() {
    step "Kubernetes"
    tell_progress
    k get pods -l "$POD_LABEL,app.kubernetes.io/instance=$instance" || fail "cannot list our pods"
    k get pvc "$volume" --ignore-not-found || fail "cannot look for the PersistentVolumeClaim"
    step "etcd"
    write_configuration
    remove_pods status
    run_pod status "exec $(call status)" || fail "etcd could not be looked at (exit code $pod_exit), see the log above"
    case $record_step in '' | done | undone) ;; *) tell_next ;; esac
}

cleanup() {
    case $record_step in
        '' | done | undone) ;;
        *) fail "the work is not finished (step '$record_step'): the backup and the record are still needed" ;;
    esac
    step "Delete everything of ours"
    remove_pods
    k delete configmap "$config_map" "$record" --ignore-not-found >/dev/null || fail "cannot delete the ConfigMaps $config_map and $record"
    k delete pvc "$volume" --ignore-not-found --timeout=120s >/dev/null || fail "cannot delete the PersistentVolumeClaim $volume"
    say "Done: pods, ConfigMaps and the volume with the backup are gone. There is no way back to the old metadata any more."
}

# --- What there is, and what to do, when it fails ----------------------------------------------------------------------

tell_progress() {
    case $record_step in
        '') note "metadata:  this script has done nothing with it" ;;
        stopping) note "metadata:  untouched; no backup of this attempt yet" ;;
        backed-up) note "metadata:  untouched; backed up" ;;
        migrating) note "metadata:  possibly half migrated: neither the old nor the new Milvus must be started now" ;;
        migrated) note "metadata:  migrated, not verified: do not start Milvus yet" ;;
        verified | started | done) note "metadata:  migrated and verified" ;;
        rolling-back) note "metadata:  possibly half rolled back: neither the old nor the new Milvus must be started now" ;;
        rolled-back | restarted | undone) note "metadata:  that of the old Milvus" ;;
        *) note "metadata:  unknown: the ConfigMap $record has the step '$record_step'" ;;
    esac
    case $record_step in
        '' | stopping) ;;
        *) note "backup:    $BACKUP_FILE in PersistentVolumeClaim $volume" ;;
    esac
    [ -z "$record_replicas" ] || note "before:    replicas $record_replicas (ConfigMap $record)"
}

tell_milvus() {
    if ! read_workloads 2>/dev/null; then
        note "Milvus:    unknown, the cluster does not answer; it may be scaled down"
    elif [ "$milvus_total" -eq 0 ]; then
        note "Milvus:    SCALED DOWN, and stays so until one of the commands below has been run"
    else
        note "Milvus:    $milvus_total pods wanted"
        list_workloads
    fi
}

tell_next() {
    say
    say "Next:"
    case $record_step in
        rolling-back | rolled-back | restarted) note "finish the rollback:  $(again '-o rollback')" ;;
        stopping | backed-up)
            note "mend what is wrong and go on:  $(again)"
            note "or start Milvus as it was:     $(again '-o rollback')"
            ;;
        started | done)
            note "wait for it again:       $(again)"
            note "or go back to before:    $(again '-o rollback')"
            ;;
        '') note "mend what is wrong and run again:  $(again)" ;;
        *)
            note "go on where it ended:    $(again)"
            note "or go back to before:    $(again '-o rollback')"
            ;;
    esac
    note "look:  $(again '-o status')"
    [ -z "$pod" ] || note "log:   kubectl --namespace $namespace logs $pod"
}

at_exit() {
    local code=$?
    trap - EXIT INT TERM HUP
    set +e
    [ "$code" -ne 0 ] || exit 0
    {
        say
        if [ -n "$failure" ]; then
            say "FAILED${current_step:+ at step $current_step}: $failure"
        else
            say "STOPPED UNEXPECTEDLY${current_step:+ at step $current_step}, exit code $code: a defect of this script"
            code=100
        fi
        if [ "$has_begun" = true ]; then
            say
            say "How things stand:"
            tell_milvus
            tell_progress
            tell_next
        elif [ -n "$current_step" ]; then
            say "Milvus has not been touched. Run again when it is mended:  $(again "-o $operation")"
        fi
    } >&2
    exit "$code"
}

interrupted() {
    failure="interrupted by a signal"
    case $pod_exit in
        lost | 'not started') failure="$failure; the pod $pod goes on by itself, and running again stops it first" ;;
    esac
    exit "$exit_code"
}

main() {
    trap at_exit EXIT
    trap interrupted INT TERM HUP
    parse_arguments "$@"
    record=milvus-deploy-replicas-$instance
    config_map=milvus-meta-migration-config-$instance
    volume=milvus-meta-migration-backup-$instance
    check_cluster
    read_record
    # Milvus may be gone when it is time to clean up.
    if [ "$operation" != cleanup ]; then
        find_workloads
        read_placement
    fi
    # What an earlier attempt has left is worth telling about, whatever fails now.
    case $record_step in '' | done | undone) ;; *) has_begun=true ;; esac
    if [ "$operation" = migrate ]; then milvus_image=${milvus_image:-milvusdb/milvus:v${target_version#v}}; fi
    "$operation"
}

main "$@"
