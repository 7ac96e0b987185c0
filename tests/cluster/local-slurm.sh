#!/usr/bin/env bash
# local-slurm.sh - a real, throw-away Slurm cluster on this one machine, for integration tests.
#
#   bash local-slurm.sh install   only install what is missing (Debian's packages, as root)
#   bash local-slurm.sh start     install what is missing, start, wait for idle nodes, say how to use it
#   bash local-slurm.sh status    what runs, sinfo, squeue           (exit 0 only if every daemon is up)
#   bash local-slurm.sh stop      cancel its jobs and end its own daemons (by pid), nothing else
#   bash local-slurm.sh node-down n2     a node "dies": its slurmd and all that runs on it get SIGKILL. Slurm notices
#                                 after about 25 s (or at once: scontrol update nodename=n2 state=down reason=test)
#   bash local-slurm.sh node-up n2       ... and comes back
#
# Real slurmctld, slurmd (one per node), munged, and slurmdbd + mariadbd so that `sacct` works (submitit polls
# job states through sacct). Every daemon listens on loopback only or on a unix socket, keeps all its files
# below one directory and runs as the user who started it. No systemd and no GPU needed; cgroups only for memory limits.
#
# Settings (environment):
#   LOCAL_SLURM_DIR         where config, state, logs and sockets live  (start: a fresh mktemp -d; stop/status:
#                           required, or found from SLURM_CONF). Keep it short: unix socket paths are limited.
#   LOCAL_SLURM_NODES       number of compute nodes n1..nN     (2)
#   LOCAL_SLURM_CPUS        CPUs that each node claims         (4; a claim only, may exceed the real ones)
#   LOCAL_SLURM_MEM_MB      memory that each node claims       (16000; a claim only)
#   LOCAL_SLURM_MEM_LIMITS  1: a job that exceeds its --mem is killed by its memory cgroup, where this machine has a
#                           memory hierarchy of cgroup v1 to write to, else as 0; 0: memory is not enforced (0)
#   LOCAL_SLURM_GPUS        fake GPUs of each node             (2; 0: none)
#   LOCAL_SLURM_MAX_ARRAY   MaxArraySize                       (1001, Slurm's default)
#   LOCAL_SLURM_ACCOUNTING  1: slurmdbd + mariadbd, sacct works (default); 0: none, about 5 s faster, no sacct
#   LOCAL_SLURM_INSTALL     0: never call apt-get, fail if something is missing (1)
#
# Partitions: main (default, all nodes); low, now and lost (same nodes), whose jobs are preempted by jobs in main: requeued 20 s
# after the warning, requeued at once, and cancelled at once.
# Features: n1 "fast", the others "slow" (for --constraint). Accounts: root's default and "bench". QOS: normal, high.
set -euo pipefail

NODES=${LOCAL_SLURM_NODES:-2} CPUS=${LOCAL_SLURM_CPUS:-4} MEM=${LOCAL_SLURM_MEM_MB:-16000}
GPUS=${LOCAL_SLURM_GPUS:-2} MEM_LIMITS=${LOCAL_SLURM_MEM_LIMITS:-0} MAX_ARRAY=${LOCAL_SLURM_MAX_ARRAY:-1001} ACCT=${LOCAL_SLURM_ACCOUNTING:-1} HOSTNS=0
ME=$(id -un) HOST=$(hostname -s)
PATH=$PATH:/usr/sbin:/sbin                      # the daemons live there; a plain user's PATH may lack it

say() { printf 'local-slurm: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# --- packages -------------------------------------------------------------------------------------------------
install_packages() {
  local need=(munged:munge slurmctld:slurmctld slurmd:slurmd sbatch:slurm-client) missing=() p
  [ "$ACCT" = 0 ] || need+=(slurmdbd:slurmdbd mariadbd:mariadb-server-core mariadb:mariadb-client-core)
  for p in "${need[@]}"; do command -v "${p%%:*}" >/dev/null || missing+=("${p#*:}"); done
  [ ${#missing[@]} -eq 0 ] && return
  [ "${LOCAL_SLURM_INSTALL:-1}" != 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    die "missing packages: ${missing[*]} (as root on Debian: apt-get install --no-install-recommends ${missing[*]})"
  say "installing ${missing[*]}"
  # The packages would start system-wide daemons; a policy-rc.d that says no prevents it. Ours goes again at once.
  local policy=/usr/sbin/policy-rc.d ours=
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy; ours=1; }
  local log rc=0; log=$(mktemp)
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
  } >"$log" 2>&1 </dev/null || rc=$?
  [ -z "$ours" ] || rm -f $policy
  [ $rc = 0 ] || { tail -n 20 "$log" >&2; die "apt-get failed (whole log: $log)"; }
  rm -f "$log"
}

# --- small functions ------------------------------------------------------------------------------------------
in_use() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }          # is something listening on this port?
pick_ports() {                                                        # base port of a free run of $1 ports
  local base i try                                                    # (below the ephemeral range)
  for try in $(seq 50); do
    base=$((20000 + RANDOM % 10000))
    for ((i = 0; i < $1; i++)); do in_use $((base + i)) && continue 2; done
    echo $base; return
  done
  die "no free ports"
}
wait_for() {                                                          # wait_for SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    if [ $SECONDS -ge $end ]; then
      say "gave up waiting for $what; the logs' ends:"; tail -n 5 "$D"/log/*.log >&2 || true
      stop_all; exit 1
    fi
    sleep 0.1
  done
}
# A pid counts as ours only while the environment it was started with names our slurm.conf (spawn sees to that),
# so a reused pid is never signalled; a zombie's environment is empty, so it counts as gone.
ours() { [ -n "${1:-}" ] && tr '\0' '\n' 2>/dev/null <"/proc/$1/environ" | grep -qxF "SLURM_CONF=$D/etc/slurm.conf"; }
pid_of() { cat "$D/run/$1.pid" 2>/dev/null || true; }
up() { ours "$(pid_of "$1")"; }
end() {                                                               # end DAEMON: TERM, 10 s, then KILL
  local pid i; pid=$(pid_of "$1"); ours "$pid" || { rm -f "$D/run/$1.pid"; return 0; }
  kill "$pid" 2>/dev/null || true
  for i in $(seq 100); do ours "$pid" || break; sleep 0.1; done
  ! ours "$pid" || kill -KILL "$pid" 2>/dev/null || true
  rm -f "$D/run/$1.pid"
}
# spawn NAME COMMAND...: run a daemon in the foreground mode of its own session, cut off from our terminal/pipes
# (a caller that reads our output to its end must not wait for the daemons), and note its pid. The two variables by
# which ours and on_node know our processes go last, behind padding: slurmstepd inherits them from slurmd and then
# writes its process title over the first part of its environment.
spawn() {
  local name=$1; shift
  [ "$HOSTNS" = 0 ] || set -- unshare --uts sh -c 'hostname localhost && exec "$@"' sh "$@"
  setsid env -u SLURM_CONF -u LOCAL_SLURM_NODE LOCAL_SLURM_PAD="$(printf '%0300d' 0)" SLURM_CONF="$D/etc/slurm.conf" \
    LOCAL_SLURM_NODE="${name#slurmd-}" "$@" >>"$D/log/$name.out.log" 2>&1 </dev/null &
  echo $! >"$D/run/$name.pid"
}
spawn_node() { spawn "slurmd-$1" slurmd -D -f "$SLURM_CONF" -N "$1"; }
# on_node NAME VARIABLE: pids of node NAME's job shepherds (VARIABLE LOCAL_SLURM_NODE: slurmstepd has it from slurmd)
# or job processes (VARIABLE SLURMD_NODENAME: Slurm gives it to them).
on_node() {
  local f
  grep -lazxF "SLURM_CONF=$D/etc/slurm.conf" /proc/[0-9]*/environ 2>/dev/null | while read -r f; do
    ! grep -qazxF "$2=$1" "$f" 2>/dev/null || { f=${f#/proc/}; echo "${f%/environ}"; }
  done
}
# Everything that runs on node $1 but its slurmd; the shepherds first, so that they can't report their tasks' death.
kill_tasks() {
  local v pid
  for v in LOCAL_SLURM_NODE SLURMD_NODENAME; do
    for pid in $(on_node "$1" $v); do [ "$pid" = "$(pid_of "slurmd-$1")" ] || kill -KILL "$pid" 2>/dev/null || true; done
  done
}
daemons() {
  echo munged; [ "$ACCT" = 0 ] || printf 'mariadbd\nslurmdbd\n'
  echo slurmctld; local i; for ((i = 1; i <= NODES; i++)); do echo "slurmd-n$i"; done
}
# The memory cgroup of node $1's jobs; Slurm chooses its name.
memory_cgroup() { echo "/sys/fs/cgroup/memory/slurm_$1"; }
can_limit_memory() { mkdir "$(memory_cgroup probe)" 2>/dev/null && rmdir "$(memory_cgroup probe)"; }
nodelist() { [ "$NODES" = 1 ] && echo n1 || echo "n[1-$NODES]"; }

# --- configuration --------------------------------------------------------------------------------------------
write_config() {
  mkdir -p "$D"/{etc,log,run,munge,state,spool,scratch,dev}
  # munged insists that every folder above its socket may be entered by all; --force below covers private parents.
  chmod 711 "$D" "$D/munge"
  local i; for ((i = 1; i <= NODES; i++)); do mkdir -p "$D/scratch/n$i"; chmod 1777 "$D/scratch/n$i"; done  # of every user
  [ -s "$D/munge/key" ] || (umask 077; head -c 128 /dev/urandom >"$D/munge/key")
  BASE=$(pick_ports $((NODES + 2)))

  # Listening on loopback only: NoInAddrAny makes Slurm bind to the address of the own hostname, so that must be
  # 127.0.0.1. Where it isn't, the daemons (and so the jobs) get a hostname of their own, localhost, in a UTS namespace.
  local comm="NoCtldInAddrAny,NoInAddrAny"; HOSTNS=0
  if [ "$(getent ahostsv4 "$(hostname)" | awk 'NR==1{print $1}')" != 127.0.0.1 ]; then
    if unshare --uts hostname localhost 2>/dev/null; then HOSTNS=1 HOST=localhost
    else comm=; say "warning: $(hostname) is not 127.0.0.1 and there's no right to unshare: Slurm listens on all addresses"; fi
  fi

  # Fake GPUs: gres.conf needs character devices (Count= alone, or plain files, leaves the node "inval"): nodes
  # that behave as /dev/null, or, where mknod is not allowed, harmless devices that every Linux has.
  local devs="" have=(/dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/ptmx)
  for ((i = 0; i < GPUS; i++)); do
    if [ -c "$D/dev/gpu$i" ] || mknod "$D/dev/gpu$i" c 1 3 2>/dev/null; then devs="$D/dev/gpu[0-$((GPUS - 1))]"
    else rm -f "$D"/dev/gpu*; devs=""; break; fi
  done
  { echo "AutoDetect=off"
    if [ -n "$devs" ]; then echo "NodeName=$(nodelist) Name=gpu File=$devs"
    else for ((i = 0; i < GPUS; i++)); do
      [ $i -lt ${#have[@]} ] || die "at most ${#have[@]} fake GPUs without mknod"
      echo "NodeName=$(nodelist) Name=gpu File=${have[i]}"; done; fi
  } >"$D/etc/gres.conf"
  echo "CgroupPlugin=cgroup/v1" >"$D/etc/cgroup.conf"       # even if it is not used: it spares slurmd the autodetection
  local task=task/none
  if [ "$MEM_LIMITS" != 0 ] && can_limit_memory; then
    task=task/cgroup
    echo "ConstrainRAMSpace=yes" >>"$D/etc/cgroup.conf"
  fi

  # Node-local scratch, as sites have it: TaskProlog exports SLURM_TMPDIR to each srun task, Epilog empties it.
  cat >"$D/etc/task_prolog" <<END
#!/bin/sh
d=$D/scratch/\$SLURMD_NODENAME/\$SLURM_JOB_ID; mkdir -p "\$d" && echo "export SLURM_TMPDIR=\$d"
END
  cat >"$D/etc/epilog" <<END
#!/bin/sh
[ -n "\$SLURM_JOB_ID" ] && [ -n "\$SLURMD_NODENAME" ] && rm -rf "$D/scratch/\$SLURMD_NODENAME/\$SLURM_JOB_ID"
exit 0
END
  chmod 755 "$D/etc/task_prolog" "$D/etc/epilog"

  local gres=""; [ "$GPUS" = 0 ] || gres="Gres=gpu:$GPUS"
  { cat <<END
ClusterName=local
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$BASE
SlurmUser=$ME
SlurmdUser=$ME
# munge's socket is ours; cred_expire also is what a requeued job must wait before it may start again
# (default 120 s; 5 is the least that Slurm takes).
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$D/munge/sock,cred_expire=5
${comm:+CommunicationParameters=$comm}
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool/%n
SlurmctldPidFile=$D/run/.slurmctld.pid
SlurmdPidFile=$D/run/.slurmd-%n.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd-%n.log
TaskProlog=$D/etc/task_prolog
Epilog=$D/etc/epilog
# Job ids of two clusters shouldn't collide: an old file of the same job would pass for a new one.
FirstJobId=$((1000 + RANDOM))
# No CPU binding, no MPI: none of them works (or is wanted) in a container or small VM.
ProctrackType=proctrack/linuxproc
TaskPlugin=$task
MpiDefault=none
PropagateResourceLimits=NONE
# Take the CPUs and memory that the NodeName lines claim, not what the machine has.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=$((MEM / CPUS))
# Look for work every second instead of every 30 to 60.
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
# Dead nodes are noticed after about 10 s, and come back by themselves. Killed jobs get 2 s between TERM and KILL.
SlurmdTimeout=10
SlurmctldTimeout=10
ReturnToService=2
KillWait=2
JobRequeue=1
MinJobAge=3600
MaxArraySize=$MAX_ARRAY
# Jobs in "main" push out jobs in "low": USR2 (the --signal of the job) first, then requeue after GraceTime.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
END
    [ "$GPUS" = 0 ] || echo "GresTypes=gpu"
    if [ "$ACCT" = 0 ]; then printf 'AccountingStorageType=accounting_storage/none\nJobAcctGatherType=jobacct_gather/none\n'
    else cat <<END
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$((BASE + 1))
AccountingStoragePass=$D/munge/sock
${gres:+AccountingStorageTRES=gres/gpu}
# Unknown accounts and QOS are refused, as on a real cluster.
AccountingStorageEnforce=associations,qos
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
END
    fi
    for ((i = 1; i <= NODES; i++)); do
      echo "NodeName=n$i NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((BASE + 1 + i)) CPUs=$CPUS RealMemory=$MEM" \
        "Feature=$([ $i = 1 ] && echo fast || echo slow) $gres State=UNKNOWN"
    done
    echo "PartitionName=main Nodes=ALL Default=YES DefaultTime=10 MaxTime=UNLIMITED PriorityTier=10 PreemptMode=OFF"
    echo "PartitionName=low Nodes=ALL DefaultTime=10 MaxTime=UNLIMITED PriorityTier=1 PreemptMode=REQUEUE GraceTime=20"
    echo "PartitionName=now Nodes=ALL DefaultTime=10 MaxTime=UNLIMITED PriorityTier=1 PreemptMode=REQUEUE GraceTime=0"
    echo "PartitionName=lost Nodes=ALL DefaultTime=10 MaxTime=UNLIMITED PriorityTier=1 PreemptMode=CANCEL GraceTime=0"
  } >"$D/etc/slurm.conf"

  if [ "$ACCT" != 0 ]; then (umask 077; cat >"$D/etc/slurmdbd.conf" <<END
DbdHost=$HOST
DbdAddr=127.0.0.1
DbdPort=$((BASE + 1))
SlurmUser=$ME
AuthType=auth/munge
AuthInfo=socket=$D/munge/sock
${comm:+CommunicationParameters=$comm}
LogFile=$D/log/slurmdbd.log
PidFile=$D/run/.slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=$ME
StorageLoc=slurm_acct
END
    ); chmod 600 "$D/etc/slurmdbd.conf"; fi
  # What stop and status must know (a later call may have another environment).
  printf 'NODES=%s ACCT=%s HOSTNS=%s\n' "$NODES" "$ACCT" "$HOSTNS" >"$D/etc/local-slurm.vars"
  printf 'export LOCAL_SLURM_DIR=%q SLURM_CONF=%q\n' "$D" "$D/etc/slurm.conf" >"$D/env.sh"
}

# --- start ----------------------------------------------------------------------------------------------------
idle() { [ "$(sinfo -h -N -p main -t idle,mix,alloc -o %N 2>/dev/null | wc -l)" = "$NODES" ]; }
start() {
  install_packages
  D=${LOCAL_SLURM_DIR:-$(mktemp -d /tmp/slurm.XXXXXX)}; mkdir -p "$D"; D=$(cd "$D" && pwd)
  [ ${#D} -le 70 ] || die "the path $D is too long for unix sockets (at most 70 characters): choose a shorter LOCAL_SLURM_DIR"
  [ ! -e "$D/etc/local-slurm.vars" ] || . "$D/etc/local-slurm.vars"   # an earlier start here decides
  export SLURM_CONF=$D/etc/slurm.conf
  local d all=1 i
  for d in $(daemons); do [ -e "$SLURM_CONF" ] && up "$d" || all=; done
  if [ -n "$all" ]; then say "already running"; usage; return; fi
  [ ! -e "$SLURM_CONF" ] || stop_all quiet                           # half dead: start afresh (state is kept)
  write_config

  spawn munged munged --foreground --force --key-file="$D/munge/key" --socket="$D/munge/sock" --num-threads=4 \
    --pid-file="$D/munge/pid" --log-file="$D/log/munged.log" --seed-file="$D/munge/seed"
  wait_for 90 munged munge -n -S "$D/munge/sock"

  if [ "$ACCT" != 0 ]; then
    # A tiny MariaDB without network: unix socket only, whoever runs this is its superuser, no durability.
    local db=(--no-defaults --datadir="$D/db" --user="$ME" --innodb-log-file-size=8M --innodb-buffer-pool-size=32M
      --innodb-flush-log-at-trx-commit=0 --innodb-flush-method=nosync --innodb-doublewrite=0 --performance-schema=0)
    if [ ! -d "$D/db/mysql" ]; then
      mkdir -p -m 700 "$D/db"
      mariadb-install-db "${db[@]}" --auth-root-authentication-method=socket --auth-root-socket-user="$ME" \
        --skip-test-db --skip-name-resolve >"$D/log/install-db.log" 2>&1 </dev/null || die "see $D/log/install-db.log"
    fi
    spawn mariadbd mariadbd "${db[@]}" --skip-networking --socket="$D/db/sock" --pid-file="$D/db/pid" \
      --innodb-lock-wait-timeout=900 --max-connections=50
    wait_for 90 mariadbd mariadb --no-defaults -S "$D/db/sock" -u "$ME" -e "select 1"
    MYSQL_UNIX_PORT=$D/db/sock spawn slurmdbd slurmdbd -D
    wait_for 90 slurmdbd in_use $((BASE + 1))
  fi

  spawn slurmctld slurmctld -D -f "$SLURM_CONF"
  wait_for 90 slurmctld in_use "$BASE"
  for ((i = 1; i <= NODES; i++)); do spawn_node "n$i"; done
  if [ "$ACCT" != 0 ]; then                                         # something for --account and --qos to name
    sacctmgr -iQ add account bench cluster=local >/dev/null 2>&1 || true
    sacctmgr -iQ add user "$ME" account=bench >/dev/null 2>&1 || true
    sacctmgr -iQ add qos high >/dev/null 2>&1 || true
    sacctmgr -iQ modify user "$ME" set qos=normal,high >/dev/null 2>&1 || true
  fi
  wait_for 90 "idle nodes" idle
  usage
}
usage() {
  sinfo >&2
  say "up in $SECONDS s. Use it (and end it) from any shell with:"
  cat "$D/env.sh"                                                    # stdout: eval "\$(local-slurm.sh start)" works
  say "logs: $D/log    stop: LOCAL_SLURM_DIR=$D bash $0 stop"
}

# --- stop, status ---------------------------------------------------------------------------------------------
stop_all() {
  export SLURM_CONF=$D/etc/slurm.conf
  local d i
  if up slurmctld; then
    timeout 10 scancel --user="$ME" >/dev/null 2>&1 || true
    for i in $(seq 30); do [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] || break; sleep 0.2; done
  fi
  for d in $(daemons | tac); do end "$d"; done
  for ((i = 1; i <= NODES; i++)); do                                # what outlived its slurmd, if anything
    kill_tasks "n$i"
    find "$(memory_cgroup "n$i")" -depth -type d -exec rmdir {} + 2>/dev/null || true  # those of killed shepherds
  done
  [ "${1:-}" = quiet ] || say "stopped; its files are still in $D"
}
status() {
  export SLURM_CONF=$D/etc/slurm.conf
  local d rc=0
  for d in $(daemons); do if up "$d"; then echo "$d up (pid $(pid_of "$d"))"; else echo "$d DOWN"; rc=1; fi; done
  up slurmctld && { timeout 10 sinfo -N -p main -o '%N %T %c %m %G %f %E'; timeout 10 squeue; } || rc=1
  return $rc
}
node_down() {
  up "slurmd-$1" || die "node $1 does not run"
  kill -KILL "$(pid_of "slurmd-$1")"
  kill_tasks "$1"
  rm -f "$D/run/slurmd-$1.pid"
}
node_up() {
  [ -e "$D/spool/$1" ] || die "no node $1"
  up "slurmd-$1" || spawn_node "$1"
}
known_dir() {
  D=${LOCAL_SLURM_DIR:-}; [ -n "$D" ] || D=${SLURM_CONF:+$(dirname "$(dirname "$SLURM_CONF")")}
  [ -n "$D" ] && [ -e "$D/etc/local-slurm.vars" ] || die "no local cluster known: set LOCAL_SLURM_DIR (start printed it)"
  D=$(cd "$D" && pwd); . "$D/etc/local-slurm.vars"
}
case ${1:-} in
  install) install_packages ;;
  start) start ;;
  stop) known_dir; stop_all ;;
  status) known_dir; status ;;
  node-down | node-up) known_dir; export SLURM_CONF=$D/etc/slurm.conf; "${1/-/_}" "${2:?which node}" ;;
  *) sed -n '2,/^set /{/^#/p}' "$0"; exit 2 ;;
esac
