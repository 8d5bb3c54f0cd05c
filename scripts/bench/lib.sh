# Shared by the measurements in this folder: a release build, timing of whole processes, medians and ratios.
# Sourced, not run. Every script here prints what it measured and the command. One whose command fails ends with an error:
# what could not start would seem very fast. Only `fresh-tables` fails on a time.
# shellcheck shell=bash

# A command that fails inside `$(…)` ends the script too. Only as an argument of another command it does not: assign it to a
# variable first.
shopt -s inherit_errexit

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
readonly project
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/batchctl-target}
if ! command -v cargo >/dev/null && [[ -x $HOME/.cargo/bin/cargo ]]; then PATH=$HOME/.cargo/bin:$PATH; fi
batchctl=$CARGO_TARGET_DIR/release/batchctl

# Ends the script if something is missing: what it is, how to get it, and a command that succeeds only with it.
need() {
    local what=$1 get=$2
    shift 2
    "$@" >/dev/null 2>&1 || { printf 'missing: %s; %s\n' "$what" "$get" >&2; exit 1; }
}

# What peak_memory and made-up files need.
need_time() { need 'GNU time' 'apt-get install time' /usr/bin/time --version; }
need_strftime() { need 'an awk with strftime' 'apt-get install gawk' awk 'BEGIN { exit strftime("%Y", 0, 1) != "1970" }'; }

# A statement that fails ends psql, and with it the script.
psql() { command psql -v ON_ERROR_STOP=1 "$@"; }

# Ends a server that this script has started, if it still runs, and removes the work folder.
clean_up_with() { trap "kill $1 2>/dev/null || true; rm -rf -- '$work'" EXIT; }

# Restarts the script with throwaway servers that are safe against power loss, as in production.
with_servers() {
    need psql 'apt-get install postgresql-client' command psql --version
    if [[ -z ${BATCHCTL_TEST_POSTGRES_URL:-} ]]; then
        need cargo 'install Rust (rustup.rs)' cargo --version
        (cd "$project" && cargo build --release --quiet)
        exec "$project/scripts/servers" run --durable -- "$@"
    fi
}

# A folder for this measurement, removed at the end. On disk, not in memory, so that writes are real.
make_work_folder() {
    work=$(mktemp -d "${BENCH_FOLDER:-/var/tmp}/batchctl-bench.XXXXXX")
    trap 'rm -rf -- "$work"' EXIT
    cd "$work"
}

# A new, migrated database on the server; prints its URL.
make_postgres_database() {
    local name=$1
    psql -qX -d "$BATCHCTL_TEST_POSTGRES_URL" -c "CREATE DATABASE $name"
    local url=${BATCHCTL_TEST_POSTGRES_URL%/*}/$name
    BATCHCTL_DATABASE_URL=$url "$batchctl" db migrate
    printf '%s\n' "$url"
}

# The milliseconds that a command takes, with two decimals; its output is discarded, its failure ends the script.
milliseconds() {
    local before=$EPOCHREALTIME after
    "$@" >/dev/null
    after=$EPOCHREALTIME
    local micros=$(((${after%.*} - ${before%.*}) * 1000000 + 10#${after#*.} - 10#${before#*.}))
    printf '%d.%02d\n' $((micros / 1000)) $((micros % 1000 / 10))
}

# The median of the numbers on stdin, of which there has to be one.
median() { sort -n | awk '{ v[NR] = $1 } END { if (!NR) exit 1; print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# The largest resident set of a command, in MiB.
peak_memory() {
    /usr/bin/time -f '%M' -o "$work/time" "$@" >/dev/null
    awk '{ printf "%.1f\n", $1 / 1024 }' "$work/time"
}

# Runs $1 and $2 (names of functions) alternately, $3 times, and prints both medians and the median of the ratios.
compare() {
    local first=$1 second=$2 rounds=$3 round a b
    "$first" >/dev/null; "$second" >/dev/null
    : >"$work/first"; : >"$work/second"; : >"$work/ratios"
    for ((round = 0; round < rounds; round++)); do
        a=$(milliseconds "$first"); b=$(milliseconds "$second")
        printf '%s\n' "$a" >>"$work/first"; printf '%s\n' "$b" >>"$work/second"
        awk -v a="$a" -v b="$b" 'BEGIN { print a / b }' >>"$work/ratios"
    done
    a=$(median <"$work/first"); b=$(median <"$work/second")
    printf '  %-28s median %10.1f ms\n' "$first" "$a" "$second" "$b"
    a=$(median <"$work/ratios")
    printf '  ratio, median of %d pairs    %10.3f\n' "$rounds" "$a"
}

describe_machine() {
    printf '%s: %s cores, %s\n' "$(date -u +%F)" "$(nproc)" "$(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo)"
}
