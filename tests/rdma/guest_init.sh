#!/bin/busybox sh
# The first process of a virtual machine of tests/rdma/guest, which also wrote /settings and /command.
# An error goes to the console, and ends the machine.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

end() {
  echo "guest_init.sh: $*" >/dev/console
  poweroff -f
}
. /settings # token, index, links

for module in /modules/*; do
  insmod "$module" || end "cannot load $module"
done
until set -- /dev/vport*p[12] && [ $# = 2 ]; do sleep 0.02; done
exec 3>"$1" 4>"$2"

# ---- the host's files, copy-on-write ----

root=/root
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose host /lower || end "cannot mount the host's files"
mount -t tmpfs upper /upper && mkdir /upper/files /upper/work || end "cannot mount memory"
mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay $root || end "cannot mount the overlay"
mount -t proc proc $root/proc
mount -t sysfs sys $root/sys
mount -t devtmpfs dev $root/dev
ln -s /proc/self/fd $root/dev/fd
ln -s fd/0 $root/dev/stdin
ln -s fd/1 $root/dev/stdout
ln -s fd/2 $root/dev/stderr
mkdir -p $root/dev/pts $root/dev/shm
mount -t devpts pts $root/dev/pts
mount -t tmpfs -o mode=1777 shm $root/dev/shm
mount -t tmpfs run $root/run

# ---- devices ----

path=/usr/sbin:/usr/bin:/sbin:/bin
on_host() { PATH=$path chroot $root "$@"; }

# add_device NUMBER INTERFACE ADDRESS: its GIDs appear a moment after it; index 1 is that of the address.
add_device() {
  local gid=/sys/class/infiniband/rxe$1/ports/1/gids/1 tries=0
  [ -e "/sys/class/net/$2" ] || on_host ip link add "$2" type dummy || end "cannot add $2"
  on_host ip addr add "$3/24" dev "$2" && on_host ip link set "$2" mtu 9000 up || end "cannot give $2 the address $3"
  on_host rdma link add "rxe$1" type rxe netdev "$2" || end "cannot add rxe$1"
  until grep -q ffff:0a00 "$gid" 2>/dev/null; do
    tries=$((tries + 1))
    [ $tries -lt 500 ] || end "rxe$1 has no GID of $3"
    sleep 0.02
  done
}

# send_by_wire INTERFACE ADDRESS OTHER: what goes from ADDRESS to OTHER, both of this guest, leaves by INTERFACE.
# The kernel would hand it over by itself, where Soft-RoCE does not look.
send_by_wire() {
  on_host ip rule add pref 10 iif lo from "$2" to "$3" lookup "${1#eth}1" &&
    on_host ip route replace table "${1#eth}1" 10.0.1.0/24 dev "$1" || end "cannot send from $2 to $3 by $1"
  echo 1 >"/proc/sys/net/ipv4/conf/$1/accept_local" # what comes from an address of this guest
  echo 1 >"/proc/sys/net/ipv4/conf/$1/arp_ignore"   # each interface answers for its own address
}

hostname "guest$index"
on_host ip link set lo up
number=0
for link in $links; do # INTERFACE=ADDRESS …
  add_device $number "${link%=*}" "${link#*=}"
  number=$((number + 1))
done
if [ $number -gt 1 ]; then # the rule of local addresses goes behind those that are added
  on_host ip rule add pref 20 lookup local && on_host ip rule del pref 0 || end "cannot move the rule of local addresses"
fi
for link in $links; do
  for other in $links; do
    [ "$link" = "$other" ] || send_by_wire "${link%=*}" "${link#*=}" "${other#*=}"
  done
done

# ---- the command ----

# Its standard output and error are pipes, which can be opened again by name; ports cannot.
mkfifo /out /error
cat /out >&3 &
cat /error >&4 &
cp /command $root/run/command
ulimit -l unlimited
ulimit -H -n 1048576
(PATH=$path exec chroot $root /bin/sh /run/command </dev/null >/out 2>/error 3>&- 4>&-)
status=$?
for process in /proc/[0-9]*; do # what it left behind ends with it
  [ "$process/root" -ef $root ] && kill -KILL "${process#/proc/}"
done
wait # until all that was written is out
printf '\0%s %d\n' "$token" $status >&3
printf '\0%s %d\n' "$token" $status >&4
sleep 2147483647 # the other machine may still talk to this one
