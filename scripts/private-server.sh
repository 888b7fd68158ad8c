# A private PostgreSQL for measuring scripts, to be sourced: $pg_bin names its programs; $is_forced,
# whether to measure on a machine that is not idle.
#
# start_server makes a cluster in $work, durable as PostgreSQL ships, that only a Unix-domain socket
# in $work/server leads to, and $listen_addresses with $port, if they are set; stop_server stops it and removes $work, as does clean_up, for a trap.
# shellcheck shell=bash disable=SC2154

readonly load_max=0.5
work='' server_is_up=false load_before='' server_user=()

say() { echo "$(basename "$0"): $*" >&2; }
fail() { say "$*"; exit 1; }

# need_built PROGRAM… fails if one is not there.
need_built() {
    local program
    for program in "$@"; do
        [[ -x $program ]] || fail "no $program: run \`cargo build --release --bins --examples\` before"
    done
}

# What else runs on the machine runs against one side more than against the other.
check_load() {
    read -r load_before _ </proc/loadavg || load_before=0
    if awk -v load="$load_before" -v max="$load_max" 'BEGIN { exit !(load > max) }'; then
        say "!!! The load average is $load_before: something else is running, and these numbers"
        say "!!! would be its numbers too. Wait until it is below $load_max."
        $is_forced || fail "refused; --force measures all the same, and the results say so"
    fi
}

start_server() {
    if [[ $(id -u) == 0 ]]; then
        # The server refuses to run as root.
        server_user=(runuser -u nobody --)
        if id postgres >/dev/null 2>&1; then server_user=(runuser -u postgres --); fi
    fi
    work=$(mktemp -d "${TMPDIR:-/tmp}/batchpilot-measure.XXXXXX")
    chmod 755 "$work"
    mkdir "$work/server"
    if [[ $(id -u) == 0 ]]; then chown "${server_user[2]}" "$work/server"; fi
    local data=$work/server/data
    as_server initdb -A trust -U batchpilot -E UTF8 --no-locale -D "$data" >"$work/initdb.log" 2>&1 \
        || fail "initdb: $(tail -n 3 "$work/initdb.log")"
    # All else as it comes: fsync, synchronous_commit and full_page_writes are on.
    printf '%s\n' "listen_addresses = '${listen_addresses-}'" "port = ${port-5432}" \
        "unix_socket_directories = '$work/server'" >>"$data/postgresql.conf"
    server_is_up=true
    as_server pg_ctl -w -s -l "$work/server/log" -D "$data" start \
        || fail "the server did not start: $(tail -n 3 "$work/server/log")"
}

as_server() {
    local program=$1
    shift
    (cd "$work/server" && "${server_user[@]+"${server_user[@]}"}" "$pg_bin/$program" "$@")
}

stop_server() {
    if $server_is_up; then
        as_server pg_ctl -s -m immediate -D "$work/server/data" stop >/dev/null 2>&1 || true
        server_is_up=false
    fi
    rm -rf -- "$work"
    work=''
}

clean_up() {
    local status=$?
    trap '' INT TERM
    if [[ -n $work ]]; then stop_server; fi
    exit "$status"
}

psql() {
    "$pg_bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$work/server" -U batchpilot -d postgres "$@"
}

ask() { psql -A -t -c "$1"; }
