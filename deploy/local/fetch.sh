# shellcheck shell=bash disable=SC2154 # here: set by up
# Fills the cache: the jars of Kafka and ZooKeeper, and the S3 gateway's binary. Sourced by up.

VERSITYGW=v1.8.0 # Its If-None-Match has exactly one winner under a race; that cannot be said of every local S3.
VERSITYGW_GO=1.25
JAVA_MIN=17 # Kafka 4's brokers

cache=$(cache_root)/local-$(cat "$here/pom.xml" - <<<"$VERSITYGW" | sha256sum | cut -c1-12)
libs=$cache/lib
s3_binary=$cache/bin/versitygw
# Kafka's own tools would log at INFO on stderr; the properties file beside the jars quiets them, not the servers.
# shellcheck disable=SC2034 # read by up
tool_classpath="$cache/quiet:$libs/*"

need_java() {
    if ! have java && can_apt; then apt_install default-jre-headless || true; fi
    have java || die "no java: install a Java runtime, version $JAVA_MIN or newer (Debian: apt-get install default-jre-headless)"
    local version
    version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge "$JAVA_MIN" ] || die "java is version ${version:-unknown}: Kafka's brokers need $JAVA_MIN or newer"
}

need_maven() {
    if ! have mvn && can_apt; then apt_install maven || true; fi
    have mvn || die "no mvn: install Maven 3.6 or newer (Debian: apt-get install maven)"
}

at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# From 1.21 on, Go fetches the newer toolchain that a module asks for, so 1.21 is enough. Debian 12 has 1.19.
need_go() {
    local how="install Go $VERSITYGW_GO or newer (from the Go project's download page, or your distribution's backports)" candidate
    if ! have go && can_apt; then
        [ -n "$(apt-cache policy golang-go 2>/dev/null)" ] || apt-get -q update >&2 || true
        candidate=$(apt-cache policy golang-go 2>/dev/null | sed -n 's/ *Candidate: *\([0-9]*:\)\{0,1\}\([0-9.]*\).*/\2/p')
        at_least 1.21 "${candidate:-0}" || die "no go, and apt's golang-go is ${candidate:-missing}: $how"
        apt_install golang-go || true
    fi
    have go || die "no go: $how"
    candidate=$(go version | sed 's/.* go\([0-9.]*\).*/\1/')
    at_least 1.21 "$candidate" || die "go is version $candidate: $how"
}

fetch_jars() {
    need_maven
    say "fetching the jars of Kafka and ZooKeeper (about 65 MB)"
    local new=$cache/lib.new
    rm -rf "$new"
    mvn -q -B -Dstyle.color=never -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$new" >&2 ||
        die "Maven could not fetch the jars named in deploy/local/pom.xml (see above)"
    mkdir -p "$cache/quiet"
    echo 'org.slf4j.simpleLogger.defaultLogLevel=warn' >"$cache/quiet/simplelogger.properties"
    mv "$new" "$libs" # whole or not there
}

fetch_s3() {
    need_go
    say "building versitygw $VERSITYGW (a few minutes, once)"
    GOBIN=$cache/bin.new GOTOOLCHAIN=auto GOFLAGS='' go install "github.com/versity/versitygw/cmd/versitygw@$VERSITYGW" >&2 ||
        die "Go could not build versitygw $VERSITYGW (see above; it needs Go $VERSITYGW_GO)"
    mv "$cache/bin.new" "$cache/bin"
}

# Two stacks that start at once on a fresh machine: the second waits and finds everything there.
fill_cache() {
    need_java
    if [ -d "$libs" ] && [ -x "$s3_binary" ]; then return; fi
    mkdir -p "$cache"
    (
        flock -n 9 || { say "another up is filling the cache; waiting"; flock 9; }
        [ -d "$libs" ] || fetch_jars
        [ -x "$s3_binary" ] || fetch_s3
    ) 9>"$cache/lock" || exit 2
}
