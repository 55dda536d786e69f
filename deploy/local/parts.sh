# shellcheck shell=bash disable=SC2034,SC2154,SC2317 # names shared with up; functions called by each_broker
# The seven parts of a stack: how each is configured, started, and asked whether it answers. Sourced by up,
# which sets: here, dir, port_base, cluster_id, advertise[], and from fetch.sh: libs, s3_binary.

PARTS=(zookeeper-1 zookeeper-2 zookeeper-3 kafka-1 kafka-2 kafka-3 s3)
ZONES=(a b c) # broker n stands in zone n; a client of any zone may talk to any broker, through its zone's listener
S3_BUCKET=bellwether
S3_ACCESS_KEY=bellwether
S3_SECRET_KEY=bellwether-local # guards nothing: the server listens on the loopback address only

# The port layout; README.md has it as a table. n is 1, 2 or 3.
zk_port() { echo $((port_base + $1 - 1)); }
zk_quorum_port() { echo $((port_base + 3 + $1 - 1)); }
zk_election_port() { echo $((port_base + 6 + $1 - 1)); }
s3_port() { echo $((port_base + 9)); }
kafka_port() { # kafka_port LISTENER n
    local tens
    case $1 in
        client) tens=1 ;; a) tens=2 ;; b) tens=3 ;; c) tens=4 ;; internal) tens=5 ;; controller) tens=6 ;;
    esac
    echo $((port_base + 10 * tens + $2 - 1))
}

ports_of() { # ports_of PART
    local n=${1##*-} listener
    case $1 in
        zookeeper-*) zk_port "$n"; zk_quorum_port "$n"; zk_election_port "$n" ;;
        kafka-*) for listener in client a b c internal controller; do kafka_port "$listener" "$n"; done ;;
        s3) s3_port ;;
    esac
}

# Where clients of a zone find broker n: the broker itself, or the proxy that --advertise-zone names.
advertised() { # advertised ZONE n
    local at=${advertise[$1]:-127.0.0.1:$(kafka_port "$1" 1)}
    echo "${at%:*}:$((${at##*:} + $2 - 1))"
}

each_broker() { # each_broker COMMAND...: COMMAND 1,COMMAND 2,COMMAND 3
    echo "$("$@" 1),$("$@" 2),$("$@" 3)"
}
kafka_address() { echo "127.0.0.1:$(kafka_port client "$1")"; }
zk_address() { echo "127.0.0.1:$(zk_port "$1")"; }

configure_kafka() {
    local n=$1 home=$dir/kafka-$1 zone listeners names advertised_listeners
    mkdir -p "$home"
    listeners="CLIENT://127.0.0.1:$(kafka_port client "$n"),INTERNAL://127.0.0.1:$(kafka_port internal "$n")"
    advertised_listeners=$listeners
    names=CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
    for zone in "${ZONES[@]}"; do
        names+=,ZONE_${zone^^}:PLAINTEXT
        listeners+=,ZONE_${zone^^}://127.0.0.1:$(kafka_port "$zone" "$n")
        advertised_listeners+=,ZONE_${zone^^}://$(advertised "$zone" "$n")
    done
    voter() { echo "$1@127.0.0.1:$(kafka_port controller "$1")"; }
    cat >"$home/server.properties" <<EOF
process.roles=broker,controller
node.id=$n
broker.rack=zone-${ZONES[n - 1]}
log.dirs=$home/data
controller.quorum.voters=$(each_broker voter)
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listener.security.protocol.map=$names
listeners=$listeners,CONTROLLER://127.0.0.1:$(kafka_port controller "$n")
advertised.listeners=$advertised_listeners

# A write that was acknowledged survives any one zone.
default.replication.factor=3
min.insync.replicas=2
unclean.leader.election.enable=false
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
# Fifty partitions each are the default: most of the start-up work of a small cluster, for nothing.
offsets.topic.num.partitions=3
transaction.state.log.num.partitions=3

# A misspelt topic is an error, not a new topic with the wrong settings.
auto.create.topics.enable=false
# The default waits 3 s for more members before a new group may start.
group.initial.rebalance.delay.ms=0
# How long a dead broker stays leader. The default of 9 s would drown what a failover test wants to measure;
# much below 4 s, a busy two-core machine fences brokers that are only slow.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
EOF
}

configure_zookeeper() {
    local n=$1 home=$dir/zookeeper-$1
    mkdir -p "$home/data"
    echo "$n" >"$home/data/myid"
    server() { echo "server.$1=127.0.0.1:$(zk_quorum_port "$1"):$(zk_election_port "$1");127.0.0.1:$(zk_port "$1")"; }
    cat >"$home/zoo.cfg" <<EOF
dataDir=$home/data
# A session that ended is noticed at the next tick: a quarter of a session of 1 s.
tickTime=250
# In ticks: 10 s to join the quorum, 5 s behind it before a follower is dropped.
initLimit=40
syncLimit=20
# Every client comes from one address here; the default allows it sixty connections.
maxClientCnxns=0
4lw.commands.whitelist=ruok,srvr,mntr
# It would take port 8080 on all addresses.
admin.enableServer=false
$(server 1)
$(server 2)
$(server 3)
EOF
}

configure() {
    local n
    for n in 1 2 3; do
        configure_kafka "$n"
        configure_zookeeper "$n"
    done
    mkdir -p "$dir/s3"
}

# Everything a part writes stays below the dir: also the native libraries that a killed JVM leaves in its temporary
# directory.
java_run() { # java_run HEAP [OPTION...] CLASS ARGUMENT...
    local heap=$1
    shift
    exec setsid java "-Xmx$heap" -XX:+UseSerialGC -XX:-UsePerfData "-Djava.io.tmpdir=$dir/tmp" \
        -Dorg.slf4j.simpleLogger.showDateTime=true '-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS' \
        -cp "$libs/*" "$@"
}

run_part() { # becomes the part
    local home=$dir/$1
    case $1 in
        # The quick compiler alone: on two cores the other one's work on a fresh broker is what everybody waits for.
        zookeeper-*) java_run 192m -XX:TieredStopAtLevel=1 org.apache.zookeeper.server.quorum.QuorumPeerMain "$home/zoo.cfg" ;;
        kafka-*) java_run 512m -XX:TieredStopAtLevel=1 kafka.Kafka "$home/server.properties" ;;
        s3)
            export ROOT_ACCESS_KEY=$S3_ACCESS_KEY ROOT_SECRET_KEY=$S3_SECRET_KEY
            exec setsid "$s3_binary" --port "127.0.0.1:$(s3_port)" posix "$dir/s3"
            ;;
    esac
}

# KRaft wants its directories formatted once. All three at the same time, while ZooKeeper starts.
format_kafka() {
    local n pids=()
    for n in 1 2 3; do
        [ -f "$dir/kafka-$n/data/meta.properties" ] && continue
        (java_run 128m -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format -t "$cluster_id" \
            -c "$dir/kafka-$n/server.properties") >>"$dir/logs/kafka-$n.log" 2>&1 8>&- &
        pids+=("$n:$!")
    done
    for n in "${pids[@]}"; do
        wait "${n#*:}" || fail "kafka-${n%:*}" "could not format its directory"
    done
}

# In a session of its own (setsid in run_part), so that no signal to the caller's terminal reaches it, and with none
# of the caller's open files: a lock or a pipe that the caller holds must not live as long as the stack.
start_part() {
    (
        for fd in /proc/self/fd/*; do
            fd=${fd##*/}
            if [ "$fd" -gt 2 ]; then eval "exec $fd>&-"; fi
        done
        cd "$dir/logs" && run_part "$1" # crash dumps go to the working directory
    ) </dev/null >>"$dir/logs/$1.log" 2>&1 &
    echo $! >"$dir/pids/$1"
    # Until the command line is the part's own, `running` would call it dead.
    until running "$dir" "$1" || ! kill -0 $! 2>/dev/null; do sleep 0.01; done
}

# -- Does it answer? Each prints nothing and says yes by its exit status.

taken() { (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Node ids in the broker's own metadata, one a line: a Metadata request, version 1, for no topics. Bash can ask
# this itself; a JVM for it would take two seconds of two cores.
metadata_brokers() { # metadata_brokers PORT
    (
        exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
        printf '\0\0\0\016\0\003\0\001\0\0\0\001\377\377\0\0\0\0' >&3
        be32() { echo $(((${b[$1]} << 24) + (${b[$1 + 1]} << 16) + (${b[$1 + 2]} << 8) + ${b[$1 + 3]})); }
        take() { read -r -d '' -a b < <(timeout 2 head -c "$1" <&3 | od -An -v -tu1) || [ "${#b[@]}" = "$1" ]; }
        take 4 && take "$(be32 0)" || exit 1
        count=$(be32 4) at=8
        while ((count-- > 0)); do
            be32 $at
            at=$((at + 4))
            at=$((at + 2 + (b[at] << 8) + b[at + 1] + 4)) # host, port
            if ((b[at] == 255)); then at=$((at + 2)); else at=$((at + 2 + (b[at] << 8) + b[at + 1])); fi # rack
        done
    ) 2>/dev/null
}

zk_says() { # zk_says n WORD
    (exec 3<>"/dev/tcp/127.0.0.1/$(zk_port "$1")" && printf '%s' "$2" >&3 && timeout 2 cat <&3) 2>/dev/null
}

s3_status() { # s3_status METHOD: prints the HTTP status of METHOD on the bucket
    curl -s -o /dev/null -w '%{http_code}' --max-time 5 -X "$1" --aws-sigv4 aws:amz:us-east-1:s3 \
        -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --user "$S3_ACCESS_KEY:$S3_SECRET_KEY" \
        "http://127.0.0.1:$(s3_port)/$S3_BUCKET" || true
}

answers() { # answers PART
    local n=${1##*-} mode
    case $1 in
        # A broker lists itself only once the controller lets it serve. When all start, all must be seen by all.
        kafka-*)
            if [ -n "$only" ]; then metadata_brokers "$(kafka_port client "$n")" | grep -qx "$n"
            else [ "$(metadata_brokers "$(kafka_port client "$n")" | wc -l)" = 3 ]; fi
            ;;
        # srvr names a mode only where there is a quorum, and a quorum has a leader.
        zookeeper-*)
            [ "$(zk_says "$n" ruok)" = imok ] || return 1
            mode=$(zk_says "$n" srvr | sed -n 's/^Mode: //p')
            [ "$mode" = leader ] || [ "$mode" = follower ]
            ;;
        s3) case $(s3_status PUT) in 200 | 409) [ "$(s3_status GET)" = 200 ] ;; *) return 1 ;; esac ;;
    esac
}
