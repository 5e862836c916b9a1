#!/usr/bin/env bash
# Upgrades a Milvus 2.1.x that was installed with Helm to 2.2, 2.3 or 2.4, metadata included; and brings the old one back.
#
#   ./migrate.sh -i my-release -s 2.1.4 -t 2.2.16              upgrade
#   ./migrate.sh -i my-release -s 2.1.4 -t 2.2.16 -o rollback  back to what was before
#
# Needs kubectl and nothing else. Safe to run again at any point. What has been written is asked of etcd, each time; the ConfigMap
# milvus-deploy-replicas-<instance> only keeps what Milvus was like before: replicas, images, chart, meta root. See docs/kubernetes.md.
#
# Exit codes: 0 done · 1 refused or failed, no metadata was written · 2 failed after writing had begun · 100 a defect of this script
#
# Written for bash 3.2, which macOS has: no associative arrays, no mapfile, no empty arrays under set -u.
# shellcheck disable=SC2128,SC3028,SC3054 # until bash runs it, this is any shell's
# shellcheck disable=SC2317 # main ends with exit, which shellcheck takes for the end of all that it calls
if [ -z "${BASH_VERSION:-}" ] || case ":${SHELLOPTS:-}:" in *:posix:*) ;; *) false ;; esac; then
    if [ -f "$0" ] && command -v bash >/dev/null; then
        unset POSIXLY_CORRECT
        exec bash "$0" "$@"
    fi
    echo "migrate.sh is a script for bash: save it in a file, and run: bash migrate.sh" >&2
    exit 1
fi
set -euo pipefail
set -f

readonly BACKUP_FILE=/milvus/data/migration.bak
readonly POD_LABEL=app.kubernetes.io/name=milvus-meta-migration
# What changes workloads, in their managedFields.
readonly MANAGER=milvus-meta-migration
# A release puts its own image here, by digest.
readonly DEFAULT_TOOL_IMAGE=ghcr.io/meta-migration/meta-migration:1.0.0-rc.1
# How long to wait until a pod of ours has started, until Milvus is ready, and for a node that does not answer, in seconds.
readonly START_TIMEOUT=${MIGRATE_START_TIMEOUT:-300}
readonly READY_TIMEOUT=${MIGRATE_READY_TIMEOUT:-900}
readonly LOST_TIMEOUT=${MIGRATE_LOST_TIMEOUT:-300}
readonly POLL=${MIGRATE_POLL:-2}
# How often something is said, whatever happens.
readonly SIGN_OF_LIFE=${MIGRATE_SIGN_OF_LIFE:-30}
# How long a session can outlive its component: 60 s of lease, and some room.
readonly LEASE_SECONDS=90
# How long a component of 2.2 to 2.4 may keep its session while it hands over what it serves (queryCoord.* and gracefulStopTimeout).
readonly HANDOVER_SECONDS=1800

usage() {
    cat <<'TEXT'
Usage: migrate.sh -i INSTANCE -s VERSION -t VERSION [OPTIONS]

  -i NAME     the Milvus instance: the name of the Helm release
  -n NAME     its namespace [default]
  -s VERSION  version of Milvus now, like 2.1.4
  -t VERSION  version of Milvus to be, like 2.2.16
  -w IMAGE    new image of Milvus [the repository of the present one, with the new version as its tag]
  -m IMAGE    image of this migration tool [ghcr.io/meta-migration/meta-migration:1.0.0-rc.1]
  -o WHAT     migrate (the default)
              rollback  bring the old metadata, images and replicas back; after a failed or a finished migrate
              plan      only show what would be migrated; Milvus may be up
              status    only show how things stand
              complete  when all is well for good: gives up the way back, and says what may go
              cleanup   after that, or after a rollback: delete everything of ours, the backup too
  -k BOOL     go on without metadata that cannot be migrated, instead of refusing [false]
  -x OPTIONS  options of the tool about the conversion: --rename-collection, --rename-alias, --rename-partition, --rebuild-index,
              --keep-index-files, --keep-newer; as plan says what helps, without quotes [none]
  --keep-way-back BOOL  refuse unless Milvus's own configuration has the settings that keep the way back open [true]
  -d BOOL     delete our pods after success; the backup stays [false]

Which etcd, which root, TLS and user are taken from the configuration that Milvus's own pods mount. What is given here says it where
that does not, and is refused where that says otherwise:
  -r PATH     etcd.rootPath
  -u PATH     etcd.metaSubPath
  -e LIST     etcd: host:port, or several, comma-separated
  -a SECRET   Secret with username and password for etcd (or etcd-root-password, as the etcd chart makes it)
  -l SECRET   Secret with ca.crt, and tls.crt and tls.key if etcd asks for them: etcd is reached with TLS
  -v VERSION  oldest version of TLS to use, 1.2 or 1.3 [1.3]

Our pods:
  -p LIST     imagePullSecrets for the tool's image, comma-separated [those of Milvus]
  -c NAME     storage class of the volume for the backup [the cluster's default]
  --resources LIST        like requests.cpu=1,limits.memory=2Gi [requests.cpu=100m,requests.memory=256Mi]
  --labels LIST           more labels, like team=vectors,cost=7
  --service-account NAME  [the namespace's default]

  --context NAME  which cluster, by kubectl's name for it [kubectl's current context]
  -h              this text
TEXT
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

namespace=default instance='' source_version='' target_version='' root_path='' meta_sub_path='' milvus_image=''
tool_image=$DEFAULT_TOOL_IMAGE operation=migrate delete_leftovers=false skip_invalid=false keep_way_back=true tool_options='' storage_class=''
etcd_endpoints='' auth_secret='' tls_secret='' tls_min_version='' pull_secrets='' context='' service_account='' labels=''
resources=requests.cpu=100m,requests.memory=256Mi
# The arguments without -o and -d, quoted for a shell: for the commands that we tell people to run.
arguments=

parse_arguments() {
    local flag long=false
    while getopts ':n:i:s:t:r:u:w:m:o:d:c:e:a:l:v:p:k:x:h-:' flag; do
        if [ "$flag" = - ]; then
            flag=${OPTARG%%=*} long=true
            if [ "$flag" = "$OPTARG" ]; then
                [ "$OPTIND" -le $# ] || usage_error "--$flag needs a value"
                OPTARG=${!OPTIND}
                OPTIND=$((OPTIND + 1))
            else
                OPTARG=${OPTARG#*=}
            fi
        fi
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
            keep-way-back) keep_way_back=$OPTARG ;;
            context) context=$OPTARG ;;
            resources) resources=$OPTARG ;;
            labels) labels=$OPTARG ;;
            service-account) service_account=$OPTARG ;;
            h)
                usage
                trap - EXIT
                exit 0
                ;;
            :) usage_error "-$OPTARG needs a value" ;;
            '?') usage_error "-$OPTARG is not known" ;;
            *) usage_error "--$flag is not known" ;;
        esac
        case $flag in
            o | d) ;;
            *)
                [ "$long" = true ] && flag=-$flag
                arguments="$arguments -$flag $(printf '%q' "$OPTARG")"
                ;;
        esac
        long=false
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
    for flag_and_name in "c:$storage_class" "a:$auth_secret" "l:$tls_secret" "-service-account:$service_account"; do
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
        rollback | status | complete | cleanup) ;;
        *) usage_error "-o '$operation' is none of migrate, rollback, plan, status, complete, cleanup" ;;
    esac
    matches "$skip_invalid" 'true|false' || usage_error "-k '$skip_invalid' is neither true nor false"
    matches "$keep_way_back" 'true|false' || usage_error "--keep-way-back '$keep_way_back' is neither true nor false"
    # Any word, as the original script takes it.
    case $delete_leftovers in false | False | FALSE | no | 0 | '') delete_leftovers=false ;; *) delete_leftovers=true ;; esac
    local option='(--(rename-collection|rename-alias|rename-partition|rebuild-index)[ =][A-Za-z0-9_$=,/]+|--keep-index-files|--keep-newer)'
    [ -z "$tool_options" ] || matches "$tool_options" "$option( +$option)*" ||
        usage_error "-x '$tool_options' is not what it takes: --rename-collection OLD=NEW, --rename-alias OLD=NEW, --rename-partition COLLECTION/OLD=NEW, --rebuild-index TYPE, --keep-index-files, --keep-newer"
    [ -z "$tls_min_version" ] || matches "$tls_min_version" '1\.[23]' || usage_error "-v '$tls_min_version' is neither 1.2 nor 1.3"
    local image='[A-Za-z0-9][-A-Za-z0-9._/:@]*'
    matches "$tool_image" "$image" || usage_error "-m '$tool_image' is no name of an image"
    [ -z "$milvus_image" ] || matches "$milvus_image" "$image" || usage_error "-w '$milvus_image' is no name of an image"
    matches "$root_path$meta_sub_path" '.*' || usage_error "-r and -u must not hold line breaks and the like"
    [ -z "$etcd_endpoints" ] || matches "$etcd_endpoints" '[^ ]+' || usage_error "-e '$etcd_endpoints' must not hold blanks"
    matches "$resources" '((requests|limits)\.[a-z][-a-z./]*=[0-9.]+[A-Za-z]*(,|$))*' || usage_error "--resources '$resources' is no list like requests.cpu=1,limits.memory=2Gi"
    matches "$labels" '([A-Za-z0-9][-A-Za-z0-9_./]*=[-A-Za-z0-9_.]*(,|$))*' || usage_error "--labels '$labels' is no list like team=vectors,cost=7"
}

# again [ARGUMENTS]: the command line to tell people.
again() { printf '%q%s%s' "$0" "$arguments" "${1:+ $1}"; }

# --- Kubernetes --------------------------------------------------------------------------------------------------------

k() { kubectl ${context:+"--context=$context"} --namespace "$namespace" "$@"; }

# quoted TEXT: as a JSON string.
quoted() {
    local text=$1
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    text=${text//$'\t'/\\t}
    text=${text//$'\n'/\\n}
    printf '"%s"' "$text"
}

# literal TEXT: the same in a pod's command or environment, where Kubernetes would take $(NAME) for a variable.
literal() {
    local dollar=$
    quoted "${1//"$dollar"/$dollar$dollar}"
}

check_cluster() {
    command -v kubectl >/dev/null || fail "kubectl is missing: install it, and set up its access to the cluster"
    local current=$context
    [ -n "$current" ] || current=$(kubectl config current-context 2>/dev/null) || current="(none: inside of the cluster?)"
    say "Milvus $instance in namespace $namespace, kubectl's context $current"
}

# A right that is missing is noticed now, not with Milvus down.
check_rights() {
    local right reviews='' answers missing='' index=0
    set -- 'create pods' 'delete pods' 'get pods/log' 'create configmaps' 'patch configmaps' 'create persistentvolumeclaims'
    case " ${refs[*]}" in *' deployment/'*) set -- "$@" 'patch deployments' ;; esac
    case " ${refs[*]}" in *' statefulset/'*) set -- "$@" 'patch statefulsets' ;; esac
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

# --- The record: what Milvus was like before ---------------------------------------------------------------------------
#
# ConfigMap milvus-deploy-replicas-<instance>:
#   replicas  name:number of each Deployment, statefulset/name:number of each StatefulSet (the first as the original script has it)
#   images    a line of "kind/name container image" for each container of Milvus
#   chart     the Helm chart that it was installed with
#   metaRoot  where its metadata is, as its components were seen there

record_exists=false record_replicas='' record_images='' record_chart='' record_root=''

# shellcheck disable=SC2016 # these dollars are the template's
readonly RECORD_TEMPLATE='replicas={{with .data.replicas}}{{.}}{{end}}
chart={{with .data.chart}}{{.}}{{end}}
metaRoot={{with .data.metaRoot}}{{.}}{{end}}
{{with .data.images}}{{.}}{{end}}'

read_record() {
    local text line
    text=$(k get configmap "$record" --ignore-not-found -o go-template="$RECORD_TEMPLATE") ||
        fail "cannot read the ConfigMap $record"
    [ -n "$text" ] || return 0
    record_exists=true
    while IFS= read -r line; do
        case $line in
            replicas=*) record_replicas=${line#*=} ;;
            chart=*) record_chart=${line#*=} ;;
            metaRoot=*) record_root=${line#*=} ;;
            '') ;;
            *) record_images="$record_images$line"$'\n' ;;
        esac
    done <<<"$text"
}

write_record() {
    local data object
    data="{\"replicas\": $(quoted "$record_replicas"), \"images\": $(quoted "$record_images"), \"chart\": $(quoted "$record_chart"), \"metaRoot\": $(quoted "$record_root")}"
    if [ "$record_exists" = true ]; then
        k patch configmap "$record" --type merge --patch "{\"data\": $data}" >/dev/null || fail "cannot write the ConfigMap $record"
    else
        object="{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": $(quoted "$record")}, \"data\": $data}"
        # Not apply: a record that somebody else has just made must not be overwritten.
        k create -f - >/dev/null <<<"$object" || fail "cannot create the ConfigMap $record, without which there is no way back"
    fi
    record_exists=true
    note "replicas and images are kept in ConfigMap $record"
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

# recorded_image KIND/NAME CONTAINER
recorded_image() { recorded_images "$1" | sed -n "s/^$2 //p"; }

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
longest_grace=0
left_alone='' operated='' chart=''

# shellcheck disable=SC2016 # these dollars are the template's
readonly WORKLOADS_TEMPLATE='{{range .items}}{{$labels := .metadata.labels
}}workload|{{.kind}}|{{.metadata.name}}|{{.spec.replicas}}|{{with index $labels "component"}}{{.}}{{else}}{{
with index $labels "app.kubernetes.io/component"}}{{.}}{{end}}{{end}}|{{
with index $labels "app.kubernetes.io/managed-by"}}{{.}}{{end}}|{{with index $labels "helm.sh/chart"}}{{.}}{{end}}|{{
with .spec.template.spec.terminationGracePeriodSeconds}}{{.}}{{else}}30{{end}}|{{
.metadata.generation}}|{{with .status.observedGeneration}}{{.}}{{else}}0{{end}}|{{
with .status.readyReplicas}}{{.}}{{else}}0{{end}}|{{with .status.updatedReplicas}}{{.}}{{else}}0{{end}}
{{range .spec.template.spec.containers}}container|{{.name}}|{{.image}}
{{end}}end
{{end}}'
readonly MILVUS_LABELS=app.kubernetes.io/name=milvus,app.kubernetes.io/instance

read_workloads() {
    local text
    text=$(k get deployments,statefulsets -l "$MILVUS_LABELS=$instance" -o go-template="$WORKLOADS_TEMPLATE") || return 1
    refs=() replicas=() ready=() container_refs=() container_names=() container_images=()
    milvus_total=0 longest_grace=0 left_alone='' operated='' chart=''
    local what kind name wanted component managed_by of_chart grace generation observed ready_pods updated containers=
    local f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11
    while IFS='|' read -r what f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11; do
        case $what in
            workload)
                kind=$f1 name=$f2 wanted=$f3 component=$f4 managed_by=$f5 of_chart=$f6 grace=$f7
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
    chart=${chart:-$of_chart}
    refs+=("$ref")
    replicas+=("$wanted")
    milvus_total=$((milvus_total + wanted))
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
    if [ "${#refs[@]}" -eq 0 ]; then
        # It may be gone when it is time to clean up.
        [ "$operation" != cleanup ] || return 0
        fail "there is no Milvus $instance in namespace $namespace: no Deployment or StatefulSet of Milvus has the labels app.kubernetes.io/instance=$instance and app.kubernetes.io/name=milvus (helm list --all-namespaces)"
    fi
    [ -z "$operated" ] ||
        fail "$operated belongs to the Milvus Operator, which would start it again: use a MilvusUpgrade instead of this script"
    local index
    for index in "${!container_refs[@]}"; do
        [ "${container_names[index]}" != '?' ] ||
            fail "cannot tell which container of ${container_refs[index]} runs Milvus: none is named after its component, and none has an image named milvus"
    done
    list_workloads
    read_template
}

# tag_of IMAGE: nothing if it has none.
tag_of() {
    local image=${1%%@*}
    image=${image##*/}
    case $image in *:*) printf '%s' "${image#*:}" ;; esac
}

# repository_of IMAGE
repository_of() {
    local image=${1%%@*} tag
    tag=$(tag_of "$image")
    printf '%s' "${image%"${tag:+:$tag}"}"
}

# release_of IMAGE: like 2.1, as far as its tag tells.
release_of() { tag_of "$1" | sed -n 's/^v\{0,1\}\([0-9][0-9]*\.[0-9][0-9]*\)\..*/\1/p'; }

is_old() { case $(release_of "$1") in 2.0 | 2.1) ;; *) return 1 ;; esac }

choose_image() {
    [ -z "$milvus_image" ] || return 0
    local index repository prefix=v
    repository=$(repository_of "${container_images[0]}")
    for index in "${!container_images[@]}"; do
        [ "$(repository_of "${container_images[index]}")" = "$repository" ] ||
            fail "the images of Milvus come from different repositories (${container_images[0]}, ${container_images[index]}): say the new one with -w"
    done
    case $(tag_of "${container_images[0]}") in [0-9]*) prefix='' ;; esac
    milvus_image=$repository:$prefix${target_version#v}
}

has_new_image() {
    local image
    for image in "${container_images[@]}"; do
        [ "$image" = "$milvus_image" ] || return 1
    done
}

all_ready() { case " ${ready[*]} " in *' no '*) return 1 ;; esac }

# --- What our pods take over from Milvus's own: configuration, image secrets, placement, addresses ---------------------

pod_pull_secrets='[]' pod_tolerations='[]' pod_node_selector='{}' pod_affinity='{}' milvus_account=
# JSON, each with a comma before it.
milvus_mounts='' milvus_volumes=''
sees_configuration=false

read_template() {
    local text number=0 line name path sub_path wanted='' query=''
    local spec=.spec.template.spec
    text=$(k get "${container_refs[0]}" -o jsonpath="{$spec.imagePullSecrets}{\"\\n\"}{$spec.tolerations}{\"\\n\"}{$spec.nodeSelector}{\"\\n\"}{$spec.affinity.nodeAffinity}{\"\\n\"}{$spec.serviceAccountName}{\"\\n\"}{range $spec.containers[?(@.name==\"${container_names[0]}\")].volumeMounts[*]}{.name}{\"|\"}{.mountPath}{\"|\"}{.subPath}{\"\\n\"}{end}") ||
        fail "cannot read ${container_refs[0]}"
    while IFS= read -r line; do
        number=$((number + 1))
        case $number$line in
            1\[*) pod_pull_secrets=$line ;;
            2\[*) pod_tolerations=$line ;;
            3'{'*) pod_node_selector=$line ;;
            4'{'*) pod_affinity="{\"nodeAffinity\": $line}" ;;
            5?*) milvus_account=$line ;;
            [0-9]*\|/*) wanted="$wanted$line"$'\n' ;;
        esac
    done <<<"$text"
    while IFS='|' read -r name path sub_path; do
        # What holds configuration and certificates; where our own files are, there is no room for Milvus's.
        case $path in '' | / | /bin* | /lib* | /usr* | /dev* | /proc* | /milvus | /milvus/bin* | /milvus/data* | /var/lib/milvus*) continue ;; esac
        query="$query$name|$path|$sub_path|{$spec.volumes[?(@.name==\"$name\")]}{\"\\n\"}"
    done <<<"$wanted"
    [ -z "$query" ] || mount_as_milvus "$(k get "${container_refs[0]}" -o jsonpath="$query")"
    [ -z "$pull_secrets" ] || pod_pull_secrets=$(named_list "$pull_secrets")
}

# mount_as_milvus LINES: of "name|path|subPath|volume in JSON".
mount_as_milvus() {
    local name path sub_path volume known=' '
    while IFS='|' read -r name path sub_path volume; do
        case $volume in *'"configMap":'* | *'"secret":'* | *'"projected":'*) ;; *) continue ;; esac
        milvus_mounts="$milvus_mounts, {\"name\": $(quoted "$name"), \"mountPath\": $(quoted "$path"), \"readOnly\": true${sub_path:+, \"subPath\": $(quoted "$sub_path")}}"
        case $path in /milvus/configs*) sees_configuration=true ;; esac
        case $known in *" $name "*) continue ;; esac
        known="$known$name "
        milvus_volumes="$milvus_volumes, $volume"
    done <<<"$1"
}

named_list() {
    local name named='' old_ifs=$IFS
    IFS=,
    for name in $1; do named="$named${named:+, }{\"name\": $(quoted "$name")}"; done
    IFS=$old_ifs
    printf '[%s]' "$named"
}

# The addresses of all its pods, those that end just now too, if any of Milvus is ready: its sessions must be there, and nobody else's.
milvus_addresses() {
    local text line is_up=false addresses=
    # shellcheck disable=SC2016
    text=$(k get pods -l "$MILVUS_LABELS=$instance" -o go-template='{{range .items}}{{range .status.conditions}}{{if eq .type "Ready"}}{{.status}}{{end}}{{end}}|{{range .status.podIPs}}{{.ip}},{{end}}{{"\n"}}{{end}}') || return 1
    while IFS= read -r line; do
        case $line in 'True|'?*) is_up=true ;; esac
        addresses="$addresses${line#*|}"
    done <<<"$text"
    if [ "$is_up" = true ]; then printf '%s' "${addresses%,}"; fi
}

check_secrets() {
    local flag_and_name
    for flag_and_name in "a:$auth_secret" "l:$tls_secret"; do
        [ -z "${flag_and_name#*:}" ] || k get secret "${flag_and_name#*:}" -o name >/dev/null ||
            fail "cannot read the Secret ${flag_and_name#*:} in namespace $namespace, given with -${flag_and_name%%:*}"
    done
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
            k delete pvc "$volume" --timeout=60s >/dev/null || fail "cannot delete the PersistentVolumeClaim $volume"
            ;;
        *)
            note "PersistentVolumeClaim $volume is there"
            return
            ;;
    esac
    [ -z "$storage_class" ] || class="\"storageClassName\": $(quoted "$storage_class"),"
    k create -f - >/dev/null <<TEXT || fail "cannot create the PersistentVolumeClaim $volume for the backup"
{"apiVersion": "v1", "kind": "PersistentVolumeClaim",
 "metadata": {"name": $(quoted "$volume"), "labels": $(pod_labels backup)},
 "spec": {"accessModes": ["ReadWriteOnce"], $class "resources": {"requests": {"storage": "10Gi"}}}}
TEXT
    note "PersistentVolumeClaim $volume for the backup"
}

# --- Pods --------------------------------------------------------------------------------------------------------------

pod='' has_log=false
# What the tool in the pod ended with; 'lost' if the pod vanished or its node did, 'not started' if it never ran.
pod_exit=
# What `status --output json` said in the last pod that asked.
status=
readonly SECURE_POD='"runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000, "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}'
readonly SECURE_CONTAINER='"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}'
# What every pod begins with. The original tool takes no commands: it would migrate where it is told to look.
# shellcheck disable=SC2016 # these dollars are those of the pod's shell
readonly BEGIN='tool=/milvus/bin/meta-migration
$tool --version || { echo "this image does not hold this meta-migration: give another one with -m" >&2; exit 1; }
for file in /milvus/configs/milvus.yaml /milvus/configs/default.yaml /milvus/configs/user.yaml; do
    [ ! -f $file ] || META_MIGRATION_MILVUS_CONFIG=${META_MIGRATION_MILVUS_CONFIG:+$META_MIGRATION_MILVUS_CONFIG,}$file
done
for file in /milvus-auth/etcd-root-password /milvus-auth/password; do
    [ ! -f $file ] || export META_MIGRATION_ETCD_USER=root META_MIGRATION_ETCD_PASSWORD_FILE=$file
done
[ ! -f /milvus-auth/username ] || META_MIGRATION_ETCD_USER=$(cat /milvus-auth/username)
[ ! -f /milvus-tls/ca.crt ] || export META_MIGRATION_TLS_CA=/milvus-tls/ca.crt
[ ! -f /milvus-tls/tls.crt ] || export META_MIGRATION_TLS_CERT=/milvus-tls/tls.crt META_MIGRATION_TLS_KEY=/milvus-tls/tls.key
export META_MIGRATION_MILVUS_CONFIG
'
# shellcheck disable=SC2016
readonly TELL_STATE='echo "@status $($tool status --output json 2>/dev/null | tr -d "\n")"
'
# shellcheck disable=SC2016
readonly TELL_SETTINGS='for file in $(echo $META_MIGRATION_MILVUS_CONFIG | tr , " "); do
    grep -nE "(enableAutoCompaction|enableGarbageCollection|authorizationEnabled):" $file /dev/null | sed "s/^/@setting /; s/: */: /g"
done
'

pod_labels() {
    local label more='' old_ifs=$IFS
    IFS=,
    for label in $labels; do more="$more, $(quoted "${label%%=*}"): $(quoted "${label#*=}")"; done
    IFS=$old_ifs
    printf '{"app.kubernetes.io/name": "milvus-meta-migration", "app.kubernetes.io/instance": %s, "app.kubernetes.io/component": "%s"%s}' \
        "$(quoted "$instance")" "$1" "$more"
}

pod_resources() {
    local kind one amounts parts='' old_ifs=$IFS
    for kind in requests limits; do
        amounts=
        IFS=,
        for one in $resources; do
            case $one in $kind.*) one=${one#*.} && amounts="$amounts${amounts:+, }$(quoted "${one%%=*}"): $(quoted "${one#*=}")" ;; esac
        done
        IFS=$old_ifs
        [ -z "$amounts" ] || parts="$parts${parts:+, }\"$kind\": {$amounts}"
    done
    printf '{%s}' "$parts"
}

# remove_pods [WHAT]: those of earlier attempts, and waits until they are gone, so that no two are at work.
remove_pods() {
    local selector="$POD_LABEL,app.kubernetes.io/instance=$instance${1:+,app.kubernetes.io/component=$1}" left
    left=$(k get pods -l "$selector" -o go-template='{{range .items}}{{.metadata.name}} ({{.status.phase}}){{"\n"}}{{end}}') ||
        fail "cannot look for pods of an earlier attempt"
    [ -n "$left" ] || return 0
    note "removing pods of an earlier attempt: $(tr '\n' ' ' <<<"$left")"
    k delete pods -l "$selector" --timeout=120s >/dev/null || fail "cannot remove the pods of an earlier attempt. $(force_delete "${left%% *}")"
}

force_delete() {
    printf 'If its node is gone for good: kubectl --namespace %s delete pod %s --force --grace-period=0. That is safe: whatever it may still do, etcd takes no change from it once its lock has run out (30 s), and the next pod waits for that' "$namespace" "$1"
}

variable() { [ -z "$2" ] || printf ', {"name": "%s", "value": %s}' "$1" "$(literal "$2")"; }

# pod_environment SECONDS: how long to wait for sessions to end.
pod_environment() {
    printf '{"name": "META_MIGRATION_WAIT_FOR_SESSIONS", "value": "%ss"}' "$1"
    variable ETCD_ENDPOINTS "$etcd_endpoints"
    variable META_MIGRATION_SOURCE_VERSION "$source_version"
    variable META_MIGRATION_TARGET_VERSION "$target_version"
    variable META_MIGRATION_BACKUP_FILE "$BACKUP_FILE"
    variable META_MIGRATION_ROOT_PATH "$root_path"
    variable META_MIGRATION_META_SUB_PATH "$meta_sub_path"
    variable META_MIGRATION_TLS_MIN_VERSION "$tls_min_version"
    variable META_MIGRATION_TLS "${tls_secret:+true}"
}

# create_pod WHAT IMAGE SERVICE_ACCOUNT SPEC: SPEC is what its container has beyond image and rights, and what the pod has.
create_pod() {
    pod=milvus-meta-migration-$instance-$1
    pod_exit='not started' has_log=true
    k create -f - >/dev/null 2>"$scratch/refusal" <<TEXT || refused_pod || return 1
{"apiVersion": "v1", "kind": "Pod",
 "metadata": {"name": $(quoted "$pod"), "labels": $(pod_labels "$1"),
  "annotations": {"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled"}},
 "spec": {
  "restartPolicy": "Never", "automountServiceAccountToken": false, ${3:+"\"serviceAccountName\": \"$3\","} "securityContext": {$SECURE_POD},
  "imagePullSecrets": $pod_pull_secrets, "tolerations": $pod_tolerations, "nodeSelector": $pod_node_selector, "affinity": $pod_affinity,
  "containers": [{
   "name": "meta-migration", "image": $(quoted "$2"), "securityContext": {$SECURE_CONTAINER}, "resources": $(pod_resources),
   "command": ["/bin/sh", "-c"], $4}}
TEXT
    note "pod $pod"
}

refused_pod() {
    local why
    why=$(<"$scratch/refusal")
    note "$why"
    case $why in *quota* | *'per Pod'* | *'per Container'*) note "A quota or limit counts what pods take: say it with --resources, like --resources requests.cpu=100m,limits.memory=512Mi" ;; esac
    return 1
}

# Looking only must not wait for a volume that another node may hold.
needs_volume() { case $1 in status | look) return 1 ;; esac }

# run_pod WHAT SECONDS SCRIPT ARGUMENTS…: shows its log; succeeds if the tool ends with 0. Sets pod_exit and status.
run_pod() {
    local what=$1 seconds=$2 script=$3 word args mounts=$milvus_mounts volumes=$milvus_volumes
    shift 3
    args="$(literal "$BEGIN$script"), \"sh\""
    for word in "$@"; do args="$args, $(literal "$word")"; done
    if needs_volume "$what"; then
        mounts="$mounts, {\"name\": \"backup\", \"mountPath\": \"/milvus/data\"}"
        volumes="$volumes, {\"name\": \"backup\", \"persistentVolumeClaim\": {\"claimName\": $(quoted "$volume")}}"
    fi
    for word in ${auth_secret:+"auth:$auth_secret"} ${tls_secret:+"tls:$tls_secret"}; do
        mounts="$mounts, {\"name\": \"etcd-${word%%:*}\", \"mountPath\": \"/milvus-${word%%:*}\", \"readOnly\": true}"
        # 288 is 0440: JSON knows no octal numbers.
        volumes="$volumes, {\"name\": \"etcd-${word%%:*}\", \"secret\": {\"secretName\": $(quoted "${word#*:}"), \"defaultMode\": 288}}"
    done
    create_pod "$what" "$tool_image" "$service_account" \
        "\"args\": [$args], \"env\": [$(pod_environment "$seconds")], \"volumeMounts\": [${mounts#, }]}], \"volumes\": [${volumes#, }]" && follow_pod
    [ "$pod_exit" != 0 ] || return 0
    [ "$pod_exit" != 'not started' ] || remove_stillborn
    return 1
}

# It must not start after all when nobody expects it any more.
remove_stillborn() {
    k delete pod "$pod" --ignore-not-found --timeout=60s >/dev/null || note "the pod $pod could not be removed: remove it"
    has_log=false
}

# shellcheck disable=SC2016
readonly POD_TEMPLATE='{{$phase := .status.phase}}{{$ready := ""}}{{range .status.conditions}}{{if eq .type "Ready"}}{{$ready = .status}}{{end}}{{end
}}{{range .status.containerStatuses}}{{if eq .name "meta-migration"}}{{
with .state.terminated}}exited {{.exitCode}} {{with .reason}}{{.}}{{end}}{{end}}{{
with .state.running}}running {{$ready}}{{end}}{{
with .state.waiting}}waiting {{.reason}} {{with .message}}{{.}}{{end}}{{end}}{{end}}{{end}}
phase {{$phase}} {{with .status.reason}}{{.}}{{end}} {{with .status.message}}{{.}}{{end}}
{{range .status.conditions}}{{if and (eq .type "PodScheduled") (eq .status "False")}}{{with .message}}{{.}}{{end}}{{end}}{{end}}'

# Prints "exited CODE REASON", "running", "cut off", "waiting WHY" or "gone"; fails if the cluster does not answer.
pod_state() {
    local text first second
    text=$(k get pod "$pod" --ignore-not-found -o go-template="$POD_TEMPLATE") || return 1
    first=${text%%$'\n'*}
    second=${text#*$'\n'}
    case $text in
        '') printf 'gone' ;;
        'running False'*) printf 'cut off' ;;
        running*) printf 'running' ;;
        exited* | waiting*) printf '%s' "$first" ;;
        *'phase Failed '* | *'phase Succeeded '*) printf 'ended %s' "${second#phase }" ;;
        *) printf 'waiting %s' "$(tr '\n' ' ' <<<"${second#phase }")" ;;
    esac
}

# When something was last said; the process that gets a pod's log, and how many of its lines have been shown.
heard=0 listener='' shown=0
sign_of_life() {
    [ $((SECONDS - heard)) -ge "$SIGN_OF_LIFE" ] || return 0
    heard=$SECONDS
    note "$(date -u +%H:%M:%SZ) … $1"
}

follow_pod() {
    local state last='' misses=0 begun=$SECONDS waited_since=$SECONDS cut_off_since=''
    heard=$SECONDS listener='' shown=0
    : >"$scratch/log"
    while true; do
        if ! state=$(pod_state); then
            misses=$((misses + 1))
            # It may well go on without us.
            [ "$misses" -lt 30 ] || { pod_exit=lost && note "the cluster does not answer any more" && break; }
            sleep "$POLL"
            continue
        fi
        misses=0
        case $state in cut*) cut_off_since=${cut_off_since:-$SECONDS} ;; *) cut_off_since='' ;; esac
        case $state in
            exited*)
                finish_log
                [ "$shown" -gt 0 ] || note "its log is empty, or cannot be read: kubectl --namespace $namespace logs $pod"
                pod_exit=${state#exited }
                pod_exit=${pod_exit%% *}
                [ "$pod_exit" = 0 ] || note "the pod ended with exit code ${state#exited }"
                break
                ;;
            running | cut*)
                waited_since=$SECONDS
                pod_exit=lost
                show_log
                if [ -n "$cut_off_since" ] && [ $((SECONDS - cut_off_since)) -ge "$LOST_TIMEOUT" ]; then
                    note "the node of the pod $pod has not answered for $LOST_TIMEOUT s. $(force_delete "$pod")"
                    break
                fi
                sign_of_life "the pod is ${state/cut off/cut off: its node does not answer}, for $((SECONDS - begun)) s"
                ;;
            gone | ended*)
                finish_log
                note "the pod is $state"
                pod_exit=lost
                break
                ;;
            *)
                [ "$state" = "$last" ] || { note "$state" && heard=$SECONDS; }
                if gives_up "$state" $((SECONDS - waited_since)); then break; fi
                sign_of_life "still $state"
                ;;
        esac
        last=$state
        # While its log comes, the pod need not be asked as often how it is.
        if [ "$state" = running ]; then listen 10; else sleep "$POLL"; fi
    done
    stop_listening
}

is_listening() { [ -n "$listener" ] && kill -0 "$listener" 2>/dev/null; }

stop_listening() {
    ! is_listening || kill "$listener" 2>/dev/null || true
    listener=
}

# gives_up STATE SECONDS: whether waiting any longer is of no use.
gives_up() {
    case $1 in
        *InvalidImageName* | *CreateContainerConfigError* | *ErrImageNeverPull*) return 0 ;;
        *ErrImagePull*'not found'* | *ImagePullBackOff*'not found'* | *ErrImagePull*[Dd]enied* | *ErrImagePull*nauthorized*) return 0 ;;
    esac
    [ "$2" -ge "$START_TIMEOUT" ] || return 1
    note "the pod has not started in $START_TIMEOUT s: kubectl --namespace $namespace describe pod $pod"
}

# The log comes through a file, so that a node that answers neither yes nor no holds nobody up. A broken connection, or a log that is
# not there yet, is asked for again from its beginning, and what has been shown is passed over.
show_log() {
    if is_listening; then
        show_lines
    else
        show_lines
        # exec, so that it is kubectl itself that is ended.
        { exec kubectl ${context:+"--context=$context"} --namespace "$namespace" logs "$pod" -c meta-migration --follow >"$scratch/log" 2>/dev/null; } &
        listener=$!
    fi
}

# show_lines [LAST]: those that have come since; LAST: the one without a line end, too.
show_lines() {
    local line
    while IFS= read -r line || [ -n "${1:+$line}" ]; do
        shown=$((shown + 1)) heard=$SECONDS
        case $line in
            '@status '*) status=${line#@status } ;;
            '@setting '*) settings="$settings${line#@setting }"$'\n' ;;
            *)
                case $line in *'does not keep the way back open'*) closes_way_back=true ;; esac
                printf '    | %s\n' "$line"
                ;;
        esac
    done < <(tail -n "+$((shown + 1))" "$scratch/log")
}

# listen ROUNDS: as long as the log comes, at most.
listen() {
    local rounds=$1
    while sleep 0.3 && is_listening && [ "$rounds" -gt 0 ]; do
        rounds=$((rounds - 1))
        show_lines
    done
}

# The container has ended, so the log does, too; its node may need a moment to have it, and a connection may hang.
finish_log() {
    local _
    for _ in 1 2 3; do
        show_log
        listen 30
        if is_listening; then
            stop_listening
        else
            show_lines last
            [ "$shown" -eq 0 ] || return 0
        fi
    done
    show_lines last
}

# found KEY: the first text or number of that name in `status`.
found() {
    local rest=${status#*\""$1"\": }
    [ "$rest" != "$status" ] || return 0
    rest=${rest#\"}
    printf '%s' "${rest%%[\",]*}"
}

# --- Steps -------------------------------------------------------------------------------------------------------------

# What etcd says of the metadata, as `status` names it; empty while it has not been asked, 'unclear' while a pod writes.
meta_state=
# Lines of Milvus's configuration about collecting files and about users; whether the tool says that it closes the way back.
settings='' closes_way_back=false
# The tool's options about the conversion.
conversion=()

prepare_pods() {
    local word
    check_secrets
    [ -n "$etcd_endpoints" ] || [ "$sees_configuration" = true ] ||
        fail "the pods of Milvus mount no configuration that names its etcd: give -e HOST:PORT"
    conversion=("--skip-invalid=$skip_invalid")
    # shellcheck disable=SC2086 # words are wanted; -f is set, and check_arguments has looked at them
    for word in $tool_options; do conversion+=("$word"); done
    remove_pods "$@"
}

# Asks etcd what there is, in a pod, and makes sure that it is this Milvus's: `prove` has been thought of before.
take_state() {
    local root
    meta_state=$(found state)
    # The tool ended before it had looked: nobody has asked etcd yet.
    [ "$meta_state" != unknown ] || meta_state=
    root=$(found meta_root)
    if [ -n "$record_root" ] && [ -n "$root" ] && [ "$root" != "$record_root" ]; then
        fail "the metadata of this Milvus was under $record_root when it was stopped (ConfigMap $record), but this is $root: correct -r and -u, or -e"
    fi
    case $operation-$meta_state in migrate-*-interrupted | migrate-migrated | rollback-*-interrupted | rollback-migrated) exit_code=2 ;; esac
}

# look POD SCRIPT: shows the plan; afterwards pod_exit is 0 (nothing to do), 2 (something to do), or anything else.
look() {
    local what=$1 script=$2 addresses ask=''
    addresses=$(milvus_addresses) || fail "cannot list the pods of Milvus"
    set -- --detailed-exitcode "${conversion[@]}"
    # Only the pod knows whether there is a configuration to look into.
    # shellcheck disable=SC2016
    [ "$operation$keep_way_back" != migratetrue ] || ask='${META_MIGRATION_MILVUS_CONFIG:+--require-way-back-settings} '
    if [ -n "$addresses" ]; then
        note "Milvus's pods are at $addresses: its components have to be registered there, and nobody else"
        set -- "$@" "--expect-address=$addresses"
    elif [ "$sees_configuration" = false ] && [ -z "$root_path$record_root" ]; then
        fail "nothing tells which metadata is that of $instance: none of its pods is ready, and they mount no configuration. Give -r, or start it"
    fi
    run_pod "$what" 0 "$script$TELL_STATE${TELL_SETTINGS}exec \$tool plan $ask\"\$@\"" "$@" || true
    take_state
}

# The new image is pulled meanwhile: the same secrets and placement as Milvus has, and it ends at once.
await_image() {
    local state last='' begun=$SECONDS heard=$SECONDS
    pod=$1
    while true; do
        state=$(pod_state) || state='waiting for the cluster to answer'
        # Whatever it ends with, the image is there.
        case $state in exited* | ended* | running* | cut*) break ;; gone) fail "the pod $pod, which tries the new image, is gone" ;; esac
        [ "$state" = "$last" ] || note "$state"
        last=$state
        if gives_up "$state" $((SECONDS - begun)); then
            remove_stillborn
            fail "the new image of Milvus, $milvus_image, cannot be had: ${state#waiting }. Say the right one with -w. Milvus runs as before"
        fi
        sign_of_life "still $state"
        sleep "$POLL"
    done
    note "the new image $milvus_image can be had"
}

# Numbers and images as they are now; but a workload that is at 0, and a container that has a new image, keep what is recorded.
record_what_runs() {
    local index ref number image recorded numbers='' images=''
    for index in "${!refs[@]}"; do
        ref=${refs[index]}
        number=${replicas[index]}
        recorded=$(recorded_replicas "$ref")
        [ "$number" -ne 0 ] || number=${recorded:-0}
        numbers="$numbers${numbers:+ }${ref#deployment/}:$number"
    done
    for index in "${!container_refs[@]}"; do
        image=${container_images[index]}
        recorded=$(recorded_image "${container_refs[index]}" "${container_names[index]}")
        if [ "$image" = "$milvus_image" ] || { [ -n "$(release_of "$image")" ] && ! is_old "$image"; }; then
            image=$recorded
        elif [ "$meta_state" != ready ]; then
            image=${recorded:-$image}
        fi
        [ -z "$image" ] || images="$images${container_refs[index]} ${container_names[index]} $image"$'\n'
    done
    if ! matches "$numbers" '.*:[1-9].*'; then
        fail "all of Milvus is at 0 replicas, and nothing tells how many there were. Write it down, then run again:
  kubectl --namespace $namespace create configmap $record --from-literal=replicas='${numbers//:0/:1}'"
    fi
    record_replicas=$numbers record_images=$images record_chart=${record_chart:-$chart} record_root=$(found meta_root)
    write_record
}

scale_down() {
    local index up=()
    for index in "${!refs[@]}"; do
        [ "${replicas[index]}" -eq 0 ] || up+=("${refs[index]}")
    done
    if [ ${#up[@]} -eq 0 ]; then
        note "all of Milvus is at 0 replicas already"
        return
    fi
    note "to 0 replicas: ${up[*]}"
    for index in "${up[@]}"; do
        k patch "$index" --field-manager="$MANAGER" --type merge --patch '{"spec": {"replicas": 0}}' >/dev/null || fail "cannot scale $index down"
    done
    read_workloads || fail "cannot list the Deployments and StatefulSets in namespace $namespace"
}

# How long the last session may outlive the order to stop.
longest_wait() {
    local index wait=$longest_grace
    for index in "${!container_images[@]}"; do
        is_old "${container_images[index]}" || [ "$wait" -gt "$HANDOVER_SECONDS" ] || wait=$HANDOVER_SECONDS
    done
    printf '%s' $((wait + LEASE_SECONDS))
}

# change_metadata WHAT SCRIPT ARGUMENTS…: in a pod, which may write.
change_metadata() {
    local what=$1 script=$2 wait before=$meta_state code=$exit_code
    shift 2
    wait=$(longest_wait)
    note "waiting for the last component of Milvus to end, if need be for $wait s"
    meta_state=unclear exit_code=2
    if run_pod "$what" "$wait" "$script" "$@"; then return; fi
    case $pod_exit in 1 | 'not started') meta_state=$before exit_code=$code ;; esac
    fail "the $what of the metadata failed (exit code $pod_exit), see the log above"
}

# start_milvus [IMAGE]: numbers of before, with this image or that of before.
start_milvus() {
    local index number
    for index in "${!refs[@]}"; do
        number=$(recorded_replicas "${refs[index]}")
        if [ -z "$number" ]; then
            note "${refs[index]} was not there when the migration began: it stays at ${replicas[index]} replicas"
            continue
        fi
        note "${refs[index]}: $number replicas$(images_to_be "${refs[index]}" "${1:-}")"
        k patch "${refs[index]}" --field-manager="$MANAGER" --type strategic --patch "{\"spec\": {\"replicas\": $number, \"template\": {\"spec\": {\"containers\": [$(
            containers_to_be "${refs[index]}" "${1:-}"
        )]}}}}" >/dev/null || fail "cannot start ${refs[index]}"
    done
    tell_missing
}

# container_lines KIND/NAME [IMAGE]: "container image" as it is to be: this image, else that of before, else that of -w.
container_lines() {
    local index image
    for index in "${!container_refs[@]}"; do
        if [ "${container_refs[index]}" = "$1" ]; then
            image=$(recorded_image "$1" "${container_names[index]}")
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

# is_as_before: numbers, images, and ready.
is_as_before() {
    local index
    for index in "${!refs[@]}"; do
        [ "${replicas[index]}" = "$(recorded_replicas "${refs[index]}")" ] || return 1
        [ "$(images_of "${refs[index]}")" = "$(images_to_be "${refs[index]}")" ] || return 1
    done
    all_ready
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
    heard=$SECONDS
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
            fail "Milvus is not ready after $READY_TIMEOUT s: kubectl --namespace $namespace get pods -l $MILVUS_LABELS=$instance"
        fi
        sign_of_life "not ready yet, for $((SECONDS - begun)) s"
        sleep "$POLL"
    done
    note "all of Milvus is ready"
    give_fields_back
}

# What keeps pods of Milvus from running, such as an image that cannot be pulled.
pod_troubles() {
    # shellcheck disable=SC2016
    k get pods -l "$MILVUS_LABELS=$instance" -o go-template='{{range .items}}{{$pod := .metadata.name
        }}{{range .status.containerStatuses}}{{with .state.waiting}}; {{$pod}}: {{.reason}}{{end}}{{end}}{{end}}' 2>/dev/null || true
}

# Helm 4 applies on the server's side: what this script has changed must not count as ours, or an upgrade would be a conflict.
give_fields_back() {
    local ref index removal
    for ref in "${refs[@]}"; do
        removal=
        # shellcheck disable=SC2016
        for index in $(k get "$ref" -o go-template="{{range \$i, \$entry := .metadata.managedFields}}{{if eq \$entry.manager \"$MANAGER\"}}{{\$i}} {{end}}{{end}}"); do
            removal="{\"op\": \"remove\", \"path\": \"/metadata/managedFields/$index\"}${removal:+, $removal}"
        done
        [ -z "$removal" ] || k patch "$ref" --field-manager="$MANAGER" --type json --patch "[$removal]" >/dev/null ||
            note "$ref keeps the entry $MANAGER in its managedFields: Helm 4 may need --force-conflicts"
    done
}

delete_if_asked() {
    [ "$delete_leftovers" = true ] || return 0
    step "Deleting our pods"
    remove_pods
    note "the backup (PersistentVolumeClaim $volume) and what there was before (ConfigMap $record) stay"
}

# --- Operations --------------------------------------------------------------------------------------------------------

migrate() {
    local image_pod=''
    step "1/4  Look: would all of it go through? Milvus is not touched yet"
    check_rights
    prepare_pods
    make_volume
    case $milvus_image in *"${target_version#v}"*) ;; *) note "mind: the image $milvus_image does not say that it is $target_version" ;; esac
    if ! has_new_image || ! all_ready; then
        create_pod image "$milvus_image" "$milvus_account" '"args": ["exit 0"]}]' || { remove_stillborn && fail "cannot create the pod $pod, which tries the new image"; }
        image_pod=$pod
    fi
    look plan "test -w /milvus/data || { echo '/milvus/data cannot be written by the user of this container: does its storage class ignore fsGroup?' >&2; exit 1; }
"
    case $pod_exit in
        0 | 2) ;;
        *)
            [ "$closes_way_back" = false ] || tell_keeping
            fail "it would not go through (exit code $pod_exit), see the log above. If pods of Milvus were replaced within the last minute, run again"
            ;;
    esac
    local plan=$pod_exit
    [ -z "$image_pod" ] || await_image "$image_pod"
    if [ "$plan" = 0 ] && [ "$milvus_total" -gt 0 ]; then
        if has_new_image && all_ready; then
            say "Nothing to do: all of Milvus $instance is $milvus_image, and its metadata is what that needs ($meta_state)."
            delete_if_asked
            return
        fi
        note "nothing is to be migrated ($meta_state): only the images are changed, and nothing is stopped for it"
        record_what_runs
    else
        record_what_runs
        step "2/4  Stop Milvus"
        scale_down
        step "3/4  Metadata: wait for the last component, back up, migrate, verify"
        # shellcheck disable=SC2016 # the variable is that of the pod's shell
        change_metadata upgrade 'exec $tool upgrade "$@"' "${conversion[@]}"
        meta_state=migrated
    fi
    step "4/4  Start Milvus with $milvus_image"
    start_milvus "$milvus_image"
    wait_until_ready
    delete_if_asked
    say
    say "Done: Milvus $instance is $milvus_image now, with all its metadata. Check it with a client."
    say "The way back:  $(again '-o rollback')"
    say "               It is open until the new Milvus collects files that only the old metadata names (docs/operating.md)."
    say "Give it up:    $(again '-o complete')"
    tell_helm
}

# The version of the chart that is installed, or VERSION.
chart_version() {
    local name=${record_chart:-$chart}
    printf '%s' "${name:+${name##*-}}"
    [ -n "$name" ] || printf VERSION
}

# say_helm_upgrade --set VALUE…: the command for that chart.
say_helm_upgrade() { say "  helm upgrade $instance milvus/milvus --namespace $namespace --version $(chart_version) --reuse-values $*"; }

# What Helm has to be told first, so that the way back stays open.
tell_keeping() {
    say
    case $(chart_version) in
        [0-3].*)
            say "What keeps the way back open, told to Helm (Milvus is restarted as it is); then run again. Or go on without, on purpose: --keep-way-back false"
            say_helm_upgrade --set dataCoordinator.enableGarbageCollection=false --set dataCoordinator.compaction.enableAutoCompaction=false --set indexCoordinator.gc.interval=604800
            ;;
        *)
            say "What keeps the way back open belongs into extraConfigFiles.user.yaml of the Helm values, by helm upgrade with the chart $(chart_version) that is"
            say "installed (Milvus is restarted as it is); then run again. Or go on without, on purpose: --keep-way-back false"
            say "  dataCoord: {enableGarbageCollection: false, compaction: {enableAutoCompaction: false}}"
            case $target_version in 2.2.* | v2.2.*) say "  indexCoord: {gc: {interval: 604800}}" ;; esac
            ;;
    esac
}

tell_helm() {
    say
    say "Tell Helm, too, or its next upgrade brings the old image back (for the chart ${record_chart:-${chart:-milvus-VERSION}} that is installed):"
    say_helm_upgrade --set "image.all.repository=${milvus_image%:*}" --set "image.all.tag=${milvus_image##*:}"
    case $(chart_version) in
        [0-3].* | VERSION)
            say "Charts from 4.0.0 on ignore metadata.rootPath, authorization.enabled and more without a word: before you take one, put into"
            say "extraConfigFiles.user.yaml what Milvus has now:  etcd.rootPath and etcd.metaSubPath, which come to $(found meta_root)"
            [ -z "$settings" ] || printf '%s' "$settings" | sed 's/^/  /'
            ;;
    esac
}

rollback() {
    local has_volume has_backup=false
    step "1/4  Look: what is there, and is the backup sound? Milvus is not touched yet"
    check_rights
    if [ "$record_exists" = false ] || [ -z "$record_images" ]; then
        [ -n "$milvus_image" ] ||
            fail "nothing is recorded about the images before a migration of $instance (ConfigMap $record): give the old image of Milvus with -w"
    fi
    prepare_pods
    has_volume=$(k get pvc "$volume" --ignore-not-found -o name) || fail "cannot look for the PersistentVolumeClaim $volume"
    if [ -n "$has_volume" ]; then
        if run_pod inspect 0 "${TELL_STATE}exec \$tool inspect $BACKUP_FILE"; then has_backup=true; fi
    else
        run_pod status 0 "$TELL_STATE" || true
    fi
    take_state
    [ -n "$meta_state" ] || fail "etcd could not be asked (exit code $pod_exit), see the log above and: $(again '-o status')"
    check_images_to_be
    [ "$record_exists" = true ] || record_what_runs
    case $meta_state in
        ready | nothing-to-migrate)
            if is_as_before; then
                say "Nothing to do: Milvus $instance is as it was before, and so is its metadata ($meta_state)."
                delete_if_asked
                return
            fi
            note "the metadata is as it was ($meta_state), so none is to be restored"
            ;;
        *)
            [ "$has_backup" = true ] || fail "the metadata is: $meta_state; and there is no usable backup in PersistentVolumeClaim $volume, see the log above"
            step "2/4  Stop Milvus"
            scale_down
            step "3/4  Roll the metadata back"
            # shellcheck disable=SC2016 # the variable is that of the pod's shell
            change_metadata rollback 'exec $tool rollback'
            meta_state=ready
            ;;
    esac
    step "4/4  Start Milvus with the image of before"
    start_milvus
    wait_until_ready
    delete_if_asked
    say
    say "Done: Milvus $instance is as it was before the migration. The backup stays in PersistentVolumeClaim $volume until  $(again '-o cleanup')"
}

check_images_to_be() {
    local index image
    for index in "${!container_refs[@]}"; do
        image=$(recorded_image "${container_refs[index]}" "${container_names[index]}")
        [ -n "${image:-$milvus_image}" ] || fail "the image of ${container_refs[index]} before the migration is not recorded: give it with -w"
    done
}

plan() {
    step "Plan"
    prepare_pods look
    look look ''
    case $pod_exit in 0 | 2) ;; *) fail "it would not go through (exit code $pod_exit), see the log above" ;; esac
}

# ask: what etcd says, without touching anything.
ask() {
    prepare_pods status
    # shellcheck disable=SC2016
    run_pod status 0 "$TELL_STATE"'exec $tool status' || fail "etcd could not be asked (exit code $pod_exit), see the log above"
    take_state
}

# What of Milvus does not suit its metadata, a line each.
mismatches() {
    local index image
    for index in "${!container_refs[@]}"; do
        image=${container_images[index]}
        case $meta_state in
            migrated | newer | *-interrupted)
                if is_old "$image" || { [ -z "$(release_of "$image")" ] && [ "$image" = "$(recorded_image "${container_refs[index]}" "${container_names[index]}")" ]; }; then
                    printf 'OLD image on metadata that is %s: %s %s\n' "$meta_state" "${container_refs[index]}" "$image"
                fi
                ;;
            ready)
                if [ -n "$(release_of "$image")" ] && ! is_old "$image"; then
                    printf 'NEW image on metadata of 2.1: %s %s\n' "${container_refs[index]}" "$image"
                fi
                ;;
        esac
    done
}

status() {
    local wrong line
    step "Kubernetes"
    [ -z "$record_replicas" ] || note "before: replicas $record_replicas${record_chart:+, chart $record_chart} (ConfigMap $record)"
    k get pods -l "$POD_LABEL,app.kubernetes.io/instance=$instance" || fail "cannot list our pods"
    k get pvc "$volume" --ignore-not-found || fail "cannot look for the PersistentVolumeClaim"
    step "etcd"
    ask
    wrong=$(mismatches)
    if [ -n "$wrong" ]; then
        say
        while IFS= read -r line; do say "$line"; done <<<"$wrong"
    fi
    tell_metadata
    if [ -n "$wrong" ] || [ "$milvus_total" -eq 0 ]; then tell_next; fi
}

complete() {
    step "Is it done?"
    ask
    case $meta_state in
        migrated | newer | nothing-to-migrate) ;;
        ready) fail "the metadata is that of 2.1: nothing has been migrated, or it has been rolled back; there is nothing to complete" ;;
        *) fail "the metadata is: $meta_state. That has to be finished first" ;;
    esac
    local wrong
    wrong=$(mismatches)
    [ -z "$wrong" ] || fail "$wrong. Start the new Milvus first: $(again)"
    { [ "$milvus_total" -gt 0 ] && all_ready; } || fail "Milvus is not ready: complete gives up the way back, so it has to be well first"
    k delete configmap "$record" --ignore-not-found >/dev/null || fail "cannot delete the ConfigMap $record"
    say
    say "Done: the migration of Milvus $instance is complete. There is no way back by this script any more. What may go now:"
    say "  the backup: keep a copy elsewhere if you like, then  $(again '-o cleanup')"
    say "  the settings that kept the way back open, in Milvus's configuration: dataCoord.enableGarbageCollection, dataCoord.compaction.enableAutoCompaction, indexCoord.gc.interval"
    say "  the space of the old records in etcd: etcdctl compact --physical REVISION, then etcdctl defrag on each member (docs/operating.md)"
    say "  nothing else: the keys under $(found meta_root)/meta-migration/ and the three that keep 2.1 away are small, and stay"
}

cleanup() {
    local wrong=''
    if [ "${#refs[@]}" -gt 0 ]; then
        step "May it go?"
        ask
        wrong=$(mismatches)
        case $meta_state in
            *-interrupted) fail "the metadata is: $meta_state. The backup and the record are still needed" ;;
            ready | nothing-to-migrate | no-milvus) [ "$milvus_total" -gt 0 ] || [ "$record_exists" = false ] || fail "Milvus is scaled down: the record of its replicas is still needed" ;;
            *)
                [ -z "$wrong" ] || fail "$wrong. The backup is its only way back: start the new Milvus ($(again)), or go back ($(again '-o rollback'))"
                [ "$record_exists" = false ] || fail "the way back may still be needed. To give it up: $(again '-o complete')"
                ;;
        esac
    fi
    step "Delete everything of ours"
    remove_pods
    k delete configmap "$record" "milvus-meta-migration-config-$instance" --ignore-not-found >/dev/null || fail "cannot delete the ConfigMap $record"
    k delete pvc "$volume" --ignore-not-found --timeout=120s >/dev/null || fail "cannot delete the PersistentVolumeClaim $volume"
    say "Done: pods, ConfigMap and the volume with the backup are gone. There is no way back to the old metadata any more."
}

# --- What there is, and what to do, when it fails ----------------------------------------------------------------------

tell_metadata() {
    case $meta_state in
        '') note "metadata:  not asked for yet; this run has written nothing" ;;
        unclear) note "metadata:  possibly half written: neither the old nor the new Milvus must be started now" ;;
        ready) note "metadata:  that of the old Milvus, untouched" ;;
        migrated) note "metadata:  migrated" ;;
        *-interrupted) note "metadata:  half written (${meta_state%-interrupted}): neither the old nor the new Milvus must be started now" ;;
        *) note "metadata:  $meta_state" ;;
    esac
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
    case $meta_state-$operation in
        rollback-interrupted-* | unclear-rollback | ready-rollback) note "finish the rollback:  $(again '-o rollback')" ;;
        ready-* | nothing-to-migrate-* | newer-started-first-*)
            note "mend what is wrong and go on:  $(again)"
            note "or start Milvus as it was:     $(again '-o rollback')"
            ;;
        -*) note "mend what is wrong and run again:  $(again "-o $operation")" ;;
        *)
            note "go on where it ended:    $(again)"
            note "or go back to before:    $(again '-o rollback')"
            ;;
    esac
    note "look:  $(again '-o status')"
    [ "$has_log" = false ] || note "log:   kubectl --namespace $namespace logs $pod"
}

at_exit() {
    local code=$?
    trap - EXIT INT TERM HUP
    set +e
    stop_listening
    [ -z "${scratch:-}" ] || rm -rf "$scratch"
    [ "$code" -ne 0 ] || exit 0
    {
        say
        if [ -n "$failure" ]; then
            say "FAILED${current_step:+ at step $current_step}: $failure"
        else
            say "STOPPED UNEXPECTEDLY${current_step:+ at step $current_step}, exit code $code: a defect of this script"
            code=100
        fi
        if [ "$record_exists" = true ] || [ -n "$pod" ]; then
            say
            say "How things stand:"
            tell_milvus
            tell_metadata
            tell_next
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
    volume=milvus-meta-migration-backup-$instance
    scratch=$(mktemp -d)
    check_cluster
    read_record
    find_workloads
    [ "$operation" != migrate ] || choose_image
    "$operation"
    # Here, not at the end of the file, which may have been replaced meanwhile.
    exit 0
}

main "$@"
