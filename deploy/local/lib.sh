# shellcheck shell=bash
# Shared by up, down and tests/tools: talk, the cache, apt, and processes known by their recorded id.
# Sourced, never run. Data goes to stdout, talk to stderr; exit 2 means "could not run".

me=${0##*/}
root=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd -P)
# shellcheck disable=SC2034 # read by up and down
default_dir=$root/target/local

say() { printf '%s: %s\n' "$me" "$*" >&2; }
die() { say "$@"; exit 2; }

# Outside the work tree, so that a clean clone and a second work tree find it filled.
cache_root() {
    local base=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
    printf '%s/bellwether\n' "${base:-$root/target/cache}"
}

have() { command -v "$1" >/dev/null 2>&1; }

can_apt() { have apt-get && [ "$(id -u)" = 0 ]; }

# A fresh machine or image has no package lists: the first try may fail, the one after an update may not.
# Quiet where it works: callers print data, and people do not read a package manager's diary.
apt() {
    local quiet=(apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
    DEBIAN_FRONTEND=noninteractive "${quiet[@]}" "$@" >/dev/null 2>&1 && return
    say "updating apt's package lists"
    "${quiet[@]}" update >&2 && DEBIAN_FRONTEND=noninteractive "${quiet[@]}" "$@" >&2
}

apt_install() {
    say "installing with apt-get: $*"
    apt install -y --no-install-recommends "$@"
}

# The dir is written into properties files, a class path and a sourceable file, and up and down delete
# below it: so it must be absolute and free of the characters that those formats give a meaning.
absolute_dir() {
    local dir=$1
    case $dir in
        '') die "--dir needs a directory" ;;
        *[\'\",:\\]* | *$'\n'*) die "--dir $dir: quotes, commas, colons and backslashes cannot be used here" ;;
    esac
    realpath -m -- "$dir"
}

# A pid file alone proves nothing: after a reboot its number may belong to anybody. Every part of a stack
# has a path below the stack's dir on its command line, and nobody else's process has.
# (A zombie has an empty command line: it counts as gone, as it should.)
running() { # running DIR PART: is it alive? Leaves its id in $pid.
    pid=
    [ -r "$1/pids/$2" ] || return 1
    read -r pid <"$1/pids/$2" || return 1
    [ -n "$pid" ] && grep -qzF -- "$1/" "/proc/$pid/cmdline" 2>/dev/null
}

# stop_parts DIR GRACE_S PART...: TERM them all at once, KILL what is left after the grace.
stop_parts() {
    local dir=$1 grace_s=$2 part left
    shift 2
    for part; do
        if running "$dir" "$part"; then kill -TERM "$pid" 2>/dev/null || true; fi
    done
    for ((left = grace_s * 10; left > 0; left--)); do
        any_running "$dir" "$@" || break
        sleep 0.1
    done
    for part; do
        if running "$dir" "$part"; then kill -KILL "$pid" 2>/dev/null || true; fi
    done
    while any_running "$dir" "$@"; do sleep 0.05; done
    for part; do rm -f "$dir/pids/$part"; done
}

any_running() {
    local dir=$1 part
    shift
    for part; do
        if running "$dir" "$part"; then return 0; fi
    done
    return 1
}
